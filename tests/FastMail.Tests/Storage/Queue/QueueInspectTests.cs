using FastMail.Server.Cli;
using FastMail.Storage;
using Xunit;
using static FastMail.Tests.Storage.Queue.QueueLog;

namespace FastMail.Tests.Storage.Queue;

/// <summary>What an inspection of the log says of the queue.</summary>
public sealed class QueueInspectTests
{
    private static readonly MailLogOptions Manual = LogScene.Saving with { ReclaimsByItself = false };

    [Fact]
    public void Relayed_messages_are_live_until_their_last_recipient_has_ended()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ulong one = scene.Relay("one", 2);
        ulong two = scene.Relay("two", 1, 7);
        ulong three = scene.Relay("three");
        scene.Change(Of(one, 0, QueueState.Delivered), Of(two, 0, QueueState.Failed), Of(three, 0, QueueState.Held));
        PendingMessage bounce = scene.BuildRelayed("no", 1, [], Of(one, 1, QueueState.Failed));
        Assert.Equal(AppendOutcome.Durable, scene.Append(bounce));
        scene.Log!.Return(bounce);
        scene.Close();
        LogTally tally = TallyOf(scene);
        Assert.Equal((2, 2), (tally.QueuedMessages, tally.QueuedRecipients));
        Assert.Equal((3L, 1L), (tally.Live.Number, tally.Dead.Number));
        Assert.Equal(0, tally.Damages);
        using LogInspector inspector = LogInspector.Open(scene.Directory);
        Assert.Equal(2, inspector.Checkpoints[0].QueuedMessages);
    }

    [Fact]
    public async Task Copies_in_cold_segments_and_holes_are_no_damage_and_counted_once()
    {
        using LogScene scene = new(options: Manual with { SegmentBytes = 1 << 20, FirstSegmentBytes = 1 << 20 });
        MailLog log = scene.Open();
        ulong large = scene.Relay(new string('l', 200_000), 2);
        ulong kept = scene.Relay("kept", 2);
        scene.Change(Of(kept, 1, QueueState.Delivered));
        ulong file = scene.Relay(new string('f', 900_000));
        scene.Change(Of(large, QueueChange.AllRecipients, QueueState.Delivered), Of(file, 0, QueueState.Failed));
        await log.CompactAsync(new CompactOptions { DeadRatio = 1, IncludesCurrent = true });
        Check(1, 1);
        await scene.Log!.CompactAsync(new CompactOptions { DeadRatio = 0, IncludesCurrent = true });
        Assert.Contains(ReclaimTests.SegmentFiles(scene), ReclaimTests.IsCold);
        Check(1, 1);
        scene.Change(Of(kept, 0, QueueState.Delivered));
        Check(0, 0);

        void Check(int messages, int recipients)
        {
            string[] shown = scene.Show();
            scene.Close();
            LogTally tally = TallyOf(scene);
            Assert.Equal((messages, recipients, 0), (tally.QueuedMessages, tally.QueuedRecipients, tally.Damages));
            Assert.Equal(messages, tally.Live.Number);
            scene.Open();
            Assert.Equal(shown, scene.Show());
            scene.Log!.Scrub();
            Assert.DoesNotContain(scene.Notices, n => n.Contains("damage", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void A_change_is_shown_with_all_it_says()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ulong seq = scene.Relay("m");
        scene.Change(
            Of(seq, 0, QueueState.Deferred, 2, "mx: 451 later\n", "else@where") with { IsDelayTold = true },
            Of(seq, QueueChange.AllRecipients, QueueState.Held) with { DueMicros = long.MaxValue });
        scene.Close();
        using LogInspector inspector = LogInspector.Open(scene.Directory);
        LogRecord record = inspector.Read().OfType<LogRecord>().Single(r => r.Type == RecordType.QueueState);
        Assert.EndsWith(
            $" deferred={seq}/0 attempts=2 due=1970-01-01T00:00:02.000000Z delay-told to=<else@where> "
            + $@"text=mx:\u0020451\u0020later\u000a held={seq}/all due=9999-12-31T23:59:59.999999Z",
            RecordText.Of((LogFinding)record), StringComparison.Ordinal);
        Assert.Contains(
            $$"""{"seq":{{seq}},"recipient":0,"state":"deferred","attempts":2,"due":"1970-01-01T00:00:02.000000Z","isDelayTold":true""",
            LogJson.Line(record), StringComparison.Ordinal);
    }

    private static LogTally TallyOf(LogScene scene)
    {
        using LogInspector inspector = LogInspector.Open(scene.Directory);
        LogTally tally = new();
        foreach (LogFinding finding in inspector.Read())
        {
            Assert.False(finding is LogProblem, (finding as LogProblem)?.Text);
            tally.Add(finding);
        }

        return tally;
    }
}
