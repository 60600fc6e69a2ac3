using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>With checkpoints of the index, as the server runs.</summary>
public sealed class ReclaimTests() : ReclaimStory(takesCheckpoints: true);

/// <summary>Without any: all that is live is found in the segments alone.</summary>
public sealed class ReclaimWithoutCheckpointsTests() : ReclaimStory(takesCheckpoints: false);

/// <summary>Space comes back, and nothing else happens: dropped segments, compaction, holes.</summary>
public abstract class ReclaimStory(bool takesCheckpoints)
{
    private MailLogOptions Manual => Of(LogScene.Tiny);

    [Fact]
    public async Task A_segment_with_nothing_live_is_removed_and_the_log_opens_without_it()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        Fill(scene, 1, segments: 3);
        ulong[] uids = scene.Uids(1);
        scene.Expunge(1, uids);
        scene.Deliver("stays", 1);
        scene.Deliver("another", 2);
        Assert.True(SegmentFiles(scene).Length >= 3);

        CompactProgress done = await scene.Log!.CompactAsync(new CompactOptions());
        Assert.True(done.Segments >= 2, done.ToString());
        Assert.Equal(0, done.Messages);
        Assert.False(File.Exists(scene.FirstSegment));
        Assert.Equal(["stays"], scene.Bodies(1));

