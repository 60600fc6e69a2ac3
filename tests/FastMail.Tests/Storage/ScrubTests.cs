using System.Globalization;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>The scrubber: every flip is found, told once, and nothing else is told.</summary>
public sealed class ScrubTests
{
    private const int Long = 300_000; // longer than goes into a tiny segment's record

    [Fact]
    public void A_flip_of_any_octet_below_the_durable_end_is_found_and_told_once()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MailLog log = scene.Open();
        Fill(scene, segments: 2);
        Assert.Equal([], Findings(scene));

        string path = scene.FirstSegment;
        byte[] content = File.ReadAllBytes(path);
        int end = (int)scene.ContentEnd(path);
        const int Seed = 20_241_102;
        Random random = new(Seed);
        int flips = 0;
        for (int offset = 0; offset < end; offset += random.Next(1, 1_500))
        {
            byte hit = (byte)(content[offset] ^ (1 << random.Next(8)));
            Overwrite(path, [hit], offset);
            IReadOnlyList<string> found = Findings(scene);
            Assert.True(found.Count == 1, $"seed {Seed}, offset {offset}: {string.Join('\n', found)}");
            Assert.Empty(Findings(scene));
            Assert.Equal(1, log.ScrubStatistics.Problems);
            Overwrite(path, [content[offset]], offset);
            Assert.Empty(Findings(scene));
            Assert.Equal(0, log.ScrubStatistics.Problems);
            flips++;
        }

