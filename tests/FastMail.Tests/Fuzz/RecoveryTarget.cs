using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using FastMail.Storage;
using FastMail.Tests.Simulation;
using FastMail.Tests.Storage;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// Opens a store whose files were damaged. Either it opens: then every message that can be read has the bytes that its
/// unique-id always had, new mail is taken and kept, and the next start finds the same. Or it is refused with one of the
/// documented exceptions, twice alike, and nothing on disk has changed.
/// </summary>
internal sealed class RecoveryTarget() : FuzzTarget("recovery")
{
    private const string Directory = LyingDisk.Root + "/store";
    private const string NewBody = "new mail";

    private static readonly Lazy<StoreImage[]> Images = new(() =>
    [
        StoreImage.Make(isClosed: true, hasCheckpoints: true),
        StoreImage.Make(isClosed: false, hasCheckpoints: true),
        StoreImage.Make(isClosed: true, hasCheckpoints: false),
        StoreImage.Make(isClosed: false, hasCheckpoints: false),
        StoreImage.MakeReused(isClosed: true),
        StoreImage.MakeReused(isClosed: false),
    ]);

    public override int QuickRuns => 40;

    public override byte[] Make(Random random, IReadOnlyList<byte[]> population)
    {
        var lines = population.Count > 0 && random.Next(2) == 0
            ? [.. Encoding.ASCII.GetString(population[random.Next(population.Count)]).Split('\n')]
            : new List<string> { $"image {random.Next(Images.Value.Length)}" };
        var image = ImageOf(lines);
        if (lines.Count > 1 && random.Next(3) == 0)
        {
            lines.RemoveAt(1 + random.Next(lines.Count - 1));
        }
        var mayForge = random.Next(4) == 0;
        for (var i = 1 + random.Next(3); i > 0; i--)
        {
            lines.Insert(random.Next(lines.Count) + 1, Damage.Make(random, image, mayForge));
        }
        return Encoding.ASCII.GetBytes(string.Join('\n', lines));
    }

    public override string Run(byte[] input)
    {
        var lines = Encoding.ASCII.GetString(input).Split('\n');
        var image = ImageOf(lines);
        var files = image.Files.Select(f => (byte[]?)f.Value.ToArray()).ToArray();
        var damages = lines.Select(Damage.Parse).OfType<Damage>().ToArray();
        Array.ForEach(damages, damage => damage.ApplyTo(files));
        // With checksums that are right a lie cannot be told from the truth: there only the end must be orderly.
        var isForged = Array.Exists(damages, damage => damage.IsForgery);

        var disk = MakeDisk(image, files);
        var before = Contents(disk);
        var first = Start(disk, 1, isForged ? null : image, out var added);
        if (first.Refusal is not null)
        {
            var touched = before.Except(Contents(disk)).Concat(Contents(disk).Except(before)).Select(f => f.Key);
            Promise(!touched.Any(), $"{string.Join(", ", touched)} was touched although refused: {first.Refusal}");
        }
        var second = Start(disk, 2, isForged ? null : image, out _);
        Promise(
            first.Refusal == second.Refusal,
            $"the first start said {first.Refusal ?? "yes"}, the second {second.Refusal ?? "yes"}");
        // What was added may also stand where an id was lost; every other message is listed as before.
        var expected = first.Listed.Concat(added is { } a ? [a] : []).Order(StringComparer.Ordinal);
        var found = second.Listed.Order(StringComparer.Ordinal);
        Promise(
            expected.SequenceEqual(found, StringComparer.Ordinal),
            $"the second start lost [{string.Join(", ", expected.Except(found, StringComparer.Ordinal))}]"
            + $" and lists [{string.Join(", ", found.Except(expected, StringComparer.Ordinal))}]");
        var unreadable = first.Listed.Count(l => l.EndsWith('!'));
        return $"{lines[0]} {Kind(first.Refusal)} {first.Listed.Count} {unreadable} "
            + string.Join('|', first.Notices.Select(Kind).Distinct(StringComparer.Ordinal));
    }

    private static StoreImage ImageOf(IReadOnlyList<string> lines) =>
        Images.Value[lines[0].StartsWith("image ", StringComparison.Ordinal) && lines[0].Length == 7
            ? (lines[0][6] & 7) % Images.Value.Length
            : 0];

    private static LyingDisk MakeDisk(StoreImage image, byte[]?[] files)
    {
        var disk = new LyingDisk(4096, 1L << 30);
        var port = disk.Boot(new FaultPlan(0));
        for (var i = 0; i < files.Length; i++)
        {
            var path = Path.Join(Directory, image.Files[i].Key);
            for (var at = Directory.Length; at > 0; at = path.IndexOf('/', at + 1))
            {
                _ = port.CreateDirectory(path[..at]);
            }
            if (files[i] is { } content)
            {
                _ = port.Open(path, FileUse.CreateNew, out var file);
                file!.Dispose();
                disk.Find(path)!.Write(content, 0);
                disk.Find(path)!.Flush();
            }
        }
        return disk;
    }

