using FastMail.Storage;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// The files of a small store at one moment, with every message that was ever in it. Made once by the real log and then
/// only read; any thread.
/// </summary>
internal sealed class StoreImage
{
    private const ulong Mailboxes = 3;

    private readonly Dictionary<(ulong Mailbox, ulong Uid), string> _bodies = [];

    private StoreImage()
    {
    }

    /// <summary>Paths below the data directory, in order.</summary>
    public IReadOnlyList<KeyValuePair<string, byte[]>> Files { get; private set; } = [];

    /// <summary>
    /// The starts of the records of each file that is a segment, and of the pages of the others: where mutations bite.
    /// </summary>
    public IReadOnlyList<int[]> Places { get; private set; } = [];

    /// <summary>
    /// Two runs, three segments, two checkpoints, removals, a body in a file of its own; then closed, or as a crash
    /// behind the last commit would leave it.
    /// </summary>
    public static StoreImage Make(bool isClosed, bool hasCheckpoints)
    {
        var image = new StoreImage();
        using var scene = new LogScene(
            options: (hasCheckpoints ? LogScene.Saving : LogScene.Tiny) with { ReclaimsByItself = false, Spares = 1 });
        scene.Open();
        image.Deliver(scene, 30);
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, 2, 3));
        if (hasCheckpoints)
        {
            scene.Log!.TakeCheckpoint();
        }
        image.Deliver(scene, 30);
        scene.Reopen();
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(2, 1, 5, 9));
        image.Deliver(scene, 20);
        if (isClosed)
        {
            scene.Close();
        }
        image.Take(scene.Files());
        return image;
    }

    /// <summary>
    /// As that, with the last segments in files that were segments before: old records are everywhere in them, whole
    /// ones among those, and what outlived them lies in a cold segment.
    /// </summary>
    public static StoreImage MakeReused(bool isClosed)
    {
        var image = new StoreImage();
        using var scene = new LogScene(options: LogScene.Saving with { ReclaimsByItself = false, Spares = 1 });
        scene.Open();
        image.Deliver(scene, 120);
        foreach (var mailbox in AllMailboxes())
        {
            Assert.Equal(AppendOutcome.Durable, scene.Expunge(mailbox, scene.Uids(mailbox)[..^2]));
        }
        scene.Log!.CompactAsync(new CompactOptions { IncludesCurrent = true }).GetAwaiter().GetResult();
        for (var round = 0; !ReusedLog.IsReused(File.ReadAllBytes(ReusedLog.Current(scene))); round++)
        {
            Assert.True(round < 20, "no segment is used again");
            image.Deliver(scene, 20);
        }
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(2, scene.Uids(2)[1..4]));
        image.Deliver(scene, 10);
        if (isClosed)
        {
            scene.Close();
        }
        image.Take(scene.Files());
        return image;
    }

    /// <summary>The body that a unique-id has always stood for; null when it was never given.</summary>
    public string? BodyOf(ulong mailbox, ulong uid) => _bodies.GetValueOrDefault((mailbox, uid));

    public static IEnumerable<ulong> AllMailboxes() => Enumerable.Range(1, (int)Mailboxes).Select(i => (ulong)i);

    /// <summary>Where the records of a segment begin.</summary>
    public static IEnumerable<int> Records(byte[] segment)
    {
        RecordHeader header;
        for (var at = SegmentHeader.Bytes; at + RecordHeader.Bytes <= segment.Length; at += (int)header.TotalBytes)
        {
            header = RecordHeader.Read(segment.AsSpan(at));
            if (header.Magic != RecordHeader.MagicNumber || header.TotalBytes < RecordHeader.Bytes
                || header.TotalBytes > segment.Length - at)
            {
                yield break;
            }
            yield return at;
        }
    }

    private void Deliver(LogScene scene, int count)
    {
        for (var i = 0; i < count; i++)
        {
            var number = _bodies.Count;
            var mailbox = 1 + ((ulong)i % Mailboxes);
            var length = i == count / 2 ? 140_000 : 100 + (number * 977 % 7000); // one of them has a file of its own
            var body = $"{number} " + new string((char)('a' + (number % 26)), length);
            var known = scene.Uids(mailbox);
            scene.Deliver(body, mailbox);
            _bodies.Add((mailbox, scene.Uids(mailbox).Except(known).Single()), body);
        }
    }

    private void Take(SortedDictionary<string, byte[]> files)
    {
        Files = [.. files];
        Places = [.. files.Select(f => SegmentHeader.IsSegmentName(f.Key)
            ? [0, .. Records(f.Value)]
            : Enumerable.Range(0, (f.Value.Length / 4096) + 1).Select(page => page * 4096).ToArray())];
    }
}
