using FastMail.LoadTest.Smtp;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Messages by the clock, and servers that do not keep up with it.</summary>
public sealed class OpenLoopTests
{
    [Fact]
    public void What_was_due_before_the_end_is_sent_however_late()
    {
        bool isFirst = true;
        using var server = new FakeMailServer
        {
            BeforeReply = _ =>
            {
                Thread.Sleep(isFirst ? 1000 : 0); // beyond the end of the run
                isFirst = false;
            },
        };
        SmtpRun run = Send(server, plan => plan with { Duration = TimeSpan.FromMilliseconds(500) });
        Assert.True(SmtpReport.IsAllAcknowledged(run), string.Join('\n', run.Tally.FirstErrors));
        Assert.Equal((50, 50, 0), (run.Tally.Claimed, run.Tally.MeasuredAcked, run.Tally.Unsent));
    }

    [Fact]
    public void What_was_due_and_never_sent_is_told_and_fails_the_run()
    {
        int received = 0;
        using var server = new FakeMailServer { OnContent = _ => ++received > 3 ? "" : "250 ok" };
        SmtpRun run = Send(server, plan => plan with
        {
            Duration = TimeSpan.FromMilliseconds(500),
            GiveUp = TimeSpan.FromSeconds(2),
        });
        Assert.True(run.IsGivenUp);
        Assert.Equal((3, 1, 46), (run.Tally.Acked, run.Tally.InDoubt, run.Tally.Unsent));
        Assert.False(SmtpReport.IsAllAcknowledged(run));
        using var json = new StringWriter();
        SmtpReport.WriteJson(run, json);
        Assert.Contains("\"unsent\":46,", json.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_that_is_stopped_behind_time_does_not_look_well()
    {
        SmtpRun? stopping = null;
        int received = 0;
        using var server = new FakeMailServer
        {
            BeforeReply = _ =>
            {
                if (++received == 3)
                {
                    Thread.Sleep(200); // for some to become due
                    stopping!.Stop();
                    Thread.Sleep(1500); // for the run to notice
                }
            },
        };
        using var run = new SmtpRun(
            PlanFor(server) with { Duration = TimeSpan.FromMinutes(1) }, null, 0, TextWriter.Null);
        stopping = run;
        run.Run();
        Assert.Equal((0, run.Tally.Claimed), (run.Tally.Faults, run.Tally.Acked));
        Assert.True(run.Tally.Unsent > 0);
        Assert.False(SmtpReport.IsAllAcknowledged(run));
    }

    [Fact]
    public void A_message_given_back_stays_due_since_then()
    {
        var schedule = new Schedule(perSecond: 100, startedAt: 0, measuredFrom: 0, endsAt: long.MaxValue, messages: 3);
        long first = schedule.Take();
        long second = schedule.Take();
        schedule.GiveBack(first);
        Assert.Equal(first, schedule.NextDueAt);
        Assert.Equal(first, schedule.Take());
        long third = schedule.Take();
        Assert.True(third > second);
        Assert.False(schedule.IsAnyLeft);
        schedule.GiveBack(third);
        schedule.GiveBack(second);
        Assert.Equal((true, second), (schedule.IsAnyLeft, schedule.NextDueAt));
        Assert.Equal(2, schedule.Drop(third));
        Assert.False(schedule.IsAnyLeft);
    }

    [Fact]
    public void What_was_due_in_the_warm_up_is_not_measured_however_late()
    {
        bool isFirst = true;
        using var server = new FakeMailServer
        {
            BeforeReply = _ =>
            {
                Thread.Sleep(isFirst ? 700 : 0); // beyond the end of the warm-up
                isFirst = false;
            },
        };
        SmtpRun run = Send(server, plan => plan with { WarmUp = TimeSpan.FromMilliseconds(500), Messages = 20 });
        Assert.True(SmtpReport.IsAllAcknowledged(run), string.Join('\n', run.Tally.FirstErrors));
        Assert.Equal((70, 20), (run.Tally.Acked, run.Tally.MeasuredAcked));
    }

    [Fact]
    public void A_run_that_is_stopped_in_its_warm_up_does_not_look_well()
    {
        SmtpRun? stopping = null;
        int received = 0;
        using var server = new FakeMailServer
        {
            BeforeReply = _ =>
            {
                if (++received == 10)
                {
                    stopping!.Stop();
                    Thread.Sleep(1500); // for the run to notice
                }
            },
        };
        SmtpPlan plan = PlanFor(server) with { Rate = 0, WarmUp = TimeSpan.FromMinutes(1), Messages = 3 };
        using var run = new SmtpRun(plan, null, 0, TextWriter.Null);
        stopping = run;
        run.Run();
        Assert.Equal((0, 0), (run.Tally.Faults, run.Tally.MeasuredAcked));
        Assert.False(SmtpReport.IsAllAcknowledged(run));
    }

    [Fact]
    public void Silence_counts_only_while_something_is_owed()
    {
        using var server = new FakeMailServer();
        SmtpRun run = Send(server, plan => plan with { Rate = 0.4, Messages = 2, GiveUp = TimeSpan.FromSeconds(1) });
        Assert.False(run.IsGivenUp);
        Assert.True(SmtpReport.IsAllAcknowledged(run), string.Join('\n', run.Tally.FirstErrors));
    }

    [Fact]
    public void A_server_may_end_a_connection_that_has_nothing_to_say()
    {
        int received = 0;
        using var server = new FakeMailServer
        {
            OnContent = _ => ++received < 3 ? "250 ok\r\n421 4.4.2 nothing said for too long" : "250 ok",
        };
        SmtpRun run = Send(server, plan => plan with { Rate = 2, Messages = 3 });
        Assert.True(SmtpReport.IsAllAcknowledged(run), string.Join('\n', run.Tally.FirstErrors));
        Assert.Equal((0, 3, 3), (run.Tally.ConnectionsLost, run.Tally.ConnectionsOpened, server.Sessions));
    }

    private static SmtpRun Send(FakeMailServer server, Func<SmtpPlan, SmtpPlan> change)
    {
        using var run = new SmtpRun(change(PlanFor(server)), null, 0, TextWriter.Null);
        run.Run(); // its counts outlive it
        return run;
    }

    /// <summary>One connection and a hundred messages a second.</summary>
    private static SmtpPlan PlanFor(FakeMailServer server) =>
        SinkTests.PlanFor(server.SmtpPort) with { Messages = null, Connections = 1, Rate = 100 };
}