    private static SortedDictionary<string, string> Contents(LyingDisk disk)
    {
        var all = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (path, content) in disk.Names)
        {
            if (!content.IsDirectory && !path.EndsWith("/LOCK", StringComparison.Ordinal))
            {
                all.Add(path, Convert.ToHexString(SHA256.HashData(content.Cache)));
            }
        }
        return all;
    }

    private static Outcome Start(LyingDisk disk, int seed, StoreImage? image, out string? added)
    {
        added = null;
        var witness = new Witness();
        var port = disk.Boot(new FaultPlan(0));
        try
        {
            using var log = MailLog.Open(
                Directory, LogScene.Saving with { ReclaimsByItself = false }, port, new SteppedClock(), new Random(seed),
                witness);
            var listed = List(log, image);
            added = Deliver(log, witness, image is null ? null : listed);
            return new Outcome(null, listed, witness.Notices);
        }
        catch (IOException e) when (e is DamagedLogException or IncompatibleFormatException)
        {
            return new Outcome($"{e.GetType().Name}: {e.Message}", [], witness.Notices);
        }
        finally
        {
            port.End();
            disk.EndProcess(evicts: false);
        }
    }

    /// <summary>Everything the log lists: mailbox, unique-id and a word on the body.</summary>
    private static List<string> List(MailLog log, StoreImage? image)
    {
        var all = new List<string>();
        foreach (var mailbox in StoreImage.AllMailboxes())
        {
            var snapshot = log.Snapshot(mailbox);
            for (var i = 0; i < snapshot.Count; i++)
            {
                var body = Read(log, snapshot[i].Lsn);
                var uid = snapshot[i].Uid;
                Promise(
                    image is null || body is null || body == NewBody || body == image.BodyOf(mailbox, uid),
                    $"wrong bytes under {mailbox}/{uid}: {body?[..Math.Min(body.Length, 40)]}");
                all.Add($"{mailbox}/{uid} {body?.Length.ToString(CultureInfo.InvariantCulture) ?? "!"}");
            }
        }
        return all;
    }

    /// <summary>The body without its terminator; null when it cannot be read.</summary>
    private static string? Read(MailLog log, ulong lsn)
    {
        var status = log.TryRead(lsn, out var message);
        if (status == ReadStatus.Ok)
        {
            var wire = message.Wire.Span[message.TraceBytes..];
            return Encoding.Latin1.GetString(wire[..^Math.Min(5, wire.Length)]);
        }
        if (status != ReadStatus.External || log.TryOpenBody(message, out var body) != ReadStatus.Ok)
        {
            return null;
        }
        using (body)
        {
            var content = new byte[body!.Bytes];
            return body.Verify() == ReadStatus.Ok && body.Read(content, 0) == ReadStatus.Ok
                ? Encoding.Latin1.GetString(content.AsSpan()[..^5])
                : null;
        }
    }

    /// <summary>One new message; how it is listed from now on.</summary>
    private static string? Deliver(MailLog log, Witness witness, List<string>? listed)
    {
        const ulong mailbox = 1;
        var message = log.RentMessage();
        message.SetReversePath("sender@example.org"u8);
        Promise(message.TryAddLocalRecipient(mailbox, "user1@example.net"u8), "no recipient is taken");
        message.AddMeta(MetaType.TransactionId, "T1"u8);
        message.SetTrace("Received: by test\r\n"u8, 0);
        message.AppendBody(Encoding.ASCII.GetBytes(NewBody + "\r\n.\r\n"));
        message.Seal(new BodyFacts { Octets = NewBody.Length + 2, HeaderWireBytes = 0, Flags = MessageFlags.None });
        log.Append(message);
        Promise(witness.Completed.Wait(TimeSpan.FromSeconds(60)), "the append was never completed");
        if (message.Outcome != AppendOutcome.Durable)
        {
            Promise(listed is null, $"new mail ends {message.Outcome}: {string.Join('|', witness.Notices)}");
            return null;
        }
        var snapshot = log.Snapshot(mailbox);
        var line = $"{mailbox}/{snapshot[snapshot.Count - 1].Uid} {NewBody.Length}";
        var id = line.Split(' ')[0] + " ";
        Promise(
            listed is null || !listed.Exists(l => l.StartsWith(id, StringComparison.Ordinal)), $"{line} is given twice");
        log.Return(message);
        return line;
    }

    /// <summary>A text without its numbers and names.</summary>
    private static string Kind(string? text) =>
        text is null ? "opens" : string.Join(' ', text.Split(' ').Where(w => w.All(char.IsAsciiLetter)).Take(12));

    /// <summary>How a start ended. A value.</summary>
    private sealed record Outcome(string? Refusal, List<string> Listed, List<string> Notices);

    /// <summary>Waits for one append. Called on threads of the log.</summary>
    private sealed class Witness : IMailLogObserver
    {
        public SemaphoreSlim Completed { get; } = new(0);

        public List<string> Notices { get; } = [];

        public void GroupCompleted(PendingAppend first) => Completed.Release();

        public void Failed(int errno, string what) => Noticed($"{what} failed with {errno}");

        public void SpaceChanged(bool isLow)
        {
        }

        public void Noticed(string what)
        {
            lock (Notices)
            {
                Notices.Add(what);
            }
        }
    }
}

/// <summary>Starting with damaged files.</summary>
public sealed class RecoveryFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new RecoveryTarget();
}
