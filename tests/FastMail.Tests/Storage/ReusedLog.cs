using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>Logs whose segments were segments before.</summary>
internal static class ReusedLog
{
    /// <summary>Text of all mail of the earlier life.</summary>
    public const string Stale = "of an earlier life";

    private const ulong Mailbox = 9;

    public static bool IsReused(ReadOnlySpan<byte> segment)
    {
        byte[] page = segment[..SegmentHeader.Bytes].ToArray();
        return SegmentHeader.TryRead(page, out SegmentHeader header) && header.IsReused;
    }

    /// <summary>The segment that is written to.</summary>
    public static string Current(LogScene scene)
    {
        return Directory.EnumerateFiles(scene.LogDirectory, "0-*.seg").Max(StringComparer.Ordinal)!;
    }

    /// <summary>Fills and empties the log until it goes on in a segment that was one before, and was full.</summary>
    public static async Task Reach(LogScene scene)
    {
        for (int round = 0; !IsReused(await File.ReadAllBytesAsync(Current(scene))); round++)
        {
            Assert.True(round < 8, "no segment is used again");
            int segments = scene.Log!.Statistics.Segments;
            for (int i = 0; scene.Log.Statistics.Segments == segments; i++)
            {
                scene.Deliver($"{Stale} {i} " + new string('s', 40 + (i * 977 % 9000)), Mailbox);
            }

            Assert.Equal(AppendOutcome.Durable, scene.Expunge(Mailbox, scene.Uids(Mailbox)));
            Assert.True(SpinWait.SpinUntil(() => scene.Log.HasSpare, TimeSpan.FromSeconds(60)));
            await scene.Log.CompactAsync(new CompactOptions());
        }
    }

    /// <summary>
    /// A closed log in memory; as it would be had its segments been others before: behind the records of each, on
    /// 32-octet boundaries like their own, stand whole records under the same salt.
    /// </summary>
    public static MemoryDisk Load(LogScene scene, bool isReused)
    {
        MemoryDisk disk = RecoveredLog.Load(scene);
        if (isReused)
        {
            byte[] old = Full(scene.Options);
            ILookup<string, long> ends = KnownRecord.ReadAll(disk).ToLookup(
                r => r.Path, r => r.End, StringComparer.Ordinal);
            foreach (string path in disk.Paths.Where(SegmentHeader.IsSegmentName).ToArray())
            {
                Span<byte> segment = disk[path];
                Assert.True(SegmentHeader.TryRead(segment[..SegmentHeader.Bytes].ToArray(), out SegmentHeader header));
                (header with { IsReused = true }).Write(segment);
                int end = (int)ends[path].Max();
                old.AsSpan(end).CopyTo(segment[end..]);
            }
        }

        return disk;
    }

    /// <summary>A full segment of another log, far from its beginning.</summary>
    private static byte[] Full(MailLogOptions options)
    {
        using LogScene scene = new(options: options with { ReclaimsByItself = false });
        scene.Open();
        for (int i = 0; scene.Log!.Statistics.Segments < 6; i++)
        {
            scene.Deliver($"{Stale} {i} " + new string('s', 40 + (i * 977 % 9000)), Mailbox);
        }

        string[] paths = [.. Directory.EnumerateFiles(scene.LogDirectory, "0-*.seg").Order(StringComparer.Ordinal)];
        return File.ReadAllBytes(paths[4]);
    }
}
