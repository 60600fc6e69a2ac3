using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.LoadTest.Cli;
using FastMail.LoadTest.Relay;
using FastMail.LoadTest.Smtp;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>A source and a sink around relays that behave, and around some that do not.</summary>
public sealed class RelayRunTests
{
    [Fact]
    public void A_relay_run_tells_what_arrived()
    {
        int port = FreePort();
        using var run = new RelayRun(
            SinkTests.PlanFor(port) with { Recipients = new MailboxPattern("u{n}@x", 7, 2) },
            SinkTests.Plan with { Listen = SinkTests.Target(port) },
            TimeSpan.FromSeconds(10),
            TextWriter.Null); // the source sends to the sink itself: the shortest relay there is
        run.Run();
        Assert.True(RelayReport.IsAllRelayed(run), string.Join('\n', run.Audit!.Findings));
        Assert.Equal((100, 200, 100), (run.ArrivedMessages, run.Audit!.AckedAndStored, run.EndToEnd.Count));
        Assert.Equal(run.ArrivedMessages, run.Arrivals.Samples.Sum(sample => sample.Messages));
    }

    [Fact]
    public void What_the_warm_up_sent_is_audited_and_not_measured()
    {
        int port = FreePort();
        using var run = new RelayRun(
            SinkTests.PlanFor(port) with { WarmUp = TimeSpan.FromMilliseconds(300) },
            SinkTests.Plan with { Listen = SinkTests.Target(port) },
            TimeSpan.FromSeconds(10),
            TextWriter.Null);
        run.Run();
        Assert.True(RelayReport.IsAllRelayed(run), string.Join('\n', run.Audit!.Findings));
        Assert.Equal(run.Source.Tally.Acked, run.Audit!.AckedAndStored);
        // One more for each connection, whose next message was taken up when the warm-up had just ended.
        Assert.InRange(run.EndToEnd.Count, 100, 100 + run.Source.Plan.Connections);
        Assert.Equal(run.EndToEnd.Count, run.ArrivedMessages);
    }

    [Fact]
    public void A_relay_that_keeps_mail_to_itself_is_found_out()
    {
        using var hoarder = new FakeMailServer();
        using var run = new RelayRun(
            SinkTests.PlanFor(hoarder.SmtpPort), SinkTests.Plan with { Listen = SinkTests.Target(FreePort()) }, TimeSpan.Zero, TextWriter.Null);
        run.Run();
        Assert.False(RelayReport.IsAllRelayed(run));
        Assert.Equal(100, run.Audit!.Lost);
    }

    [Fact]
    public async Task Copies_do_not_stand_for_what_is_still_on_its_way()
    {
        const int messages = 20;
        using var isSent = new CountdownEvent(messages);
        List<StoredMail> kept = [];
        using var relay = Keeping(kept, isSent, hangsUpOnFirst: false);
        int port = FreePort();
        using var run = new RelayRun(
            SinkTests.PlanFor(relay.SmtpPort) with { Messages = messages },
            SinkTests.Plan with { Listen = SinkTests.Target(port) },
            TimeSpan.FromSeconds(10),
            TextWriter.Null);
        Task relaying = Task.Run(() =>
        {
            isSent.Wait();
            Forward(port, [.. kept[..10], .. kept[..10]]); // as many as were sent
            Thread.Sleep(300); // for the run to end too early
            Forward(port, kept[10..]);
        });
        await Task.Run(run.Run);
        await relaying;
        Assert.Equal((0, messages, 10), (run.Audit!.Lost, run.Audit.AckedAndStored, run.Audit.Doubled));
    }

    [Fact]
    public async Task A_copy_that_comes_after_all_the_rest_is_seen()
    {
        const int messages = 20;
        using var isSent = new CountdownEvent(messages);
        List<StoredMail> kept = [];
        using var relay = Keeping(kept, isSent, hangsUpOnFirst: true);
        int port = FreePort();
        using var run = new RelayRun(
            SinkTests.PlanFor(relay.SmtpPort) with { Messages = messages, Reconnect = true },
            SinkTests.Plan with { Listen = SinkTests.Target(port) },
            TimeSpan.FromSeconds(3),
            TextWriter.Null);
        Task relaying = Task.Run(() =>
        {
            isSent.Wait();
            Forward(port, kept);
            Thread.Sleep(300); // for the run to end too early
            Forward(port, kept[5..8]);
        });
        await Task.Run(run.Run);
        await relaying;
        Assert.Equal((0, 1, 3), (run.Audit!.Lost, run.Audit.InDoubtStored, run.Audit.Doubled));
    }

    [Fact]
    public void A_second_run_with_a_ledger_needs_the_record_of_the_first()
    {
        string directory = Directory.CreateTempSubdirectory("fastmail-relay-").FullName;
        string ledger = Path.Join(directory, "ledger");
        string record = Path.Join(directory, "record");
        Assert.Equal(ExitCode.Ok, Run($"--record {record}"));
        Assert.Equal(ExitCode.Usage, Run(""));
        Assert.Equal(ExitCode.Ok, Run($"--record {record}"));
        Directory.Delete(directory, recursive: true);

        int Run(string more)
        {
            int port = FreePort();
            return CommandLineTests.Run(
                $"relay --target 127.0.0.1:{port} --sink 127.0.0.1:{port} -n 20 -q --settle 1 --ledger {ledger} {more}");
        }
    }

    [Fact]
    public void A_recipient_is_found_again_in_its_message_and_in_no_other()
    {
        var recipients = new MailboxPattern("u{n}@x", 7, 3);
        Assert.Equal([0, 1, 2, -1], Numbers(["u6@x", "U0@X", "u1@x", "u2@x"], sequence: 2));
        Assert.Equal([-1, -1, -1, -1], Numbers(["u7@x", "u@x", "v6@x", "u6@xy"], sequence: 2));
        Assert.Equal(0, new MailboxPattern("u@x", 1, 1).IndexOf("u@x", 5));
        Assert.Equal(-1, new MailboxPattern("u@x", 1, 1).IndexOf("u1@x", 5));

        int[] Numbers(string[] mailboxes, long sequence) =>
            [.. mailboxes.Select(mailbox => recipients.IndexOf(mailbox, sequence))];
    }

    /// <summary>Keeps all mail to itself, the first without an answer if so told.</summary>
    private static FakeMailServer Keeping(List<StoredMail> kept, CountdownEvent isSent, bool hangsUpOnFirst) => new()
    {
        OnContent = mail =>
        {
            kept.Add(mail);
            _ = isSent.Signal();
            return hangsUpOnFirst && kept.Count == 1 ? null : "250 ok";
        },
    };

    private static void Forward(int port, IEnumerable<StoredMail> mails)
    {
        foreach (StoredMail mail in mails)
        {
            Assert.Equal(
                "220 250 250 250 250 221",
                SinkTests.Codes(port, $"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<{mail.Recipients[0]}>\r\n"
                    + $"BDAT {mail.Content.Length} LAST\r\n{Encoding.ASCII.GetString(mail.Content)}QUIT\r\n"));
        }
    }

    internal static int FreePort()
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        socket.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        return ((IPEndPoint)socket.LocalEndPoint!).Port;
    }
}
