using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Pop3;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Whole runs against a server in memory, and dialogs with one that says what the test writes.</summary>
[Collection(nameof(Allocations))]
public sealed class Pop3RunTests
{
    [Fact]
    public void Sessions_are_dealt_over_users_and_may_delete()
    {
        using var server = ServerWith(users: 4, messages: 15);
        Pop3Plan plan = PlanFor(server.Pop3Port, users: 4) with { Sessions = 12, Parallel = 2, Depth = 8 };
        Pop3Run run = Collect(plan);
        Assert.True(run.IsAllWell);
        Assert.Equal((12, 180), (run.Tally.Sessions, run.Tally.Messages));
        Assert.Equal(180, run.Tally.LatencyOf(Pop3Timed.Retr)!.Count);
        run = Collect(plan with { Sessions = 4, IsDeleting = true, MostRetrieved = 10 });
        Assert.Equal(40, run.Tally.Deleted);
        Assert.All(server.Maildrops.Values, maildrop => Assert.Equal(5, maildrop.Count));
        run = Collect(plan with { Password = "wrong" });
        Assert.Equal((0, 12), (run.Tally.Sessions, run.Tally.Faults));
        Assert.Contains("[AUTH]", run.FirstErrors[0], StringComparison.Ordinal);
    }

    [Fact]
    public void Every_step_is_asked_in_the_order_of_the_plan()
    {
        using var server = ServerWith(users: 1, messages: 3);
        Pop3Step[] steps = [Pop3Step.Uidl, Pop3Step.List, Pop3Step.Dele];
        Pop3Run run = Collect(PlanFor(server.Pop3Port, users: 1) with { Steps = steps, IsDeleting = true });
        Assert.True(run.IsAllWell, string.Join('\n', run.FirstErrors));
        Assert.Equal(3, run.Tally.Deleted);
        Assert.Equal(
            "dele list login quit session uidl", string.Join(' ', run.Tally.Latencies.Select(one => one.Name)));
    }

    [Fact]
    public void A_run_by_the_clock_ends_when_its_time_is_over()
    {
        using var server = ServerWith(users: 2, messages: 1);
        Pop3Run run = Collect(PlanFor(server.Pop3Port, users: 2) with
        {
            Sessions = int.MaxValue,
            Duration = TimeSpan.FromMilliseconds(50),
            Parallel = 2,
        });
        Assert.True(run.IsAllWell, string.Join('\n', run.FirstErrors));
        Assert.True(run.Tally.Sessions >= 2);
    }

    [Theory]
    [InlineData("-ERR [IN-USE] busy\r\n", "GREETING: -ERR [IN-USE] busy")]
    [InlineData("+OKAY\r\n", "GREETING: +OKAY")]
    [InlineData("+OK\r\n+OK\r\n+OK\r\n+OK one 2\r\n", "STAT: no message count and size in the reply")]
    [InlineData("+OK\r\n+OK\r\n+OK\r\n+OK 1 9\r\n+OK\r\n2 9\r\n", "LIST: '2 9' where message 1 should be")]
    [InlineData("+OK\r\n+OK\r\n+OK\r\n+OK 1 9\r\n+OK\r\n1 \r\n", "LIST: '1 ' where message 1 should be")]
    [InlineData("+OK\r\n+OK\r\n+OK\r\n+OK 1 9\r\n+OK\r\n1 9\r\n.\r\n-ERR gone\r\n", "RETR: -ERR gone")]
    [InlineData("+OK\r\n+OK\r\n+OK\r\n+OK 1 9\r\n+OK\r\n1 9\r\n.\r\n+OK\r\na", "RETR: the server closed the connection")]
    public void What_is_no_right_reply_ends_the_session_and_is_told(string said, string told)
    {
        Pop3Run run = Hear(said, isClosing: true, TimeSpan.FromSeconds(30));
        Assert.Equal((1, 0), (run.Tally.Faults, run.Tally.Sessions));
        Assert.Equal($"u0@x: {told}", run.FirstErrors[0]);
    }

    [Fact]
    public void A_silent_server_is_given_up()
    {
        Pop3Run run = Hear("+OK\r\n+OK\r\n", isClosing: false, TimeSpan.FromMilliseconds(10));
        Assert.Equal("u0@x: PASS: nothing heard for 0.01 s", run.FirstErrors[0]);
    }

    [Fact]
    public void Nobody_there_is_said_for_each_session()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        int port = ((IPEndPoint)listener.LocalEndpoint).Port;
        listener.Stop();
        Pop3Run run = Collect(PlanFor(port, users: 1) with { Sessions = 3 });
        Assert.Equal(3, run.Tally.Faults);
        Assert.Contains("refused", run.FirstErrors[0], StringComparison.OrdinalIgnoreCase);
    }

    [ReleaseFact]
    public void Retrieving_more_messages_allocates_nothing_more()
    {
        using var few = ServerWith(users: 1, messages: 200);
        using var many = ServerWith(users: 1, messages: 2000);
        _ = AllocatedByRetrieving(few);
        // The least of five: what the runtime allocates meanwhile is not ours.
        long more = Enumerable.Range(0, 5).Min(_ => AllocatedByRetrieving(many))
            - Enumerable.Range(0, 5).Min(_ => AllocatedByRetrieving(few));
        Assert.True(more <= 1024, $"{more} octets for 1,800 messages more");
    }

    private static long AllocatedByRetrieving(FakeMailServer server)
    {
        Pop3Plan plan = PlanFor(server.Pop3Port, users: 1) with { Depth = 8 };
        using var run = new Pop3Run(plan, audit: null, TextWriter.Null);
        long before = GC.GetAllocatedBytesForCurrentThread();
        run.Run();
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.True(run.IsAllWell, string.Join('\n', run.FirstErrors));
        return allocated;
    }

    /// <summary>One session with a server that says this without listening.</summary>
    private static Pop3Run Hear(string said, bool isClosing, TimeSpan timeout)
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var isOver = new ManualResetEventSlim();
        var serving = new Thread(() =>
        {
            using Socket client = listener.AcceptSocket();
            _ = client.Send(Encoding.ASCII.GetBytes(said));
            if (isClosing)
            {
                client.Shutdown(SocketShutdown.Send);
            }

            isOver.Wait();
        });
        serving.Start();
        Pop3Run run = Collect(PlanFor(((IPEndPoint)listener.LocalEndpoint).Port, users: 1) with { Timeout = timeout });
        isOver.Set();
        serving.Join();
        return run;
    }

    private static FakeMailServer ServerWith(int users, int messages)
    {
        var server = new FakeMailServer();
        for (int user = 0; user < users; user++)
        {
            server.Maildrops.Add($"u{user}@x", [.. Enumerable.Range(0, messages).Select(n =>
                Encoding.ASCII.GetBytes($"Subject: {n}\r\n\r\n.\r\n..dots\r\n"))]);
        }

        return server;
    }

    private static Pop3Plan PlanFor(int port, int users)
    {
        Assert.True(TargetAddress.TryParse($"127.0.0.1:{port}", out TargetAddress? target, out _));
        return new Pop3Plan
        {
            Target = target!,
            Users = [.. Enumerable.Range(0, users).Select(n => $"u{n}@x")],
            Password = "secret",
            Timeout = TimeSpan.FromSeconds(30),
            IsQuiet = true,
        };
    }

    private static Pop3Run Collect(Pop3Plan plan)
    {
        using var run = new Pop3Run(plan, audit: null, TextWriter.Null);
        run.Run(); // its counts outlive it
        return run;
    }
}
