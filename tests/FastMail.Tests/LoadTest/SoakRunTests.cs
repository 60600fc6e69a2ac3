using System.Security.Cryptography;
using FastMail.LoadTest.Pop3;
using FastMail.LoadTest.Smtp;
using FastMail.LoadTest.Soak;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Mail in and out at the same time, with servers that make it look better than it is.</summary>
public sealed class SoakRunTests
{
    [Fact]
    public void A_soak_that_runs_its_time_is_well()
    {
        using var server = new FakeMailServer();
        using SoakRun run = Soak(server, plan => plan with { Duration = TimeSpan.FromMilliseconds(300) });
        Assert.True(run.IsWell, string.Join('\n', run.Audit!.Findings));
        Assert.True(run.Collected > 0);
        Assert.Equal(run.Source.Tally.Acked, run.Collected);
    }

    [Fact]
    public void A_server_that_falls_silent_does_not_look_well()
    {
        int received = 0;
        using var server = new FakeMailServer { OnContent = _ => ++received > 10 ? "" : "250 ok" };
        using SoakRun run = Soak(server, plan => plan with { GiveUp = TimeSpan.FromSeconds(1) });
        Assert.True(run.Audit!.IsClean, string.Join('\n', run.Audit.Findings));
        Assert.True(run.Source.IsGivenUp);
        Assert.False(run.IsWell);
    }

    [Fact]
    public void A_soak_whose_connections_are_all_turned_away_does_not_look_well()
    {
        int asked = 0;
        using var server = new FakeMailServer { OnAuth = _ => ++asked > 4 ? "535 5.7.8 no" : "235 welcome" };
        using SoakRun run = Soak(server, plan => plan with
        {
            MessagesPerConnection = 5,
            AuthUser = "alice",
            Password = "secret",
        });
        Assert.True(run.Audit!.IsClean, string.Join('\n', run.Audit.Findings));
        Assert.Equal((20, 20, true), (run.Source.Tally.Acked, run.Collected, run.Source.IsCutShort));
        Assert.False(run.IsWell);
    }

    [Fact]
    public void Copies_that_share_a_unique_id_are_found()
    {
        int received = 0;
        using var server = new FakeMailServer
        {
            BeforeReply = mail => mail.Copies = ++received == 5 ? 2 : 1,
            UniqueIdOf = (_, mail) => Convert.ToHexString(SHA256.HashData(mail)),
        };
        using SoakRun run = Soak(server, plan => plan with { Duration = TimeSpan.FromMilliseconds(300) });
        Assert.Equal(1, run.WrongListings);
        Assert.False(run.IsWell);
    }

    [Fact]
    public void Maildrops_that_refuse_are_given_up_together()
    {
        using var server = new FakeMailServer();
        SmtpPlan plan = SinkTests.PlanFor(server.SmtpPort) with { Messages = 20, Duration = null };
        using var run = new SoakRun(
            plan, MaildropsOf(server, 7) with { Password = "wrong" }, TimeSpan.FromSeconds(4), TextWriter.Null);
        run.Run();
        Assert.Equal(7, run.Uncollected.Count);
        Assert.InRange(run.FailedSessions, 7, 45); // two tried for four seconds, twice a second, and the others once
    }

    [Fact]
    public void A_second_signal_ends_the_collecting()
    {
        using var server = new FakeMailServer();
        SmtpPlan plan = SinkTests.PlanFor(server.SmtpPort) with { Messages = 20, Duration = null };
        using var run = new SoakRun(
            plan, MaildropsOf(server, 7) with { Password = "wrong" }, TimeSpan.FromMinutes(10), TextWriter.Null);
        var running = new Thread(run.Run);
        running.Start();
        run.Stop();
        run.Stop();
        Assert.True(running.Join(TimeSpan.FromSeconds(60)));
        Assert.Equal((7, false), (run.Uncollected.Count, run.IsWell));
    }

    [Fact]
    public void The_evidence_of_a_soak_is_kept_when_it_is_needed()
    {
        using var server = new FakeMailServer { BeforeReply = mail => mail.Copies = 2 };
        using var progress = new StringWriter();
        SmtpPlan plan = SinkTests.PlanFor(server.SmtpPort) with { Messages = 20, Duration = null };
        string ledger;
        using (var run = new SoakRun(plan, MaildropsOf(server, 7), TimeSpan.FromSeconds(2), progress) { KeepsEvidence = true })
        {
            run.Run();
            Assert.False(run.IsWell);
            ledger = run.LedgerPath;
        }

        string directory = Path.GetDirectoryName(ledger)!;
        Assert.Contains($"is kept in {directory}", progress.ToString(), StringComparison.Ordinal);
        Assert.Contains(" acked ", File.ReadAllText(ledger), StringComparison.Ordinal);
        Directory.Delete(directory, recursive: true);
    }

    private static SoakRun Soak(FakeMailServer server, Func<SmtpPlan, SmtpPlan> change)
    {
        SmtpPlan plan = SinkTests.PlanFor(server.SmtpPort) with { Messages = null, Duration = TimeSpan.FromMinutes(1) };
        var run = new SoakRun(change(plan), MaildropsOf(server, 7), TimeSpan.FromSeconds(10), TextWriter.Null);
        run.Run();
        return run;
    }

    private static Pop3Plan MaildropsOf(FakeMailServer server, int users) => new()
    {
        Target = SinkTests.Target(server.Pop3Port),
        Users = [.. Enumerable.Range(0, users).Select(n => $"u{n}@x")],
        Password = "secret",
        Parallel = 2,
        Depth = 4,
        IsDeleting = true,
        Timeout = TimeSpan.FromSeconds(30),
        IsQuiet = true,
    };
}