        scene.Reopen();
        Assert.Equal(["stays"], scene.Bodies(1));
        Assert.Equal(["another"], scene.Bodies(2));
        Assert.Equal([uids[^1] + 1], scene.Uids(1));
        scene.Deliver("next", 1);
        Assert.True(scene.Uids(1)[^1] > uids[^1] + 1); // higher than need be, because nothing says how many there were
        Assert.DoesNotContain(scene.Notices, n => !n.Contains("no usable checkpoint", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Unique_ids_of_a_mailbox_that_left_no_record_behind_are_not_used_again()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        Fill(scene, 1, segments: 2);
        ulong last = scene.Uids(1)[^1];
        scene.Expunge(1, scene.Uids(1));
        Fill(scene, 2, segments: 1); // the removal itself is in a segment that can go
        scene.Expunge(2, scene.Uids(2));
        await scene.Log!.CompactAsync(new CompactOptions { IncludesCurrent = true });
        await scene.Log.CompactAsync(new CompactOptions());
        Assert.Single(SegmentFiles(scene));

        scene.Reopen();
        scene.Deliver("new", 1);
        Assert.True(scene.Uids(1)[0] > last, $"{scene.Uids(1)[0]} after {last}");
        ulong given = scene.Uids(1)[0];
        scene.Reopen();
        Assert.Equal([given], scene.Uids(1));
    }

    [Fact]
    public async Task Live_messages_move_to_a_cold_segment_with_all_they_are_known_by()
    {
        using LogScene scene = new(options: Manual);
        MailLog log = scene.Open();
        (ulong[] uids, string[] bodies) = MostlyDead(scene);
        Described[] before = Describe(scene, 1);

        CompactProgress done = await log.CompactAsync(new CompactOptions());
        Assert.True(done.Messages > 0 && done.Segments >= 2, done.ToString());
        Assert.Single(SegmentFiles(scene), name => name.StartsWith("1-", StringComparison.Ordinal));
        Assert.Equal(uids, scene.Uids(1));
        Assert.Equal(bodies, scene.Bodies(1));
        Assert.True(log.Snapshot(1)[0].Lsn >= SegmentList.ColdLsn);
        Assert.Equal(before, Describe(scene, 1));
        Assert.Equal(scene.Uids(2), scene.Uids(2));

        scene.Reopen();
        Assert.Equal(uids, scene.Uids(1));
        Assert.Equal(bodies, scene.Bodies(1));
        Assert.Equal(before, Describe(scene, 1));
        Assert.DoesNotContain(scene.Notices, n => !n.Contains("no usable checkpoint", StringComparison.Ordinal));
    }

    [Fact]
    public async Task What_is_removed_after_it_moved_stays_removed_though_every_record_of_it_is_dropped()
    {
        using LogScene scene = new(options: Manual);
        MailLog log = scene.Open();
        (ulong[] uids, string[] bodies) = MostlyDead(scene);
        await log.CompactAsync(new CompactOptions());
        scene.Expunge(1, uids[1]);
        for (int round = 0; round < 3; round++)
        {
            // The EXPUNGE ages out of the hot log again and again; the message it removed lies in the cold segment.
            Fill(scene, 3, segments: 2);
            scene.Expunge(3, scene.Uids(3));
            await log.CompactAsync(new CompactOptions { DeadRatio = 0.9, IncludesCurrent = true });
        }

        scene.Reopen();
        Assert.Equal([uids[0], .. uids[2..]], scene.Uids(1));
        Assert.Equal([bodies[0], .. bodies[2..]], scene.Bodies(1));
    }

    [Fact]
    public async Task A_cold_segment_is_compacted_and_dropped_like_any_other()
    {
        using LogScene scene = new(options: Manual);
        MailLog log = scene.Open();
        (ulong[] uids, string[] bodies) = MostlyDead(scene);
        await log.CompactAsync(new CompactOptions());
        string[] first = [.. SegmentFiles(scene).Where(IsCold)];
        MaildropSnapshot snapshot = log.Snapshot(1);
        int last = Enumerable.Range(0, snapshot.Count).Last(i => snapshot[i].Lsn >= SegmentList.ColdLsn);
        scene.Expunge(1, [.. uids.Where(uid => uid != uids[last])]);
        scene.Expunge(2, scene.Uids(2));
        CompactProgress second = await log.CompactAsync(new CompactOptions());
        Assert.Equal(1, second.Messages);
        string[] cold = [.. SegmentFiles(scene).Where(IsCold)];
        Assert.Single(cold);
        Assert.NotEqual(first[0], cold[0], StringComparer.Ordinal);
        scene.Reopen();
        Assert.Equal([bodies[last]], scene.Bodies(1));

        scene.Expunge(1, uids[last]);
        await scene.Log!.CompactAsync(new CompactOptions());
        Assert.DoesNotContain(SegmentFiles(scene), IsCold);
        scene.Reopen();
        Assert.Empty(scene.Uids(1));
        scene.Deliver("after all that", 1);
        Assert.True(scene.Uids(1)[0] > uids[^1]);
    }

    [Fact]
    public async Task A_message_with_several_recipients_lives_as_long_as_one_of_them_has_it()
    {
        using LogScene scene = new(options: Manual);
        MailLog log = scene.Open();
        scene.Deliver(new string('m', 3000), 1, 2, 3);
        Fill(scene, 9, segments: 2);
        scene.Expunge(9, scene.Uids(9));
        scene.Expunge(1, 1);
        scene.Expunge(3, 1);
        await log.CompactAsync(new CompactOptions());
        Assert.Equal([new string('m', 3000)], scene.Bodies(2));
        Assert.Equal(1, log.ReadSegmentStatistics().Sum(s => s.LiveMessages));
        scene.Reopen();
        Assert.Equal(1, scene.Log!.ReadSegmentStatistics().Sum(s => s.LiveMessages));
        Assert.Equal([new string('m', 3000)], scene.Bodies(2));
        scene.Expunge(2, 1);
        Assert.Equal(0, scene.Log.ReadSegmentStatistics().Sum(s => s.LiveMessages));
        Assert.Equal(0, scene.Log.ReadSegmentStatistics().Sum(s => s.LiveBytes));
        await scene.Log.CompactAsync(new CompactOptions());
        Assert.DoesNotContain(SegmentFiles(scene), IsCold);
    }

    [Fact]
    public async Task A_reader_of_an_old_copy_is_not_disturbed_and_the_file_is_gone_at_once()
    {
        using LogScene scene = new(options: Manual);
        MailLog log = scene.Open();
        (ulong[] uids, string[] bodies) = MostlyDead(scene);
        using OpenMaildrop open = log.OpenMaildrop(1);
        Assert.Equal(ReadStatus.Ok, open.TryRead(0, out StoredMessage held));
        byte[] wire = held.Wire.ToArray();
        await log.CompactAsync(new CompactOptions());
        scene.Expunge(1, uids);
        await log.CompactAsync(new CompactOptions());
        Assert.False(File.Exists(scene.FirstSegment));
        Assert.True(held.Wire.Span.SequenceEqual(wire));
        for (int i = 0; i < open.Snapshot.Count; i++)
        {
            Assert.Equal(ReadStatus.Ok, open.TryRead(i, out StoredMessage message));
            Assert.Equal(bodies[i].Length + 5, message.Wire.Length - message.TraceBytes);
        }

        Assert.Equal(0, log.Snapshot(1).Count);
        open.Dispose();
        Assert.Equal(ReadStatus.NotFound, open.TryRead(0, out _));
    }

    [Fact]
    public async Task A_large_dead_body_is_punched_out_and_nothing_takes_that_for_damage()
    {
        using LogScene scene = new(options: Of(LogScene.Small));
        MailLog log = scene.Open();
        scene.Deliver(new string('a', 300_000), 1);
        scene.Deliver("kept", 1);
        scene.Deliver(new string('b', 300_000), 1);
        scene.Deliver(new string('c', 400_000), 2);
        long before = Blocks(scene.FirstSegment);
        scene.Expunge(1, 1, 3);
        await log.CompactAsync(new CompactOptions { DeadRatio = 1, IncludesCurrent = true });
        Assert.True(Blocks(scene.FirstSegment) <= before - (2 * 290_000), $"{Blocks(scene.FirstSegment)} of {before}");
        Assert.Equal(["kept"], scene.Bodies(1));
        scene.Reopen();
        Assert.Equal(["kept"], scene.Bodies(1));
        Assert.DoesNotContain(scene.Notices, n => !n.Contains("no usable checkpoint", StringComparison.Ordinal));
        scene.Close();
        using LogInspector inspector = LogInspector.Open(scene.Directory);
        Assert.DoesNotContain(inspector.Read(), f => f is LogProblem);
    }

    [Fact]
    public async Task The_removal_of_a_message_with_a_body_file_punches_nothing_out_of_those_behind_it()
    {
        using LogScene scene = new(options: Of(LogScene.Tiny));
        MailLog log = scene.Open();
        scene.Deliver(new string('j', 300_000), 1); // its record is short, its body a file
        for (int i = 0; i < 10; i++)
        {
            scene.Deliver(new string((char)('a' + i), 15_000), 2);
        }

        string[] bodies = scene.Bodies(2);
        scene.Expunge(1, 1);
        await log.CompactAsync(new CompactOptions { DeadRatio = 1, IncludesCurrent = true });
        Assert.Equal(bodies, scene.Bodies(2));
        scene.Reopen();
        Assert.Equal(bodies, scene.Bodies(2));
    }

    [Fact]
    public async Task No_hole_is_punched_while_somebody_may_read_there()
    {
        using LogScene scene = new(options: Of(LogScene.Small));
        MailLog log = scene.Open();
        scene.Deliver(new string('a', 300_000), 1);
        scene.Deliver("keeps the segment", 2);
        scene.Deliver(new string('c', 400_000), 2);
        OpenMaildrop open = log.OpenMaildrop(1);
        scene.Expunge(1, 1);
        await log.CompactAsync(new CompactOptions { DeadRatio = 1, IncludesCurrent = true });
        Assert.Equal(ReadStatus.Ok, open.TryRead(0, out _));
        long before = Blocks(scene.FirstSegment);
        open.Dispose();
        await log.CompactAsync(new CompactOptions { DeadRatio = 1, IncludesCurrent = true });
        Assert.True(Blocks(scene.FirstSegment) <= before - 290_000);
    }

    [Fact]
    public async Task A_live_message_with_a_rotten_body_moves_as_it_is_and_stays_listed_as_damaged()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        (ulong[] uids, string[] bodies) = MostlyDead(scene);
        Rot(scene.FirstSegment, (long)scene.Log!.Snapshot(1)[1].Lsn + 400);

        CompactProgress done = await scene.Log.CompactAsync(new CompactOptions());
        Assert.True(done.Segments >= 2, done.ToString());
        Assert.False(File.Exists(scene.FirstSegment));
        Assert.Contains(scene.Notices, n => n.Contains("fails its checksum", StringComparison.Ordinal));
        string[] expected = [.. bodies];
        expected[1] = "!Damaged";
        Assert.Equal(expected, scene.Bodies(1));
        scene.Reopen();
        Assert.Equal(uids, scene.Uids(1));
        Assert.Equal(expected, scene.Bodies(1));
    }

