using System.Globalization;
using System.Net.Sockets;
using System.Text;
using FastMail.Server.Queue;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>A whole server whose clock the test sets, with a route for relay.test; u submits. Stateless.</summary>
internal static class ClockedRelay
{
    public static Task<ServerFixture> StartAsync(HandClock clock, ScriptedHost host, params string[] more) =>
        ServerFixture.StartAsync(clock, [$"route.table=relay.test=127.0.0.1:{host.Port}", "relay.retry_min=1s", .. more]);

    public static Socket Login(ServerFixture fixture, out string keywords)
    {
        Socket client = fixture.Connect("submission");
        Talk.ReadLine(client);
        keywords = SayAll(client, "EHLO c.test");
        string login = Convert.ToBase64String(Encoding.ASCII.GetBytes($"\0u@local.test\0{ServerFixture.Password}"));
        Assert.StartsWith("235", Say(client, "AUTH PLAIN " + login), StringComparison.Ordinal);
        return client;
    }

    public static void Submit(ServerFixture fixture, string parameters, string[] to, string notify = "")
    {
        using Socket client = Login(fixture, out _);
        string[] recipients = [.. to.Select(t => $"RCPT TO:<{t}>{notify}")];
        foreach (string command in (string[])[$"MAIL FROM:<u@local.test> {parameters}", .. recipients, "DATA", "Subject: hello\r\n\r\nx\r\n."])
        {
            string reply = Say(client, command);
            Assert.True(reply[0] is '2' or '3', $"{command}: {reply}");
        }
    }

    public static string Say(Socket client, string command) => SayAll(client, command).Split("\r\n")[^2];

    public static string SayAll(Socket client, string command)
    {
        Talk.Send(client, command + "\r\n");
        var said = new StringBuilder();
        string line;
        do
        {
            line = Talk.ReadLine(client);
            said.Append(line);
        }
        while (line.Length > 3 && line[3] == '-');

        return said.ToString();
    }

    /// <summary>The clock goes on, and whatever is due by then has been tried.</summary>
    public static Task AdvanceAsync(ServerFixture fixture, HandClock clock, TimeSpan by)
    {
        clock.Advance(by);
        return SettleAsync(fixture, clock);
    }

    /// <summary>All that was due has been tried and waits again: nothing is under way that a jump of the clock could cut off.</summary>
    public static Task SettleAsync(ServerFixture fixture, HandClock clock)
    {
        DateTimeOffset latest = clock.GetUtcNow() - TimeSpan.FromMilliseconds(500); // timers tick
        return RelayTests.Until(() => fixture.Server.Queue.List(new QueueSelector()).All(
            entry => entry.State != "ready" && (entry.Due ?? DateTimeOffset.MaxValue) > latest && IsWaiting(fixture, entry)));
    }

    private static bool IsWaiting(ServerFixture fixture, QueueEntry entry) =>
        fixture.Server.Engine.FindPlaceAsync(entry.Seq, entry.Recipient, CancellationToken.None).GetAwaiter().GetResult()
            is null or { Doing: "waits for its time" or "is held back by its sender" or "waits for its next hop to answer again" };

    /// <summary>The clock goes on, a quarter of an hour at a time, until u has a message with that text.</summary>
    public static async Task<string> AdvanceUntilAsync(ServerFixture fixture, HandClock clock, string text)
    {
        for (int i = 0; i < 60; i++)
        {
            for (int number = 1; number <= Mails(fixture); number++)
            {
                if (Retrieve(fixture, number) is var mail && mail.Contains(text, StringComparison.Ordinal))
                {
                    return mail;
                }
            }

            await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(15));
        }

        throw new TimeoutException($"no '{text}' in 15 hours");
    }

    public static int Tries(ScriptedHost host) => host.Commands.Count(c => c.StartsWith("RCPT", StringComparison.Ordinal));

    public static int Mails(ServerFixture fixture, string user = "u@local.test")
    {
        string status = Pop(fixture, user, "STAT").Split("\r\n").Last(line => line.StartsWith("+OK", StringComparison.Ordinal) && line.Split(' ').Length == 3);
        return int.Parse(status.Split(' ')[1], CultureInfo.InvariantCulture);
    }

    public static string Retrieve(ServerFixture fixture, int number) => Pop(fixture, "u@local.test", $"RETR {number}");

    public static string Pop(ServerFixture fixture, string user, string command)
    {
        using Socket client = fixture.Connect("pop3");
        Talk.Send(client, $"USER {user}\r\nPASS {ServerFixture.Password}\r\n{command}\r\nQUIT\r\n");
        string said = Talk.ReadToEnd(client);
        return said[..said.LastIndexOf("+OK", StringComparison.Ordinal)]; // without the farewell
    }

    public static OpenQueue QueueOf(ServerFixture fixture) => fixture.Server.Queue;

    public static async Task<QueueMessage> ExplainAsync(ServerFixture fixture)
    {
        OpenQueue queue = QueueOf(fixture);
        return (await queue.FindAsync(queue.List(new QueueSelector()).First().Id, CancellationToken.None))!;
    }

    public static Task<QueueActionResult> ApplyAsync(ServerFixture fixture, QueueAction action, string? to = null) =>
        QueueOf(fixture).ApplyAsync(action, new QueueSelector(), new QueueActionOptions(to), CancellationToken.None);
}
