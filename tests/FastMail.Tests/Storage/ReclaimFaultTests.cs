using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>What cannot be read or written holds up the reclaiming of space no longer than it lasts.</summary>
public sealed class ReclaimFaultTests
{
    private static readonly MailLogOptions Manual = LogScene.Saving with { ReclaimsByItself = false };

    [Fact]
    public async Task A_live_message_whose_header_has_rotted_keeps_its_segment_is_told_and_holds_up_no_cold_one()
    {
        using LogScene scene = new(options: Manual);
        MailLog log = scene.Open();
        (ulong[] uids, string[] bodies) = ReclaimStory.MostlyDead(scene);
        await log.CompactAsync(new CompactOptions());
        string cold = ReclaimStory.SegmentFiles(scene).Single(ReclaimStory.IsCold);
        scene.Expunge(1, uids[1..]);
        scene.Expunge(2, scene.Uids(2));
        ReclaimStory.Fill(scene, 3, segments: 2);
        MaildropSnapshot third = log.Snapshot(3);
        MaildropEntry kept = third[third.Count / 2];
        scene.Expunge(3, [.. scene.Uids(3).Where(uid => uid != kept.Uid)]);
        string path = Directory.GetFiles(scene.LogDirectory, "0-*.seg").Order(StringComparer.Ordinal)
            .Last(p => LogInspector.BaseLsnOf(Path.GetFileName(p)) <= kept.Lsn);
        ReclaimStory.Rot(path, (long)(kept.Lsn - LogInspector.BaseLsnOf(Path.GetFileName(path))) + 20);

        await log.CompactAsync(new CompactOptions { IncludesCurrent = true });
        Assert.Contains(scene.Notices, n => n.Contains("1 messages in it could not be read", StringComparison.Ordinal));
        Assert.Contains(Path.GetFileName(path), ReclaimStory.SegmentFiles(scene), StringComparer.Ordinal);
        Assert.DoesNotContain(cold, ReclaimStory.SegmentFiles(scene), StringComparer.Ordinal);
        Assert.Equal([bodies[0]], scene.Bodies(1));
        Assert.Equal(["!Damaged"], scene.Bodies(3));
    }