    [Fact]
    public async Task A_segment_that_is_missing_without_having_been_dropped_is_still_refused()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        (_, string[] bodies) = MostlyDead(scene);
        await scene.Log!.CompactAsync(new CompactOptions());
        Fill(scene, 5, segments: 2);
        scene.Close();
        string[] hot = [.. SegmentFiles(scene).Where(n => !IsCold(n)).Order(StringComparer.Ordinal)];
        string cold = SegmentFiles(scene).Single(IsCold);
        foreach (string name in new[] { hot[0], cold })
        {
            string path = Path.Join(scene.LogDirectory, name);
            File.Move(path, path + ".away");
            Assert.Throws<DamagedLogException>(() => scene.Open());
            File.Move(path + ".away", path);
        }

        scene.Open();
        Assert.Equal(bodies, scene.Bodies(1));
    }

    [Fact]
    public async Task Space_is_reclaimed_without_being_asked_as_soon_as_a_segment_dies()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        Fill(scene, 1, segments: 3);
        scene.Expunge(1, scene.Uids(1));
        for (int i = 0; i < 1000 && File.Exists(scene.FirstSegment); i++)
        {
            await Task.Delay(10);
        }

        Assert.False(File.Exists(scene.FirstSegment));
        scene.Reopen();
        Assert.Empty(scene.Bodies(1));
    }

    internal static bool IsCold(string name)
    {
        return name.StartsWith("1-", StringComparison.Ordinal);
    }

    internal static string[] SegmentFiles(LogScene scene)
    {
        return [.. Directory.EnumerateFiles(scene.LogDirectory, "*.seg").Select(p => Path.GetFileName(p)!)];
    }

    private MailLogOptions Of(MailLogOptions options)
    {
        return options with
        {
            ReclaimsByItself = false,
            TakesCheckpoints = takesCheckpoints,
            CheckpointInterval = Timeout.InfiniteTimeSpan,
        };
    }

    /// <summary>One octet of a file is another one.</summary>
    internal static void Rot(string path, long offset)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        file.Position = offset;
        int octet = file.ReadByte();
        file.Position = offset;
        file.WriteByte((byte)~octet);
    }

    /// <summary>Delivers until so many more segments are full.</summary>
    internal static void Fill(LogScene scene, ulong mailbox, int segments)
    {
        int target = scene.Log!.Statistics.Segments + segments;
        for (int i = 0; scene.Log.Statistics.Segments < target; i++)
        {
            scene.Deliver($"{i} " + new string('f', 9_000), mailbox);
        }
    }

    /// <summary>Two full segments in which every seventh message is still there, and one more with other mail.</summary>
    internal static (ulong[] Uids, string[] Bodies) MostlyDead(LogScene scene)
    {
        Fill(scene, 1, segments: 2);
        scene.Expunge(1, [.. scene.Uids(1).Where(uid => uid % 7 != 3)]);
        Fill(scene, 2, segments: 1);
        return (scene.Uids(1), scene.Bodies(1));
    }

    private static Described[] Describe(LogScene scene, ulong mailbox)
    {
        using OpenMaildrop open = scene.Log!.OpenMaildrop(mailbox);
        Described[] all = new Described[open.Snapshot.Count];
        for (int i = 0; i < all.Length; i++)
        {
            Assert.Equal(ReadStatus.Ok, open.TryRead(i, out StoredMessage message));
            MaildropEntry entry = open.Snapshot[i];
            all[i] = new Described(
                entry.Uid, entry.Octets, entry.ArrivalSeconds, entry.Flags, message.Seq, message.TimestampMicros,
                Convert.ToHexString(message.Meta.Span), Convert.ToHexString(message.Wire.Span));
        }

        return all;
    }

    /// <summary>What the file takes on the disk, octets.</summary>
    internal static unsafe long Blocks(string path)
    {
        uint* status = stackalloc uint[64];
        Assert.Equal(0, Native.Status(-100, path, 0, 0x400, status)); // AT_FDCWD, STATX_BLOCKS
        return ((long*)status)[6] * 512;
    }

    private sealed record Described(
        ulong Uid, uint Octets, uint ArrivalSeconds, MessageFlags Flags, ulong Seq, long TimestampMicros, string Meta,
        string Wire);
}
