using FastMail.Storage;
using FastMail.Tests.Simulation;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>A disk that fills up, is emptied by removals alone, and takes mail again.</summary>
public sealed class SpaceTests
{
    private const string Directory = LyingDisk.Root + "/store";
    private const long Segment = MailLogOptions.MinSegmentBytes;

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private static MailLogOptions Options => LogScene.Saving;

    [Theory]
    [InlineData(2)] // all mail lies in one segment, and there is no room for another
    [InlineData(3)]
    [InlineData(8)]
    public void A_full_disk_is_emptied_by_removals_and_takes_mail_again(int segments)
    {
        LyingDisk disk = new(512, (segments * Segment) + (Segment / 2));
        using LogScene scene = new(disk.Boot(new FaultPlan(0)), Options, Directory);
        scene.Open();
        for (int round = 0; round < 3; round++)
        {
            AwaitSettled(scene);
            Fill(scene);
            Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, scene.Uids(1)));
            DeliverWhenThereIsRoom(scene, 2);
        }

        Assert.Equal(0, scene.FailedErrno);
        scene.Reopen();
        Assert.Empty(scene.Uids(1));
        Assert.Equal(["again", "again", "again"], scene.Bodies(2));
    }

    [Fact]
    public void Removals_one_by_one_go_on_behind_the_last_segment()
    {
        LyingDisk disk = new(512, (5 * Segment) + (Segment / 2));
        using LogScene scene = new(
            disk.Boot(new FaultPlan(0)), Options with { ReclaimsByItself = false }, Directory);
        scene.Open();
        AwaitSettled(scene);
        Fill(scene);
        int segments = scene.Log!.Statistics.Segments;
        int removals = 0;
        while (scene.Log.Statistics.Segments == segments)
        {
            Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, 1)); // says the same again and again
            removals++;
        }

        Assert.True(removals > 100, $"{removals} removals");
        Assert.True(scene.Log.IsSpaceLow);
        ulong[] kept = [.. scene.Uids(1).Where(uid => uid % 2 == 0)];
        foreach (ulong uid in scene.Uids(1).Except(kept))
        {
            Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, uid));
        }

        // The reserve is not for mail, also not for that of the next start.
        Assert.Equal(AppendOutcome.NoSpace, scene.Append(scene.Build("x", 1)));
        scene.Reopen();
        Assert.Equal(AppendOutcome.NoSpace, scene.Append(scene.Build("x", 1)));
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, kept[0]));
        Assert.Equal(kept[1..], scene.Uids(1));
        Assert.All(scene.Bodies(1), body => Assert.StartsWith("mail ", body, StringComparison.Ordinal));
    }

    [Fact]
    public void A_start_on_a_full_disk_serves_what_is_there_and_recovers_by_removals()
    {
        LyingDisk disk = new(512, (4 * Segment) + (Segment / 2));
        using LogScene scene = new(disk.Boot(new FaultPlan(0)), Options, Directory);
        scene.Open();
        AwaitSettled(scene);
        Fill(scene);
        string[] bodies = scene.Bodies(1);
        scene.Reopen();
        Assert.Equal(bodies, scene.Bodies(1));
        Assert.Equal(AppendOutcome.NoSpace, scene.Append(scene.Build(new string('m', 60_000), 1)));
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, scene.Uids(1)[1..]));
        DeliverWhenThereIsRoom(scene, 1);
        scene.Reopen();
        Assert.Equal([bodies[0], "again"], scene.Bodies(1));
    }

    [Fact]
    public void What_shall_stay_free_of_the_disk_stays_free()
    {
        const long MinFree = 3 * Segment;
        LyingDisk disk = new(512, (8 * Segment) + (Segment / 2));
        using LogScene scene = new(disk.Boot(new FaultPlan(0)), Options with { MinFreeBytes = MinFree }, Directory);
        scene.Open();
        AwaitSettled(scene);
        Fill(scene);
        Assert.True(FreeOf(disk) >= MinFree - Segment, $"{FreeOf(disk)} free"); // the reserve may be taken from it
        scene.Expunge(1, scene.Uids(1));
        DeliverWhenThereIsRoom(scene, 1);
        Assert.True(FreeOf(disk) >= MinFree, $"{FreeOf(disk)} free");
    }

    [Fact]
    public void Space_that_was_low_is_so_until_a_third_more_is_free_than_should_be()
    {
        const long MinFree = 3 * Segment;
        LyingDisk disk = new(512, 12 * Segment);
        DiskPort port = disk.Boot(new FaultPlan(0));
        using AutoResetEvent looked = new(false);
        using LogScene scene = new(port, Options with { MinFreeBytes = MinFree }, Directory);
        scene.Open();
        AwaitSettled(scene);
        Assert.Equal(0, disk.Boot(new FaultPlan(0)).Open(LyingDisk.Root + "/other", FileUse.CreateNew, out IDiskFile? other));
        port.Called = call => _ = call is { Lane: DiskLane.Spare, Verb: DiskVerb.Free } && looked.Set();

        LeaveFree(MinFree);
        Assert.False(scene.Log!.IsSpaceLow);
        LeaveFree(MinFree - 4096);
        Assert.True(scene.Log.IsSpaceLow);
        LeaveFree((MinFree / 3 * 4) - 4096);
        Assert.True(scene.Log.IsSpaceLow);
        LeaveFree(MinFree / 3 * 4);
        Assert.False(scene.Log.IsSpaceLow);
        LeaveFree(MinFree);
        Assert.False(scene.Log.IsSpaceLow);

        // The second look begins when what the first saw is known.
        void LeaveFree(long bytes)
        {
            lock (disk.Gate)
            {
                Assert.Equal(0, other!.Length(out long length));
                long wanted = length + FreeOf(disk) - bytes;
                Assert.Equal(0, wanted < length ? other.Truncate(wanted) : other.Allocate(wanted));
            }

            _ = looked.Reset();
            for (int looks = 0; looks < 3; looks++)
            {
                Assert.True(looked.WaitOne(Patience), "nobody looks at the free space");
            }
        }
    }

    [Fact]
    public async Task A_copy_takes_nothing_of_what_shall_stay_free_until_space_is_low()
    {
        const long MinFree = 3 * Segment;
        LyingDisk disk = new(512, 14 * Segment);
        DiskPort port = disk.Boot(new FaultPlan(0));
        using LogScene scene = new(
            port, Options with { MinFreeBytes = MinFree, ReclaimsByItself = false }, Directory);
        scene.Open();
        AwaitSettled(scene);
        ReclaimStory.MostlyDead(scene);
        AwaitSettled(scene);
        Assert.Equal(0, disk.Boot(new FaultPlan(0)).Open(LyingDisk.Root + "/other", FileUse.CreateNew, out IDiskFile? other));
        Assert.Equal(0, other!.Allocate(FreeOf(disk) - MinFree - (Segment / 4)));
        Assert.Equal(0, (await scene.Log!.CompactAsync(new CompactOptions())).Messages);
        Assert.False(scene.Log.IsSpaceLow);
        Assert.Equal(0, other.Truncate(0));
        Assert.NotEqual(0, (await scene.Log.CompactAsync(new CompactOptions())).Messages);
    }

    [Fact]
    public void A_removal_longer_than_any_segment_gets_one_of_its_own()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        scene.Deliver("first", 1);
        scene.Deliver("second", 1);
        ulong[] scattered = [.. Enumerable.Range(1, 60_000).Select(i => (ulong)(i * 2))];
        PendingExpunge large = new(1, scattered, ExpungeReason.Pop3Quit);
        Assert.True(large.Bytes > 3 * Segment);
        Assert.Equal(AppendOutcome.Durable, scene.Append(large));
        Assert.Equal(["first"], scene.Bodies(1));
        scene.Deliver("third", 1);
        scene.Reopen();
        Assert.Equal(["first", "third"], scene.Bodies(1));
        for (int i = 0; i < 40; i++)
        {
            scene.Deliver(new string('n', 20_000), 2); // the log goes on in segments of the usual size
        }

        Assert.Equal(0, scene.FailedErrno);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Whichever_disk_call_of_a_full_disk_fails_or_is_the_last_nothing_is_lost_and_nothing_comes_back(
        bool reusesSegments)
    {
        MailLogOptions options = Options with { ReusesSegments = reusesSegments };
        foreach (DiskLane lane in (ReadOnlySpan<DiskLane>)[DiskLane.Appender, DiskLane.Spare, DiskLane.Reclaimer])
        {
            foreach (bool isLast in (ReadOnlySpan<bool>)[true, false])
            {
                int call = 0;
                while (FillAndEmpty(options, lane, call, isLast))
                {
                    call++;
                }

                // Who makes spares has nothing to do when the first segment that goes becomes one.
                Assert.True(
                    call >= 2 || (reusesSegments && lane == DiskLane.Spare),
                    $"{call} calls in lane {lane}, last: {isLast}");
            }
        }
    }

    /// <summary>False when the story has no such call.</summary>
    private static bool FillAndEmpty(MailLogOptions options, DiskLane lane, int call, bool isLast)
    {
        LyingDisk disk = new(512, (3 * Segment) + (Segment / 2));
        FaultPlan plan = new(call);
        using LogScene scene = new(disk.Boot(plan), options, Directory);
        scene.Open();
        AwaitSettled(scene);
        Fill(scene);
        (ulong[] uids, string[] bodies) = (scene.Uids(1), scene.Bodies(1));
        if (isLast)
        {
            plan.EndProcessAfter(lane, call);
        }
        else
        {
            plan.FailAfter(lane, call, Errno.InputOutput, isForEver: false);
        }

        int removed = 0; // acknowledged
        foreach (ulong uid in uids[..^1])
        {
            if (scene.Expunge(1, uid) != AppendOutcome.Durable)
            {
                break;
            }

            removed++;
        }

        bool hasEnded = scene.FailedErrno != 0 || ((DiskPort)scene.Disk).IsDown;
        bool hasRoom = !hasEnded && SpinWait.SpinUntil(
            () => !scene.Log!.IsSpaceLow || ((DiskPort)scene.Disk).IsDown || plan.HasFired, Patience);
        Assert.True(hasEnded || hasRoom);
        bool hasFired = plan.HasFired;
        ((DiskPort)scene.Disk).End();
        scene.Close();
        disk.LosePower(new Random(call), keepsNothing: call % 2 == 0);

        using LogScene next = new(disk.Boot(new FaultPlan(call)), options, Directory);
        next.Open();
        ulong[] left = next.Uids(1);
        // The one that was not acknowledged may be there or not.
        Assert.True(
            left.AsSpan().SequenceEqual(uids.AsSpan(removed)) || left.AsSpan().SequenceEqual(uids.AsSpan(removed + 1)),
            $"{lane} {call} {isLast}: {left.Length} left of {uids.Length}, {removed} removed");
        Assert.Equal(bodies[^left.Length..], next.Bodies(1));
        Assert.Equal(AppendOutcome.Durable, next.Expunge(1, left[..^1]));
        DeliverWhenThereIsRoom(next, 1);
        next.Reopen();
        Assert.Equal([bodies[^1], "again"], next.Bodies(1));
        return hasFired;
    }

    /// <summary>Delivers until there is no room.</summary>
    private static void Fill(LogScene scene)
    {
        for (int i = 0; i < 10_000; i++)
        {
            PendingMessage message = scene.Build($"mail {i} " + new string('f', 12_000), 1);
            AppendOutcome outcome = scene.Append(message);
            scene.Log!.Return(message);
            if (outcome == AppendOutcome.NoSpace)
            {
                Assert.True(i > 0);
                Assert.True(SpinWait.SpinUntil(() => scene.Log!.IsSpaceLow, Patience), "nobody says that space is low");
                return;
            }

            Assert.Equal(AppendOutcome.Durable, outcome);
        }

        Assert.Fail("the disk never filled up");
    }

    private static void AwaitSettled(LogScene scene)
    {
        Assert.True(SpinWait.SpinUntil(() => scene.Log!.HasSpare || scene.Log.IsSpaceLow, Patience));
    }

    /// <summary>
    /// "again". When space is enough, the reclaimer may end the segment at that moment, with what is dead in it: it takes
    /// the spare for that, and there is none until the next segment is dropped.
    /// </summary>
    private static void DeliverWhenThereIsRoom(LogScene scene, ulong mailbox)
    {
        AppendOutcome outcome = AppendOutcome.NoSpace;
        Assert.True(
            SpinWait.SpinUntil(() => !scene.Log!.IsSpaceLow && TryDeliver(), Patience),
            $"no room; {scene.Log!.Statistics} {string.Join('\n', scene.Notices)}");
        Assert.Equal(AppendOutcome.Durable, outcome);

        bool TryDeliver()
        {
            PendingMessage message = scene.Build("again", mailbox);
            outcome = scene.Append(message);
            scene.Log!.Return(message);
            return outcome != AppendOutcome.NoSpace;
        }
    }

    private static long FreeOf(LyingDisk disk)
    {
        lock (disk.Gate)
        {
            return disk.FreeBytes;
        }
    }
}