    [Theory]
    [InlineData(1)] // while the live messages are looked for
    [InlineData(2)] // while they are copied
    public async Task What_the_disk_cannot_give_stays_where_it_is_and_moves_as_soon_as_it_can(int failingLook)
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, Manual);
        MailLog log = scene.Open();
        (ulong[] uids, string[] bodies) = ReclaimStory.MostlyDead(scene);
        string first = Path.GetFileName(scene.FirstSegment);
        int looks = 0;
        disk.Script = (call, name) =>
            call == "populate" && name == first && Interlocked.Increment(ref looks) >= failingLook ? Errno.InputOutput : 0;
        CompactProgress done = await log.CompactAsync(new CompactOptions());
        Assert.Equal((0, 0), (done.Messages, done.Segments));
        Assert.Contains(scene.Notices, n => n.Contains("tried again", StringComparison.Ordinal));
        Assert.True(File.Exists(scene.FirstSegment));

        disk.Script = static (_, _) => 0;
        Assert.Equal(bodies, scene.Bodies(1));
        done = await log.CompactAsync(new CompactOptions());
        Assert.True(done.Messages > 0 && done.Segments >= 2, done.ToString());
        Assert.Equal(uids, scene.Uids(1));
        Assert.Equal(bodies, scene.Bodies(1));
    }

    [Fact]
    public async Task A_rotten_body_moves_only_when_the_disk_itself_says_that_it_is()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, Manual);
        MailLog log = scene.Open();
        ReclaimStory.MostlyDead(scene);
        ReclaimStory.Rot(scene.FirstSegment, (long)log.Snapshot(1)[1].Lsn + 400);
        string first = Path.GetFileName(scene.FirstSegment);
        disk.Script = (call, name) => call == "read" && name == first ? Errno.InputOutput : 0; // past the page cache
        CompactProgress done = await log.CompactAsync(new CompactOptions());
        Assert.Equal((0, 0), (done.Messages, done.Segments));
        Assert.True(File.Exists(scene.FirstSegment));

        disk.Script = static (_, _) => 0;
        done = await log.CompactAsync(new CompactOptions());
        Assert.True(done.Messages > 0 && done.Segments >= 2, done.ToString());
    }

    [Fact]
    public async Task What_the_disk_could_not_give_is_tried_again_an_hour_later_without_being_asked()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Tiny);
        scene.Open();
        (_, string[] bodies) = ReclaimStory.MostlyDead(scene);
        string first = Path.GetFileName(scene.FirstSegment);
        disk.Script = (call, name) => call == "populate" && name == first ? Errno.InputOutput : 0;
        scene.Clock.Now += TimeSpan.FromHours(2); // the segments have rested
        Ring(scene);
        await Until(() => scene.Notices.Any(n => n.Contains("tried again every hour", StringComparison.Ordinal)));
        Assert.True(File.Exists(scene.FirstSegment));

        disk.Script = static (_, _) => 0;
        scene.Clock.Elapsed += TimeSpan.FromHours(1);
        Ring(scene);
        await Until(() => !File.Exists(scene.FirstSegment));
        Assert.Equal(bodies, scene.Bodies(1));
    }

    [Fact]
    public async Task A_copy_that_failed_while_somebody_held_the_files_is_removed_behind_that_and_reclaiming_goes_on()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, Manual);
        MailLog log = scene.Open();
        (_, string[] bodies) = ReclaimStory.MostlyDead(scene);
        bool isNamed = false;
        disk.Script = (call, name) =>
        {
            if (Thread.CurrentThread.Name != "fastmail reclaimer")
            {
                return 0;
            }

            isNamed |= call == "rename" && ReclaimStory.IsCold(name);
            return isNamed && call == "syncdir" ? Errno.NoSpace : 0;
        };
        using (log.Hold())
        {
            CompactProgress none = await log.CompactAsync(new CompactOptions());
            Assert.Equal((0, 0), (none.Messages, none.Segments));
            disk.Script = static (_, _) => 0;
            Assert.Single(ReclaimStory.SegmentFiles(scene), ReclaimStory.IsCold);
            none = await log.CompactAsync(new CompactOptions());
            Assert.Equal((0, 0), (none.Messages, none.Segments));
        }

        string unused = ReclaimStory.SegmentFiles(scene).Single(ReclaimStory.IsCold);
        CompactProgress done = await log.CompactAsync(new CompactOptions());
        Assert.True(done.Messages > 0 && done.Segments >= 2, done.ToString());
        Assert.NotEqual(unused, ReclaimStory.SegmentFiles(scene).Single(ReclaimStory.IsCold), StringComparer.Ordinal);
        Assert.Equal(bodies, scene.Bodies(1));
        scene.Reopen();
        Assert.Equal(bodies, scene.Bodies(1));
    }

    [Fact]
    public async Task Nothing_is_copied_by_itself_while_somebody_holds_the_files()
    {
        using LogScene scene = new(options: Manual with { ReclaimsByItself = true, CompactAfter = TimeSpan.Zero });
        MailLog log = scene.Open();
        string[] bodies;
        using (log.Hold())
        {
            (_, bodies) = ReclaimStory.MostlyDead(scene);
            for (int i = 0; i < 5; i++)
            {
                Ring(scene);
                await Task.Delay(100);
                Assert.True((await log.CompactAsync(new CompactOptions { DeadRatio = 1 })).IsHeld);
            }

            Assert.DoesNotContain(ReclaimStory.SegmentFiles(scene), ReclaimStory.IsCold);
        }

        Ring(scene);
        await Until(() => ReclaimStory.SegmentFiles(scene).Any(ReclaimStory.IsCold));
        Assert.False((await log.CompactAsync(new CompactOptions { DeadRatio = 1 })).IsHeld);
        Assert.Equal(bodies, scene.Bodies(1));
    }

    [Fact]
    public async Task Segments_that_were_made_while_the_clock_was_ahead_do_not_rest_until_then()
    {
        using LogScene scene = new(options: Manual with { ReclaimsByItself = true });
        scene.Clock.Now += TimeSpan.FromDays(300);
        scene.Open();
        (_, string[] bodies) = ReclaimStory.MostlyDead(scene);
        scene.Clock.Now -= TimeSpan.FromDays(300);
        Ring(scene);
        await Until(() => ReclaimStory.SegmentFiles(scene).Any(ReclaimStory.IsCold));
        Assert.Equal(bodies, scene.Bodies(1));
    }

    /// <summary>Space has come back somewhere, so the reclaimer looks.</summary>
    private static void Ring(LogScene scene)
    {
        scene.Deliver(new string('r', 70_000), 9);
        scene.Expunge(9, scene.Uids(9));
    }

    private static async Task Until(Func<bool> isSo)
    {
        for (int i = 0; i < 3000 && !isSo(); i++)
        {
            await Task.Delay(10);
        }

        Assert.True(isSo());
    }
}
