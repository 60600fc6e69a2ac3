using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text.Json;
using FastMail.Storage;
using FastMail.Tests.Storage.Queue;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>
/// Stores that earlier programs wrote, kept as they were: every later program finds exactly the same messages. Beside
/// each archive stands what is in it, by mailbox: unique-ids, sizes and the SHA-256 of the wire form.
/// </summary>
public sealed class GoldenTests
{
    private static readonly string Folder = Path.Join(AppContext.BaseDirectory, "Storage", "Golden");

    public static TheoryData<string> Archives { get; } =
        [.. Directory.EnumerateFiles(Folder, "*.zip").Select(path => Path.GetFileNameWithoutExtension(path))];

    [Theory]
    [MemberData(nameof(Archives))]
    public void The_messages_of_an_earlier_store_are_all_there_and_no_others(string archive)
    {
        using LogScene scene = new();
        ZipFile.ExtractToDirectory(Path.Join(Folder, archive + ".zip"), scene.Directory);
        using (LogInspector inspector = LogInspector.Open(scene.Directory))
        {
            Assert.DoesNotContain(inspector.Read(), finding => finding is LogProblem);
        }

        MailLog log = scene.Open();
        string json = File.ReadAllText(Path.Join(Folder, archive + ".json"));
        Dictionary<ulong, Known[]> known = JsonSerializer.Deserialize<Dictionary<ulong, Known[]>>(json)!;
        Assert.NotEmpty(known);
        for (int opening = 0; opening < 2; opening++)
        {
            Assert.Equal(known.Count, log.Statistics.Maildrops);
            foreach ((ulong mailbox, Known[] messages) in known)
            {
                MaildropSnapshot snapshot = log.Snapshot(mailbox);
                IEnumerable<Known> found = Enumerable.Range(0, snapshot.Count).Select(i => Read(log, snapshot[i]));
                Assert.Equal(messages, found);
            }

            log = scene.Reopen();
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_queue_of_an_earlier_store_waits_as_it_did(bool hasCheckpoint)
    {
        using LogScene scene = new(options: LogScene.Saving);
        ZipFile.ExtractToDirectory(Path.Join(Folder, "v1-2026-11-queue.zip"), scene.Directory);
        if (!hasCheckpoint)
        {
            Directory.Delete(Path.Join(scene.Directory, "ckpt"), recursive: true);
        }

        scene.Open();
        string[] known = File.ReadAllLines(Path.Join(Folder, "v1-2026-11-queue.txt"));
        Assert.Contains(known, line => line.Contains("Deferred", StringComparison.Ordinal));
        for (int opening = 0; opening < 2; opening++)
        {
            string[] waiting = scene.Show();
            IEnumerable<string> past = waiting
                .Select(line => ulong.Parse(line[..line.IndexOf('/', StringComparison.Ordinal)], CultureInfo.InvariantCulture))
                .Distinct()
                .SelectMany(seq => scene.Timeline(seq).Select(line => $"{seq}: {line}"));
            Assert.Equal(known, waiting.Concat(past), StringComparer.Ordinal);
            scene.Reopen();
        }
    }

    [Fact]
    public void The_ways_that_mail_of_an_earlier_store_went_are_told_as_they_were()
    {
        using LogScene scene = new(options: LogScene.Saving);
        ZipFile.ExtractToDirectory(Path.Join(Folder, "v1-2026-11-ways.zip"), scene.Directory);
        scene.Open();
        string[] waiting = scene.Show();
        IEnumerable<ulong> seqs = waiting
            .Select(line => ulong.Parse(line[..line.IndexOf('/', StringComparison.Ordinal)], CultureInfo.InvariantCulture))
            .Distinct();
        Assert.Equal(
            File.ReadAllLines(Path.Join(Folder, "v1-2026-11-ways.txt")),
            waiting.Concat(seqs.SelectMany(seq => scene.Ways(seq).Select(way => $"{seq}: {way}"))),
            StringComparer.Ordinal);
    }

    [Theory]
    [MemberData(nameof(Archives))]
    public void A_store_of_a_later_format_is_refused_in_clear_words_and_left_alone(string archive)
    {
        using LogScene scene = new();
        ZipFile.ExtractToDirectory(Path.Join(Folder, archive + ".zip"), scene.Directory);
        StoreFormat format = StoreFormat.Read(scene.Disk, scene.Directory)!.Value;
        (format with { Incompatible = format.Incompatible | (1UL << 40) }).Write(scene.Disk, scene.Directory);
        SortedDictionary<string, byte[]> before = scene.Files();

        IncompatibleFormatException refusal = Assert.Throws<IncompatibleFormatException>(() => scene.Open());

        Assert.Contains("use a newer FastMail", refusal.Message, StringComparison.Ordinal);
        Assert.Contains("FORMAT", refusal.Message, StringComparison.Ordinal);
        Assert.Equal(before, scene.Files());
    }

    private static Known Read(MailLog log, MaildropEntry entry)
    {
        ReadStatus status = log.TryRead(entry.Lsn, out StoredMessage message);
        byte[] wire = message.Wire.ToArray();
        if (status == ReadStatus.External)
        {
            Assert.Equal(ReadStatus.Ok, log.TryOpenBody(message, out StoredBody? body));
            using (body)
            {
                byte[] rest = new byte[body!.Bytes];
                status = body.Read(rest, 0);
                wire = [.. wire, .. rest];
            }
        }

        Assert.Equal(ReadStatus.Ok, status);
        return new Known(entry.Uid, entry.Octets, Convert.ToHexStringLower(SHA256.HashData(wire)));
    }

    /// <summary>What is known of one message. A value.</summary>
    public readonly record struct Known(
        [property: System.Text.Json.Serialization.JsonPropertyName("uid")] ulong Uid,
        [property: System.Text.Json.Serialization.JsonPropertyName("octets")] uint Octets,
        [property: System.Text.Json.Serialization.JsonPropertyName("sha256")] string Hash);
}
