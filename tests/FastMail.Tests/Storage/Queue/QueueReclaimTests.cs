using FastMail.Storage;
using Xunit;
using static FastMail.Tests.Storage.Queue.QueueLog;

namespace FastMail.Tests.Storage.Queue;

/// <summary>Space comes back, and the queue says what it said: with checkpoints, and when all of them are lost.</summary>
public abstract class QueueReclaimTests(bool takesCheckpoints)
{
    private MailLogOptions Manual { get; } = (takesCheckpoints ? LogScene.Saving : LogScene.Tiny) with
    {
        ReclaimsByItself = false,
    };

    [Fact]
    public async Task What_waits_moves_with_all_that_is_known_of_it()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ulong[] seqs = [scene.Relay("one", relayed: 3), scene.Relay("two", 1, 8), scene.Relay("three")];
        scene.Change(Of(seqs[0], 0, QueueState.Delivered, 1, "250 taken"), Of(seqs[0], 1, QueueState.Deferred, 1, "451 later"));
        scene.Change(Of(seqs[0], 1, QueueState.Held, 2, "by the operator", "else@where"));
        scene.Change(Of(seqs[1], 0, QueueState.Failed, 1, "550 no"));
        string[] before = scene.Show();
        await DropHotAsync(scene);
        Assert.Contains(ReclaimTests.SegmentFiles(scene), ReclaimTests.IsCold);
        Assert.False(File.Exists(scene.FirstSegment));
        Holds(scene, before);
        Assert.Equal("one", scene.Body(seqs[0]));
        Assert.Equal("three", scene.Body(seqs[2]));
        Assert.Equal(["two"], scene.Bodies(8));
        Assert.Equal(["0 Delivered 1 250 taken", "1 Held 2 by the operator"], scene.Timeline(seqs[0]));
    }

    [Fact]
    public async Task The_way_of_the_last_attempt_moves_with_what_waits()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ulong seq = scene.Relay("one", relayed: 2);
        scene.Change(
            Of(seq, 0, QueueState.Deferred, 1, "451 later").By("goes to a.test", "TLSv1.3"),
            Of(seq, 1, QueueState.Delivered, 1, "250 taken").By("goes to b.test", "in the clear"));
        for (int round = 0; round < 3; round++)
        {
            await DropHotAsync(scene);
            Assert.Equal(
                ["goes to a.test | TLSv1.3 | 451 later", "goes to b.test | in the clear | 250 taken"],
                scene.Ways(seq).Order(StringComparer.Ordinal), StringComparer.Ordinal);
        }
    }

    [Fact]
    public async Task What_ends_after_it_moved_is_not_found_again_though_every_record_of_it_is_dropped()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ulong[] seqs = [scene.Relay("kept", 2), scene.Relay("gone"), scene.Relay("local too", 1, 8), scene.Relay("k2")];
        await DropHotAsync(scene);
        Assert.Contains(ReclaimTests.SegmentFiles(scene), ReclaimTests.IsCold);
        scene.Change(
            Of(seqs[0], 1, QueueState.Delivered, 1, "first"), Of(seqs[1], 0, QueueState.Delivered, 1),
            Of(seqs[2], 0, QueueState.Failed, 1));
        string[] expected =
            [$"{seqs[0]}/0 Ready 0 0", $"{seqs[0]}/1 Delivered 1 1000000", $"{seqs[3]}/0 Ready 0 0"];
        for (int round = 0; round < 3; round++)
        {
            // The ends age out of the hot log again and again; their messages lie in the cold segment.
            await DropHotAsync(scene, compactsCold: false);
            Holds(scene, expected);
        }

        Assert.Equal(["local too"], scene.Bodies(8));
        Assert.Equal(["1 Delivered 1 first"], scene.Timeline(seqs[0]));
        scene.Expunge(8, 1);
        scene.Change(Of(seqs[0], 0, QueueState.Delivered), Of(seqs[3], 0, QueueState.Delivered));
        await DropHotAsync(scene);
        Assert.DoesNotContain(ReclaimTests.SegmentFiles(scene), ReclaimTests.IsCold);
        Holds(scene, []);
    }

    [Fact]
    public async Task A_copy_for_a_mailbox_does_not_bring_back_what_was_relayed_before()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ulong seq = scene.Relay("both", relayed: 2, 8);
        scene.Change(Of(seq, 0, QueueState.Delivered), Of(seq, 1, QueueState.Failed));
        for (int round = 0; round < 4; round++)
        {
            await DropHotAsync(scene); // from one cold segment to the next
            Holds(scene, []);
            Assert.Equal(["both"], scene.Bodies(8));
        }
    }

    [Fact]
    public async Task What_a_notification_says_outlives_the_notification()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ulong seq = scene.Relay("m", relayed: 2, 8);
        await DropHotAsync(scene);
        PendingMessage bounce = scene.BuildRelayed("no", 0, [9], Of(seq, 1, QueueState.Failed, 3, "550"));
        Assert.Equal(AppendOutcome.Durable, scene.Append(bounce));
        scene.Log!.Return(bounce);
        string[] expected = [$"{seq}/0 Ready 0 0", $"{seq}/1 Failed 3 3000000"];
        await DropHotAsync(scene);
        Holds(scene, expected);
        scene.Expunge(9, 1);
        for (int round = 0; round < 2; round++)
        {
            await DropHotAsync(scene, compactsCold: false);
            Holds(scene, expected);
        }
    }

    [Fact]
    public async Task What_is_repeated_does_not_undo_what_was_said_later()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ulong seq = scene.Relay("m");
        await DropHotAsync(scene);
        scene.Change(Of(seq, 0, QueueState.Deferred, 1));
        ReclaimTests.Fill(scene, 3, segments: 2);
        scene.Expunge(3, scene.Uids(3));
        scene.Change(Of(seq, 0, QueueState.Deferred, 2));
        await DropHotAsync(scene, compactsCold: false);
        Holds(scene, [$"{seq}/0 Deferred 2 2000000"]);
    }

    [Fact]
    public async Task Where_a_recipient_was_redirected_to_is_kept_though_later_changes_do_not_name_it()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ulong seq = scene.Relay("m", relayed: 3);
        await DropHotAsync(scene);
        scene.Change(
            Of(seq, 0, QueueState.Deferred, 1, path: "else@where"),
            Of(seq, 1, QueueState.Deferred, 1, path: "else@where"));
        ReclaimTests.Fill(scene, 3, segments: 2);
        scene.Expunge(3, scene.Uids(3));
        scene.Change(Of(seq, 0, QueueState.Delivered, 2), Of(seq, 1, QueueState.Deferred, 2));
        ReclaimTests.Fill(scene, 8, segments: 1); // alive, so that what was said last stays where it is
        await scene.Log!.CompactAsync(new CompactOptions { DeadRatio = 0.9 });
        string[] expected =
        [
            $"{seq}/0 Delivered 2 2000000 to else@where",
            $"{seq}/1 Deferred 2 2000000 to else@where",
            $"{seq}/2 Ready 0 0",
        ];
        Holds(scene, expected);
        await DropHotAsync(scene, compactsCold: false);
        Holds(scene, expected);
    }

    [Fact]
    public async Task A_reader_of_a_queued_message_is_not_disturbed()
    {
        using LogScene scene = new(options: Manual);
        MailLog log = scene.Open();
        ulong seq = scene.Relay(new string('r', 20_000));
        using QueueLease lease = new();
        Assert.True(log.TryLeaseQueued(seq, lease));
        Assert.Equal(ReadStatus.Ok, lease.TryRead(out StoredMessage held));
        byte[] wire = held.Wire.ToArray();
        await DropHotAsync(scene);
        scene.Change(Of(seq, 0, QueueState.Delivered));
        await DropHotAsync(scene);
        Assert.Empty(scene.Show());
        Assert.Equal(ReadStatus.Ok, lease.TryRead(out _));
        Assert.True(held.Wire.Span.SequenceEqual(wire));
    }

    [Fact]
    public async Task The_body_file_of_a_relayed_message_goes_with_its_last_recipient()
    {
        using LogScene scene = new(options: Manual);
        MailLog log = scene.Open();
        ulong seq = scene.Relay(new string('j', 300_000), relayed: 2, 8);
        Assert.Equal(1, log.BodiesInUse);
        scene.Expunge(8, 1);
        scene.Change(Of(seq, 0, QueueState.Delivered));
        await DropHotAsync(scene);
        Holds(scene, [$"{seq}/0 Delivered 0 0", $"{seq}/1 Ready 0 0"]);
        Assert.Equal(1, scene.Log!.BodiesInUse);
        using (QueueLease lease = new())
        {
            Assert.True(scene.Log.TryLeaseQueued(seq, lease));
            Assert.Equal(ReadStatus.External, lease.TryRead(out StoredMessage message));
            Assert.Equal(ReadStatus.Ok, scene.Log.TryOpenBody(message, out StoredBody? body));
            using (body)
            {
                Assert.Equal(ReadStatus.Ok, body!.Verify());
            }
        }

        scene.Change(Of(seq, 1, QueueState.Delivered));
        Assert.Equal(0, scene.Log.BodiesInUse);
        Holds(scene, []);
        Assert.Equal(0, scene.Log!.BodiesInUse);
    }

    /// <summary>Fills two segments, empties them, and compacts until nothing of the hot log from before is left.</summary>
    private static async Task DropHotAsync(LogScene scene, bool compactsCold = true)
    {
        ReclaimTests.Fill(scene, 3, segments: 2);
        scene.Expunge(3, scene.Uids(3));
        await scene.Log!.CompactAsync(new CompactOptions
        {
            DeadRatio = compactsCold ? 0 : 0.9,
            IncludesCurrent = true,
        });
    }

    /// <summary>The queue says this, now, after a restart, and when every checkpoint is lost; what is live agrees.</summary>
    private static void Holds(LogScene scene, string[] expected)
    {
        Assert.Equal(expected, scene.Show());
        long live = scene.Log!.ReadSegmentStatistics().Sum(s => s.LiveMessages);
        long bytes = scene.Log.ReadSegmentStatistics().Sum(s => s.LiveBytes);
        scene.Reopen();
        Check();
        scene.Close();
        string checkpoints = Path.Join(scene.Directory, "ckpt");
        if (Directory.Exists(checkpoints))
        {
            Directory.Delete(checkpoints, recursive: true);
        }

        scene.Open();
        Check();
        void Check()
        {
            Assert.Equal(expected, scene.Show());
            Assert.Equal(live, scene.Log!.ReadSegmentStatistics().Sum(s => s.LiveMessages));
            Assert.Equal(bytes, scene.Log.ReadSegmentStatistics().Sum(s => s.LiveBytes));
        }
    }
}

public sealed class QueueReclaimWithoutCheckpointsTests() : QueueReclaimTests(takesCheckpoints: false);

public sealed class QueueReclaimWithCheckpointsTests() : QueueReclaimTests(takesCheckpoints: true);
