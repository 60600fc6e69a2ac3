using System.Text;
using FastMail.Storage;
using Xunit;
using static FastMail.Tests.Storage.Queue.QueueLog;

namespace FastMail.Tests.Storage.Queue;

public abstract class QueueTests(bool takesCheckpoints)
{
    private MailLogOptions Options { get; } = takesCheckpoints ? LogScene.Saving : LogScene.Tiny;

    [Fact]
    public void A_message_waits_in_the_queue_until_its_last_recipient_has_ended()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        ulong one = scene.Relay("one", relayed: 3);
        ulong two = scene.Relay("two", relayed: 1, 7);
        Assert.Equal([$"{one}/0 Ready 0 0", $"{one}/1 Ready 0 0", $"{one}/2 Ready 0 0", $"{two}/0 Ready 0 0"], scene.Show());
        scene.Change(
            Of(one, 0, QueueState.Delivered, 1), Of(one, 1, QueueState.Deferred, 1), Of(two, 0, QueueState.Failed, 1));
        string[] expected = [$"{one}/0 Delivered 1 1000000", $"{one}/1 Deferred 1 1000000", $"{one}/2 Ready 0 0"];
        Assert.Equal(expected, scene.Show());
        Assert.Equal("one", scene.Body(one));
        scene.Reopen();
        Assert.Equal(expected, scene.Show());
        Assert.Equal("one", scene.Body(one));
        Assert.Equal(["two"], scene.Bodies(7));
        scene.Change(Of(one, 1, QueueState.Delivered, 2), Of(one, 2, QueueState.Cancelled));
        Assert.Empty(scene.Show());
        scene.Expunge(7, 1);
        Assert.Equal(0, scene.Log!.ReadSegmentStatistics().Sum(s => s.LiveMessages));
        Assert.Equal(0, scene.Log.ReadSegmentStatistics().Sum(s => s.LiveBytes));
        scene.Reopen();
        Assert.Empty(scene.Show());
    }

    [Fact]
    public void What_has_ended_is_never_revived()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        ulong seq = scene.Relay("m", relayed: 2);
        scene.Change(Of(seq, 0, QueueState.Delivered), Of(seq, 0, QueueState.Failed));
        scene.Change(Of(seq, 0, QueueState.Ready), Of(seq, QueueChange.AllRecipients, QueueState.Held));
        string[] expected = [$"{seq}/0 Delivered 0 0", $"{seq}/1 Held 0 0"];
        Assert.Equal(expected, scene.Show());
        scene.Reopen();
        Assert.Equal(expected, scene.Show());
        scene.Change(Of(seq, 1, QueueState.Cancelled));
        scene.Change(Of(seq, 1, QueueState.Ready), Of(seq, 77, QueueState.Ready), Of(4711, 0, QueueState.Ready));
        Assert.Empty(scene.Show());
        scene.Reopen();
        Assert.Empty(scene.Show());
        Assert.False(scene.Log!.TryLeaseQueued(seq, new QueueLease()));
    }

    [Fact]
    public void All_that_is_said_of_a_recipient_comes_back()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        ulong seq = scene.Relay("m");
        scene.Change(Of(seq, 0, QueueState.Deferred, 65_535, "mx.example: 451 later", "else@where") with { IsDelayTold = true });
        string expected = $"{seq}/0 Deferred 65535 65535000000 told to else@where";
        Assert.Equal([expected], scene.Show());
        scene.Reopen();
        Assert.Equal([expected], scene.Show());
        scene.Change(Of(seq, 0, QueueState.Ready));
        Assert.Equal([$"{seq}/0 Ready 0 0 to else@where"], scene.Show());
        scene.Reopen();
        Assert.Equal([$"{seq}/0 Ready 0 0 to else@where"], scene.Show());
    }

    [Fact]
    public void A_notification_and_the_end_it_tells_of_are_one_record()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        ulong seq = scene.Relay("m");
        PendingMessage bounce = scene.BuildRelayed("undeliverable", 1, [], Of(seq, 0, QueueState.Failed, 1, "550 no"));
        Assert.Equal(AppendOutcome.Durable, scene.Append(bounce));
        Assert.False(scene.Log!.GiveUp(bounce));
        ulong told = bounce.Seq;
        scene.Log.Return(bounce);
        Assert.Equal([$"{told}/0 Ready 0 0"], scene.Show());
        scene.Reopen();
        Assert.Equal([$"{told}/0 Ready 0 0"], scene.Show());
        Assert.Equal("undeliverable", scene.Body(told));
    }

    [Fact]
    public void The_way_of_an_attempt_is_kept_and_one_that_is_too_long_is_cut()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        ulong seq = scene.Relay("one", 4);
        scene.Change(
            Of(seq, 0, QueueState.Deferred, 1, "451 later", "else@where").By("goes to a.test", ""),
            Of(seq, 1, QueueState.Delivered, 1).By("", "TLSv1.3"),
            Of(seq, 2, QueueState.Failed, 1, "550 no"),
            Of(seq, 3, QueueState.Failed, 1, new string('w', 600)).By(new string('r', 300), new string('t', 300)));
        string[] expected =
        [
            "goes to a.test |  | 451 later", " | TLSv1.3 | ", " |  | 550 no",
            $"{new string('r', 255)} | {new string('t', 255)} | {new string('w', 512)}",
        ];
        Assert.Equal(expected, scene.Ways(seq));
        string[] waiting = scene.Show();
        Assert.Equal($"{seq}/0 Deferred 1 1000000 to else@where", waiting[0]);
        scene.Reopen();
        Assert.Equal(expected, scene.Ways(seq));
        Assert.Equal(waiting, scene.Show());
    }

    [Fact]
    public void The_way_of_an_attempt_is_kept_in_the_record_of_a_notification()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        ulong seq = scene.Relay("one", 2);
        PendingMessage bounce = scene.BuildRelayed(
            "no", 1, [], Of(seq, 1, QueueState.Failed, 1, "550 no").By("goes to a.test", "in the clear"));
        Assert.Equal(AppendOutcome.Durable, scene.Append(bounce));
        scene.Log!.Return(bounce);
        Assert.Equal(["goes to a.test | in the clear | 550 no"], scene.Ways(seq));
    }

    [Theory]
    [InlineData(66)] // no room for the length of the route
    [InlineData(69)] // nor for the route
    [InlineData(74)] // nor for the TLS
    public void A_way_that_does_not_fit_in_is_no_change(int length)
    {
        StoredChange change = StoredChange.Of(Of(1, 0, QueueState.Failed).By("a.test", "none"));
        byte[] value = new byte[change.Bytes];
        change.Write(value);
        Assert.True(StoredChange.TryRead(value, out StoredChange read));
        Assert.True(read.Route.SequenceEqual("a.test"u8) && read.Tls.SequenceEqual("none"u8) && read.Text.IsEmpty);
        Assert.False(StoredChange.TryRead(value.AsSpan(0, length), out _));
    }

    [Fact]
    public void A_message_may_begin_deferred()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        PendingMessage message = scene.BuildRelayed(
            "later", 2, [], Of(0, QueueChange.AllRecipients, QueueState.Deferred, 5, "hold for"));
        Assert.Equal(AppendOutcome.Durable, scene.Append(message));
        ulong seq = message.Seq;
        string[] expected = [$"{seq}/0 Deferred 5 5000000", $"{seq}/1 Deferred 5 5000000"];
        Assert.Equal(expected, scene.Show());
        Assert.Equal(["all Deferred 5 hold for"], scene.Timeline(seq));
        scene.Reopen();
        Assert.Equal(expected, scene.Show());
    }

    [Fact]
    public void A_message_that_is_given_up_too_late_leaves_the_queue_again()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, Options);
        MailLog log = scene.Open();
        using SlowDiskTests.StuckFlush stuck = new(disk);
        using SemaphoreSlim done = new(0);
        PendingMessage inGroup = scene.BuildRelayed(
            "given up", 3, [7], Of(0, QueueChange.AllRecipients, QueueState.Deferred, 5, "held back"));
        PendingMessage wanted = scene.BuildRelayed("wanted", 1);
        inGroup.Owner = wanted.Owner = done;
        log.Append(inGroup);
        stuck.AwaitCall();
        Assert.True(log.GiveUp(inGroup));
        log.Append(wanted);
        stuck.Release();
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)) && done.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(AppendOutcome.Withdrawn, inGroup.Outcome);
        string[] expected = [$"{wanted.Seq}/0 Ready 0 0"];
        log.Return(inGroup);
        log.Return(wanted);
        Assert.Equal(expected, scene.Show());
        Assert.Empty(scene.Uids(7));
        scene.Reopen();
        Assert.Equal(expected, scene.Show());
        Assert.Empty(scene.Uids(7));
    }

    [Fact]
    public void The_timeline_tells_every_change_of_a_message_oldest_first()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        ulong seq = scene.Relay("m", relayed: 2);
        ulong other = scene.Relay("o");
        scene.Change(Of(seq, 0, QueueState.Deferred, 1, "first"), Of(other, 0, QueueState.Deferred, 1, "of another"));
        scene.Change(Of(seq, 1, QueueState.Deferred, 1, "second"), Of(seq, 0, QueueState.Deferred, 2, "third"));
        scene.Reopen();
        scene.Change(Of(other, 0, QueueState.Deferred, 2), Of(seq, 0, QueueState.Delivered, 3, "fourth"));
        string[] expected = ["0 Deferred 1 first", "1 Deferred 1 second", "0 Deferred 2 third", "0 Delivered 3 fourth"];
        Assert.Equal(expected, scene.Timeline(seq));
        scene.Reopen();
        Assert.Equal(expected, scene.Timeline(seq));
        Assert.False(scene.Log!.TryReadTimeline(4711, []));
    }

    [Fact]
    public void The_envelope_is_read_without_the_body()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        ulong seq = scene.Relay(new string('x', 50_000), relayed: 2);
        byte[] buffer = [];
        Assert.True(scene.Log!.TryReadQueuedMeta(seq, ref buffer, out int length));
        Assert.Equal(
            ["reversePath=sender@example.org", "relay 0=user0@relay.example", "relay 1=user1@relay.example"],
            MetaText.Of(buffer.AsSpan(0, length)));
        Assert.False(scene.Log.TryReadQueuedMeta(seq + 1, ref buffer, out _));
    }

    [Fact]
    public void A_record_takes_changes_until_it_is_full()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        ulong seq = scene.Relay("m", relayed: 1000);
        PendingQueueChanges changes = scene.Log!.RentQueueChanges();
        Assert.Throws<InvalidOperationException>(() => scene.Log.Append(changes)); // there is nothing in it
        for (uint i = 0; !changes.IsFull; i++)
        {
            changes.Add(Of(seq, i, QueueState.Delivered, 1, new string('t', 600)));
        }

        int count = changes.Count;
        Assert.InRange(count, 100, 999);
        Assert.Throws<InvalidOperationException>(() => changes.Add(Of(seq, 0, QueueState.Ready)));
        Assert.Equal(AppendOutcome.Durable, scene.Append(changes));
        scene.Log.Return(changes);
        scene.Reopen();
        Assert.Equal(1000 - count, scene.Log!.Queue.Recipients);
        Assert.Equal(count, scene.Show().Count(l => l.Contains("Delivered", StringComparison.Ordinal)));
        Assert.Equal(512, Encoding.UTF8.GetByteCount(scene.Timeline(seq)[0]["0 Delivered 1 ".Length..]));
    }

    [Fact]
    public void A_change_that_cannot_be_is_refused()
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        PendingQueueChanges changes = scene.Log!.RentQueueChanges();
        Assert.ThrowsAny<ArgumentException>(() => changes.Add(Of(0, 0, QueueState.Ready)));
        Assert.ThrowsAny<ArgumentException>(() => changes.Add(Of(1, 0, QueueState.Ready, path: new string('p', 1025))));
        Assert.ThrowsAny<ArgumentException>(() => changes.Add(Of(1, 0, QueueState.Ready, attempts: 65_536)));
        Assert.ThrowsAny<ArgumentException>(() => changes.Add(Of(1, 0, QueueState.Ended)));
        Assert.Equal(0, changes.Count);
        scene.Log.Return(changes);
    }
}

public sealed class QueueWithoutCheckpointsTests() : QueueTests(takesCheckpoints: false);

public sealed class QueueWithCheckpointsTests() : QueueTests(takesCheckpoints: true);
