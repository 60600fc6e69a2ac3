using System.Runtime.InteropServices;
using System.Text;
using FastMail.Storage;
using FastMail.Tests.Simulation;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>Retired segments become spares, spares are kept in stock, and nobody notices but the disk.</summary>
public sealed partial class ReuseTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private static MailLogOptions Options => LogScene.Tiny with { ReclaimsByItself = false, Spares = 1 };

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_log_goes_on_in_segments_that_it_dropped_and_their_mail_never_comes_back(bool takesCheckpoints)
    {
        using LogScene scene = new(
            options: takesCheckpoints ? LogScene.Saving with { ReclaimsByItself = false, Spares = 1 } : Options);
        scene.Open();
        scene.Deliver("first", 1);
        for (int life = 0; life < 3; life++)
        {
            await ReusedLog.Reach(scene);
            scene.Deliver($"life {life}", 1);
            Assert.Contains(ReusedLog.Stale, Text(ReusedLog.Current(scene)), StringComparison.Ordinal);
            await scene.Log!.CompactAsync(new CompactOptions { DeadRatio = 0, IncludesCurrent = true }); // and on
            scene.Reopen();
            Assert.Equal(["first", .. Enumerable.Range(0, life + 1).Select(i => $"life {i}")], scene.Bodies(1));
            Assert.Empty(scene.Bodies(9));
        }

        scene.Log!.Scrub();
        scene.Close();
        Assert.DoesNotContain(scene.Notices, n => !n.Contains("no usable checkpoint", StringComparison.Ordinal));
        using LogInspector inspector = LogInspector.Open(scene.Directory);
        Assert.DoesNotContain(inspector.Read(), finding => finding is LogProblem);
    }

    [Theory]
    [InlineData(0)] // of the group nothing but its first record is torn
    [InlineData(1)]
    [InlineData(2)] // both are
    public async Task What_a_crash_tore_off_in_a_segment_used_before_is_cut_and_cannot_line_up_again(int torn)
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        await ReusedLog.Reach(scene);
        scene.Deliver("kept", 1);
        PendingMessage[] group = [scene.Build("torn one", 1), scene.Build("torn two", 1), scene.Build("torn three", 1)];
        using LogScene image = scene.CrashAfterGroup(group);
        string path = image.PathOf(ReusedLog.Current(scene));
        byte[] segment = File.ReadAllBytes(path);
        int[] places = [.. group.Select(m => (int)(m.Lsn - BaseLsn(segment)))];
        foreach (int place in torn == 2 ? places[..2] : [places[torn]])
        {
            segment[place + RecordHeader.CrcOffset] ^= 1;
        }

        File.WriteAllBytes(path, segment);
        using (LogInspector inspector = LogInspector.Open(image.Directory))
        {
            LogProblem problem = Assert.IsType<LogProblem>(inspector.Read().Last(f => f is LogProblem));
            Assert.Equal(LogProblemKind.TornTail, problem.Kind);
            Assert.InRange(problem.Bytes, 1, places[^1] + 2000 - problem.Offset); // not all that is old
        }

        image.Open();
        string[] left = torn == 1 ? ["kept", "torn one"] : ["kept"];
        Assert.Equal(left, image.Bodies(1));
        Assert.Contains(image.Notices, n => n.Contains("cut a torn tail", StringComparison.Ordinal));
        image.Close();
        byte[] after = File.ReadAllBytes(path);
        Assert.All(places[left.Length..], place => Assert.NotEqual(
            BaseLsn(segment) + (ulong)place, RecordHeader.Read(after.AsSpan(place)).Lsn));
        Assert.Contains(ReusedLog.Stale, Text(path), StringComparison.Ordinal); // the rest is left alone

        int notices = image.Notices.Count;
        image.Open();
        image.Deliver("torn six", 1); // as long as the first that was torn: the next would be in its place again
        image.Reopen();
        Assert.Equal([.. left, "torn six"], image.Bodies(1));
        Assert.DoesNotContain(image.Notices.Skip(notices), n => n.Contains("torn", StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_file_that_a_backup_has_linked_or_that_has_holes_or_readers_is_not_used_again()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        foreach (string reason in (string[])["link", "hole", "reader"])
        {
            string path = ReusedLog.Current(scene);
            scene.Deliver(new string('l', 100_000), 9);
            scene.Deliver("small", 9);
            ulong[] uids = scene.Uids(9);
            await scene.Log!.CompactAsync(new CompactOptions { DeadRatio = 1, IncludesCurrent = true });
            Assert.True(SpinWait.SpinUntil(() => scene.Log.HasSpare, Patience));
            using OpenMaildrop? lease = reason == "reader" ? scene.Log.OpenMaildrop(9) : null;
            string other = Path.Join(scene.Directory, "linked");
            if (reason == "link")
            {
                Assert.Equal(0, Link(path, other));
            }
            else if (reason == "hole")
            {
                Assert.Equal(AppendOutcome.Durable, scene.Expunge(9, uids[0]));
                await scene.Log.CompactAsync(new CompactOptions { DeadRatio = 1 });
            }

            Assert.Equal(AppendOutcome.Durable, scene.Expunge(9, uids));
            await scene.Log.CompactAsync(new CompactOptions { DeadRatio = 1 });
            Assert.False(File.Exists(path), reason);
            Assert.All(Spares(scene), spare => Assert.DoesNotContain("FMSPARE", Text(spare), StringComparison.Ordinal));
        }

        Assert.Contains("FMSEG", Text(Path.Join(scene.Directory, "linked")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_on_its_way_to_be_a_spare_is_removed_by_the_next_start()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        await ReusedLog.Reach(scene);
        string current = ReusedLog.Current(scene);
        scene.Close();
        File.Copy(current, Path.Join(scene.LogDirectory, "spare.used"));
        File.Copy(current, Path.Join(scene.LogDirectory, "spare.3.used"));
        scene.Open();
        Assert.DoesNotContain(
            Directory.EnumerateFiles(scene.LogDirectory), f => f.EndsWith(".used", StringComparison.Ordinal));
    }

    [Fact]
    public void As_many_spares_are_kept_as_are_wanted_and_no_more_are_left()
    {
        using LogScene scene = new(options: Options with { Spares = 4 });
        scene.Open();
        Assert.True(SpinWait.SpinUntil(() => scene.Log!.HasSpare, Patience));
        Assert.Equal(4, Spares(scene).Length);
        for (int i = 0; scene.Log!.Statistics.Segments < 7; i++)
        {
            scene.Deliver(new string('x', 50_000), 1);
        }

        Assert.True(SpinWait.SpinUntil(() => scene.Log!.HasSpare, Patience));
        Assert.Equal(4, Spares(scene).Length);
        scene.Close();

        using LogScene fewer = new(LinuxDisk.Instance, Options, scene.Directory);
        fewer.Open();
        Assert.True(SpinWait.SpinUntil(() => fewer.Log!.HasSpare, Patience));
        Assert.Equal(2, Spares(scene).Length); // one, and one that may have been a segment
    }

    [Fact]
    public void Spares_beyond_the_first_are_given_up_before_space_becomes_low()
    {
        const long Segment = MailLogOptions.MinSegmentBytes;
        LyingDisk disk = new(512, 24 * Segment);
        using LogScene scene = new(
            disk.Boot(new FaultPlan(0)), Options with { Spares = 4, MinFreeBytes = 3 * Segment },
            LyingDisk.Root + "/store");
        scene.Open();
        Assert.True(SpinWait.SpinUntil(() => scene.Log!.HasSpare, Patience));
        Assert.Equal(4, SparesOf(disk));

        Assert.Equal(0, disk.Boot(new FaultPlan(0)).Open(
            LyingDisk.Root + "/other", FileUse.CreateNew, out IDiskFile? other));
        lock (disk.Gate)
        {
            Assert.Equal(0, other!.Allocate(disk.FreeBytes - (4 * Segment))); // less than min_free and a segment
        }

        Assert.True(SpinWait.SpinUntil(() => SparesOf(disk) < 4, Patience));
        Assert.False(scene.Log!.IsSpaceLow);
        Assert.Equal(0, other!.Truncate(0));
    }

    private static int SparesOf(LyingDisk disk)
    {
        lock (disk.Gate)
        {
            return disk.Names.Keys.Count(n => SegmentFiles.IsSpareName(Path.GetFileName(n)));
        }
    }

    private static string[] Spares(LogScene scene)
    {
        return [.. Directory.EnumerateFiles(scene.LogDirectory)
            .Where(f => SegmentFiles.IsSpareName(Path.GetFileName(f)))];
    }

    private static ulong BaseLsn(byte[] segment)
    {
        byte[] page = segment[..SegmentHeader.Bytes];
        Assert.True(SegmentHeader.TryRead(page, out SegmentHeader header));
        return header.BaseLsn;
    }

    private static string Text(string path)
    {
        return Encoding.Latin1.GetString(File.ReadAllBytes(path));
    }

    [LibraryImport("libc", EntryPoint = "link", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string existing, string made);
}
