using System.Text;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Pop3;
using FastMail.LoadTest.Smtp;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Whole runs against a server that behaves, and against servers that do not.</summary>
public sealed class SmtpRunTests : IDisposable
{
    private readonly string _path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());

    public void Dispose() => File.Delete(_path);

    [Theory]
    [InlineData("None", 1, 0, 1)]
    [InlineData("None", 3, 4, 2)]
    [InlineData("Envelope", 1, 0, 5)]
    [InlineData("Envelope", 3, 1, 2)]
    [InlineData("Full", 1, 0, 5)]
    [InlineData("Full", 4, 7, 3)]
    public void What_is_sent_is_collected_unchanged(
        string pipelining, int recipients, int perConnection, int connections)
    {
        using var server = new FakeMailServer();
        SmtpRun run = Send(server, plan => plan with
        {
            Pipelining = Enum.Parse<Pipelining>(pipelining),
            Recipients = new MailboxPattern("u{n}@x", 5, recipients),
            MessagesPerConnection = perConnection,
            Connections = connections,
            Size = new OctetRange(0, 30_000),
            IsEightBit = true,
        });
        Assert.Equal(string.Empty, string.Join('\n', run.Tally.FirstErrors));
        Assert.True(SmtpReport.IsAllAcknowledged(run));
        Assert.Equal(60, run.Tally.Latency.Count);
        if (perConnection > 0)
        {
            Assert.InRange(server.Sessions, 60 / perConnection, (60 / perConnection) + connections);
        }

        Pop3Run verified = Verify(server, "u{n}@x", 5);
        Assert.Equal(string.Empty, string.Join('\n', verified.FirstErrors.Concat(verified.Audit!.Findings)));
        Assert.True(verified.IsAllWell);
        Assert.Equal(60 * recipients, verified.Audit!.AckedAndStored);
        Assert.Equal(60 * recipients, verified.Tally.Messages);
    }

    [Fact]
    public void Senders_are_dealt_round_like_recipients()
    {
        using var server = new FakeMailServer();
        SmtpRun run = Send(server, plan => plan with
        {
            From = "s{n}@x",
            Recipients = new MailboxPattern("u@x", users: 12, perMessage: 1),
        });
        Assert.True(SmtpReport.IsAllAcknowledged(run));
        Assert.Equal(
            Enumerable.Range(0, 12).Select(n => ($"MAIL FROM:<s{n}@x>", 5)).OrderBy(pair => pair.Item1, StringComparer.Ordinal),
            server.Commands.Where(command => command.StartsWith("MAIL", StringComparison.Ordinal))
                .CountBy(command => command).Select(pair => (pair.Key, pair.Value))
                .OrderBy(pair => pair.Key, StringComparer.Ordinal));
    }

    [Fact]
    public void Every_message_is_in_the_ledger_before_its_last_dot_arrives()
    {
        int noted = 0;
        using var server = new FakeMailServer
        {
            BeforeReply = mail =>
            {
                string id = Encoding.ASCII.GetString(mail.Content.AsSpan(11, LoadId.Length));
                noted += File.ReadAllText(_path).Contains($"{id} ", StringComparison.Ordinal) ? 1 : 0;
            },
        };
        _ = Send(server, plan => plan with { Pipelining = Pipelining.Full });
        Assert.Equal(60, noted);
    }

    [Fact]
    public void A_server_that_hangs_up_leaves_messages_in_doubt_and_the_rest_goes_on()
    {
        int received = 0;
        using var server = new FakeMailServer { OnContent = _ => ++received % 10 == 0 ? null : "250 ok" };
        SmtpRun run = Send(server, plan => plan with { Reconnect = true, Pipelining = Pipelining.Full });
        Assert.Equal((54, 6, 6), (run.Tally.Acked, run.Tally.InDoubt, run.Tally.ConnectionsLost));
        Assert.False(SmtpReport.IsAllAcknowledged(run));
        Pop3Run verified = Verify(server, "u0@x", 1);
        Assert.True(verified.Audit!.IsClean);
        Assert.Equal((54, 6), (verified.Audit.AckedAndStored, verified.Audit.InDoubtStored));
    }

    [Fact]
    public void Refusals_are_counted_shown_and_survived()
    {
        int received = 0;
        using var server = new FakeMailServer
        {
            OnContent = mail =>
            {
                bool isRefused = ++received % 4 == 0;
                mail.Copies = isRefused ? 0 : 1;
                return isRefused ? "452 4.3.1 disk full" : "250 ok";
            },
        };
        SmtpRun run = Send(server, plan => plan with { Pipelining = Pipelining.Full });
        Assert.Equal((45, 15, 0), (run.Tally.Acked, run.Tally.Refused, run.Tally.ConnectionsLost));
        Assert.Equal(15, run.Tally.UnexpectedReplies[452]);
        Assert.Contains("452 4.3.1 disk full", run.Tally.FirstErrors[0], StringComparison.Ordinal);
        Assert.True(Verify(server, "u0@x", 1).Audit!.IsClean);
    }

    [Theory]
    [InlineData("None")]
    [InlineData("Envelope")]
    [InlineData("Full")]
    public void A_refused_recipient_is_left_out_and_a_message_without_any_is_refused(string pipelining)
    {
        using var server = new FakeMailServer
        {
            OnRecipient = mailbox => mailbox is "u1@x" or "u2@x" ? "550 5.1.1 who" : "250 ok",
        };
        SmtpRun run = Send(server, plan => plan with
        {
            Messages = 6,
            Connections = 1,
            Pipelining = Enum.Parse<Pipelining>(pipelining),
            Recipients = new MailboxPattern("u{n}@x", 6, 2),
        });

        // Pairs 0+1, 2+3, 4+5 in turn: one of two refused in the first and second, none in the third.
        Assert.Equal((6, 0, 4), (run.Tally.Acked, run.Tally.Refused, run.Tally.RecipientsRefused));
        Assert.False(SmtpReport.IsAllAcknowledged(run));
        File.Delete(_path);

        run = Send(server, plan => plan with
        {
            Messages = 6,
            Connections = 1,
            Pipelining = Enum.Parse<Pipelining>(pipelining),
            Recipients = new MailboxPattern("u{n}@x", 3, 1),
        });
        Assert.Equal((2, 4, 4), (run.Tally.Acked, run.Tally.Refused, run.Tally.RecipientsRefused));
        Assert.Contains(run.Tally.FirstErrors, error => error == "RCPT TO:<u1@x>: 550 5.1.1 who");
    }

    [Theory]
    [InlineData("secret", true)]
    [InlineData("wrong", false)]
    public void Authentication_is_plain_and_its_refusal_ends_the_run(string password, bool isAccepted)
    {
        using var server = new FakeMailServer();
        SmtpRun run = Send(server, plan => plan with { AuthUser = "alice", Password = password, Reconnect = true });
        Assert.Equal(isAccepted, SmtpReport.IsAllAcknowledged(run));
        Assert.Equal(isAccepted ? 60 : 0, run.Tally.Acked);
    }

    [Theory]
    [InlineData(null)]
    [InlineData("454 4.7.0 later")]
    [InlineData("421 4.3.2 closing")]
    public void A_connection_lost_while_it_authenticates_is_opened_again(string? reply)
    {
        int asked = 0;
        using var server = new FakeMailServer { OnAuth = _ => ++asked == 2 ? reply : "235 welcome" };
        SmtpRun run = Send(server, plan => plan with
        {
            Connections = 1,
            MessagesPerConnection = 20,
            AuthUser = "alice",
            Password = "secret",
            Reconnect = true,
        });
        Assert.Equal((60, 1, false), (run.Tally.Acked, run.Tally.ConnectionsLost, run.IsCutShort));
    }

    [Fact]
    public void A_server_that_says_nothing_is_given_up()
    {
        using var silence = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        silence.Start();
        SmtpRun run = Send(((System.Net.IPEndPoint)silence.LocalEndpoint).Port, plan => plan with
        {
            GiveUp = TimeSpan.FromMilliseconds(1),
        });
        Assert.True(run.IsGivenUp);
        Assert.False(SmtpReport.IsAllAcknowledged(run));
    }

    [Fact]
    public void A_server_that_is_not_there_or_talks_nonsense_is_told()
    {
        using var server = new FakeMailServer { Greeting = "+OK POP3 ready" };
        SmtpRun run = Send(server, plan => plan with { Connections = 1 });
        Assert.Contains("not an SMTP reply: +OK POP3 ready", run.Tally.FirstErrors[0], StringComparison.Ordinal);
        Assert.False(SmtpReport.IsAllAcknowledged(run));
    }

    [Fact]
    public void A_second_run_with_the_same_seed_and_ledger_goes_on_counting()
    {
        using var server = new FakeMailServer();
        _ = Send(server, plan => plan);
        _ = Send(server, plan => plan, Ledger.Read(_path).NextSequence(42));
        Assert.Equal(120, Ledger.Read(_path).Entries.Count);
        Assert.True(Verify(server, "u0@x", 1).IsAllWell);
    }

    [Theory]
    [InlineData("lost")]
    [InlineData("doubled")]
    [InlineData("damaged")]
    public void What_a_bad_server_does_to_acknowledged_mail_is_found(string wrong)
    {
        int received = 0;
        using var server = new FakeMailServer
        {
            OnContent = mail =>
            {
                if (++received % 20 == 0)
                {
                    mail.Copies = wrong == "lost" ? 0 : wrong == "doubled" ? 2 : 1;
                    mail.Content = wrong == "damaged" ? [.. mail.Content, (byte)' ', .. "\r\n"u8] : mail.Content;
                }

                return "250 ok";
            },
        };
        _ = Send(server, plan => plan);
        Pop3Run verified = Verify(server, "u0@x", 1);
        LedgerAudit audit = verified.Audit!;
        Assert.Equal(
            (wrong == "lost" ? 3 : 0, wrong == "doubled" ? 3 : 0, wrong == "damaged" ? 3 : 0),
            (audit.Lost, audit.Doubled, audit.Damaged));
        Assert.False(verified.IsAllWell);
    }

    [ReleaseFact]
    public void Sending_more_messages_allocates_nothing_more()
    {
        using var server = new FakeMailServer();
        _ = AllocatedBySending(server, 200);
        // The least of five: what the runtime allocates meanwhile is not ours.
        long few = Enumerable.Range(0, 5).Min(_ => AllocatedBySending(server, 200));
        long many = Enumerable.Range(0, 5).Min(_ => AllocatedBySending(server, 2000));
        Assert.True(many - few <= 1024, $"{many - few} octets for 1,800 messages more");
    }

    private static Pop3Plan PlanFor(FakeMailServer server, string user, int users) => new()
    {
        Target = Target(server.Pop3Port),
        Users = [.. Enumerable.Range(0, users).Select(n => user.Replace("{n}", $"{n}", StringComparison.Ordinal))],
        Password = "secret",
        Timeout = TimeSpan.FromSeconds(30),
        IsQuiet = true,
    };

    private static Pop3Run Collect(Pop3Plan plan, LedgerAudit? audit = null)
    {
        using var run = new Pop3Run(plan, audit, TextWriter.Null);
        run.Run(); // its counts outlive it
        return run;
    }

    private static TargetAddress Target(int port)
    {
        Assert.True(TargetAddress.TryParse($"127.0.0.1:{port}", out TargetAddress? target, out _));
        return target!;
    }

    private Pop3Run Verify(FakeMailServer server, string user, int users)
    {
        Pop3Plan plan = PlanFor(server, user, users) with { Sessions = users, Depth = 3 };
        return Collect(plan, new LedgerAudit(Ledger.Read(_path), plan.Users));
    }

    private SmtpRun Send(FakeMailServer server, Func<SmtpPlan, SmtpPlan> change, long firstSequence = 0) =>
        Send(server.SmtpPort, change, firstSequence);

    private SmtpRun Send(int port, Func<SmtpPlan, SmtpPlan> change, long firstSequence = 0)
    {
        using var ledger = new LedgerWriter(_path);
        using var run = new SmtpRun(change(PlanFor(port)), ledger, firstSequence, TextWriter.Null);
        run.Run();
        return run;
    }

    private static long AllocatedBySending(FakeMailServer server, int messages)
    {
        SmtpPlan plan = PlanFor(server.SmtpPort) with { Messages = messages, Pipelining = Pipelining.Full };
        using var run = new SmtpRun(plan, null, 0, TextWriter.Null);
        long before = GC.GetAllocatedBytesForCurrentThread();
        run.Run();
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(SmtpReport.IsAllAcknowledged(run));
        return allocated;
    }

    private static SmtpPlan PlanFor(int port) => new()
    {
        Target = Target(port),
        Connections = 3,
        Messages = 60,
        Size = new OctetRange(2000, 2000),
        Recipients = new MailboxPattern("u0@x", 1, 1),
        From = "a@y",
        Seed = 42,
        GiveUp = TimeSpan.FromSeconds(30),
        IsQuiet = true,
    };
}