        Assert.InRange(flips, 100, int.MaxValue);
    }

    [Fact]
    public void Only_the_message_that_was_hit_is_told_and_the_others_are_read_as_before()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MailLog log = scene.Open();
        Fill(scene, segments: 3);
        string[] before = scene.Bodies(1);
        MaildropSnapshot snapshot = log.Snapshot(1);
        ulong victim = snapshot[snapshot.Count / 2].Lsn;
        string path = SegmentOf(scene, victim, out long offset);
        Flip(path, offset + 700);
        string found = Assert.Single(Findings(scene));
        Assert.Contains($"0x{victim:x}:", found, StringComparison.Ordinal);
        Assert.Contains("the body of message", found, StringComparison.Ordinal);
        Assert.Empty(Findings(scene));
        Assert.Equal(1, log.ScrubStatistics.Problems);
        before[snapshot.Count / 2] = "!Damaged";
        Assert.Equal(before, scene.Bodies(1));
    }

    [Fact]
    public void What_looks_punched_out_is_damage_only_while_somebody_lists_it()
    {
        using LogScene scene = new(options: LogScene.Small);
        scene.Open();
        ulong dead = scene.Deliver(new string('d', 100_000), 1, 2);
        ulong live = scene.Deliver(new string('l', 100_000), 1, 2);
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, 1, 2));
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(2, 1));
        Blank(scene, dead);
        Assert.Empty(Findings(scene));
        Blank(scene, live);
        Assert.Contains($"0x{live:x}:", Assert.Single(Findings(scene)), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Holes_and_cold_segments_are_no_damage_and_flips_in_cold_ones_are_found()
    {
        using LogScene scene = new(options: LogScene.Tiny with { TakesCheckpoints = true, ReclaimsByItself = false });
        MailLog log = scene.Open();
        scene.Deliver(new string('a', 90_000), 1);
        scene.Deliver("kept", 2);
        Fill(scene, segments: 3);
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, [.. scene.Uids(1)]));
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(2, [.. scene.Uids(2).Skip(5)]));
        await log.CompactAsync(new CompactOptions { DeadRatio = 1, IncludesCurrent = true });
        Assert.DoesNotContain(scene.Notices, n => n.Contains("hole", StringComparison.Ordinal));
        Assert.Empty(Findings(scene));
        await log.CompactAsync(new CompactOptions { DeadRatio = 0.1, IncludesCurrent = true });
        string cold = Assert.Single(Directory.GetFiles(scene.LogDirectory, "1-*.seg"));
        Assert.Empty(Findings(scene));
        long body = log.Snapshot(2)[3] is { Lsn: var lsn } ? (long)(lsn - SegmentList.ColdLsn) : 0;
        Flip(cold, (body % new FileInfo(cold).Length) + 600);
        Assert.Contains("the body of message", Assert.Single(Findings(scene)), StringComparison.Ordinal);
        Assert.Equal("!Damaged", scene.Bodies(2)[3]);
    }

    [Theory]
    [InlineData("flipped", "fails its checksum")]
    [InlineData("short", "has 299999 bytes")]
    [InlineData("missing", "cannot be opened")]
    public void A_body_file_that_is_not_what_was_written_is_found(string how, string what)
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MailLog log = scene.Open();
        scene.Deliver("before", 1);
        scene.Deliver(new string('x', Long - 5), 1);
        scene.Deliver("after", 1);
        Assert.Empty(Findings(scene));
        string path = Assert.Single(Directory.GetFiles(Path.Join(scene.Directory, "body")));
        byte[] content = File.ReadAllBytes(path);
        content[Long / 2] ^= 4;
        switch (how)
        {
            case "flipped":
                Overwrite(path, content);
                break;
            case "short":
                File.WriteAllBytes(path, content[..^1]);
                break;
            default:
                File.Delete(path);
                break;
        }

        Assert.Contains(what, Assert.Single(Findings(scene)), StringComparison.Ordinal);
        Assert.Empty(Findings(scene));
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, 2));
        Assert.True(SpinWait.SpinUntil(() => log.HasIdleBodies, TimeSpan.FromSeconds(60)));
        scene.Deliver(new string('y', Long - 5), 1);
        Assert.Empty(Findings(scene)); // a file that nobody needs is missed by nobody
    }

    [Fact]
    public void A_file_that_was_cut_is_an_error_and_no_signal()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        Fill(scene, segments: 2);
        using (FileStream file = new(scene.FirstSegment, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
        {
            file.SetLength(100_001);
        }

        IReadOnlyList<string> found = Findings(scene);
        Assert.Contains(found, f => f.Contains("the file has 100001 bytes", StringComparison.Ordinal));
        Assert.InRange(found.Count, 1, 2); // and the record that the cut went through
    }

    [Fact]
    public void Pages_that_the_disk_cannot_read_cost_the_records_on_them_and_no_other()
    {
        const int Bad = 81_920;
        FailingReads disk = new() { BadPage = Bad };
        using LogScene scene = new(disk, LogScene.Tiny);
        scene.Open();
        Fill(scene, segments: 2);
        IReadOnlyList<string> found = Findings(scene);
        Assert.InRange(found.Count, 1, 3);
        Assert.All(found, f => Assert.Contains("errno 5", f, StringComparison.Ordinal));
        Assert.All(found, f => Assert.InRange(OffsetIn(f), Bad - 21_000, Bad + 4_096));
    }

    [Fact]
    public async Task A_log_that_grows_and_rolls_meanwhile_is_no_damage()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MailLog log = scene.Open();
        using CancellationTokenSource stop = new();
        Task scrubbing = Task.Run(() =>
        {
            do
            {
                log.Scrub();
            }
            while (!stop.IsCancellationRequested);
        });
        Fill(scene, segments: 8);
        await stop.CancelAsync();
        await scrubbing;
        Assert.DoesNotContain(scene.Notices, n => n.Contains("scrubbing", StringComparison.Ordinal));
        Assert.True(log.ScrubStatistics.Passes > 0);
    }

    [Fact]
    public void It_runs_by_itself_and_stops_with_the_log()
    {
        using LogScene scene = new(options: LogScene.Tiny with
        {
            ScrubBytesPerSecond = 1L << 40,
            ScrubInterval = TimeSpan.FromMilliseconds(1),
        });
        MailLog log = scene.Open();
        scene.Deliver("hello", 1);
        Flip(scene.FirstSegment, SegmentHeader.Bytes + 40);
        Assert.True(SpinWait.SpinUntil(() => log.ScrubStatistics.Problems == 1, TimeSpan.FromSeconds(60)));
        long passes = log.ScrubStatistics.Passes;
        Assert.True(SpinWait.SpinUntil(() => log.ScrubStatistics.Passes > passes + 2, TimeSpan.FromSeconds(60)));
        Assert.Equal(1, log.ScrubStatistics.Problems);
        scene.Close();
    }

    /// <summary>What this pass tells that none told before.</summary>
    private static IReadOnlyList<string> Findings(LogScene scene)
    {
        int before = scene.Notices.Count;
        scene.Log!.Scrub();
        return [.. scene.Notices.Skip(before)];
    }

    private static void Fill(LogScene scene, int segments)
    {
        Random random = new(7);
        while (scene.Log!.Statistics.Segments < segments || scene.Log.Measure(1).Messages < 20)
        {
            scene.Deliver(new string('m', random.Next(800, 20_000)), 1, 2);
        }
    }

    private static string SegmentOf(LogScene scene, ulong lsn, out long offset)
    {
        foreach (string path in Directory.GetFiles(scene.LogDirectory, "0-*.seg"))
        {
            ulong first = ulong.Parse(
                Path.GetFileName(path).AsSpan(2, 16), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
            offset = (long)(lsn - first);
            if (lsn >= first && offset < new FileInfo(path).Length)
            {
                return path;
            }
        }

        throw new ArgumentOutOfRangeException(nameof(lsn));
    }

    private static void Flip(string path, long offset)
    {
        byte[] content = File.ReadAllBytes(path);
        Overwrite(path, [(byte)(content[offset] ^ 16)], offset);
    }

    /// <summary>The pages of a message's body become zeros, as a hole would make them.</summary>
    private static void Blank(LogScene scene, ulong lsn)
    {
        string path = SegmentOf(scene, lsn, out long offset);
        byte[] content = File.ReadAllBytes(path);
        long start = (offset + 1_024 + 4_095) & -4_096;
        content.AsSpan((int)start, 80_000 & -4_096).Clear();
        Overwrite(path, content);
    }

    /// <summary>In place: the server's descriptors and maps are of this very file.</summary>
    private static void Overwrite(string path, byte[] content, long offset = 0)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        file.Position = offset;
        file.Write(content);
    }

    private static long OffsetIn(string finding)
    {
        string[] words = finding.Split(' ', ',');
        return long.Parse(words[Array.IndexOf(words, "offset") + 1], CultureInfo.InvariantCulture);
    }

    /// <summary>The real disk with one page of the first segment that cannot be read past the cache.</summary>
    private sealed class FailingReads : IDisk
    {
        private static readonly LinuxDisk Disk = LinuxDisk.Instance;

        public long BadPage { get; init; }

        public int CreateDirectory(string path) => Disk.CreateDirectory(path);

        public int List(string directory, ICollection<string> names) => Disk.List(directory, names);

        public int ListDirectories(string directory, ICollection<string> names) =>
            Disk.ListDirectories(directory, names);

        public int Open(string path, FileUse use, out IDiskFile? file)
        {
            int errno = Disk.Open(path, use, out file);
            if (use == FileUse.ExistingUncached && path.EndsWith("-0000000000000000.seg", StringComparison.Ordinal))
            {
                file = new BadFile(file!, BadPage);
            }

            return errno;
        }

        public int Rename(string from, string to) => Disk.Rename(from, to);

        public int Remove(string path) => Disk.Remove(path);

        public int RemoveDirectory(string path) => Disk.RemoveDirectory(path);

        public int SyncDirectory(string path) => Disk.SyncDirectory(path);

        public int FreeBytes(string path, out long bytes) => Disk.FreeBytes(path, out bytes);

        public bool FlushReportsErrors() => true;
    }

    /// <summary>Reading it is all that is asked of it.</summary>
    private sealed class BadFile(IDiskFile file, long badPage) : IDiskFile
    {
        public int Length(out long bytes) => file.Length(out bytes);

        public int Read(Span<byte> destination, long offset, out int read)
        {
            read = 0;
            return offset <= badPage && offset + destination.Length > badPage
                ? Errno.InputOutput
                : file.Read(destination, offset, out read);
        }

        public int TryLock() => throw new NotSupportedException();

        public int Allocate(long bytes) => throw new NotSupportedException();

        public int Reserve(long offset, long length) => throw new NotSupportedException();

        public int Truncate(long bytes) => throw new NotSupportedException();

        public int Write(ReadOnlySpan<IoVector> vectors, long offset, out long written) =>
            throw new NotSupportedException();

        public int Usage(out FileUsage usage) => throw new NotSupportedException();

        public int PunchHole(long offset, long length) => throw new NotSupportedException();

        public void BeginFlush() => throw new NotSupportedException();

        public int Flush() => throw new NotSupportedException();

        public int Map(long length, out nint address) => throw new NotSupportedException();

        public int Unmap(nint address, long length) => throw new NotSupportedException();

        public int Populate(nint address, long offset, long length) => throw new NotSupportedException();

        public int Depopulate(nint address, long length) => throw new NotSupportedException();

        public void Dispose() => file.Dispose();
    }
}
