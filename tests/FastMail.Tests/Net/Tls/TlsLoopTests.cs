using System.Net.Sockets;
using System.Security.Authentication;
using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Net.Tls;

/// <summary>TLS between the loop and its handlers.</summary>
public sealed class TlsLoopTests
{
    private static readonly byte[] Large = MakeLarge(5_000_000);

    [Theory]
    [InlineData(SslProtocols.Tls12)]
    [InlineData(SslProtocols.Tls13)]
    public void A_listener_with_TLS_greets_behind_the_handshake(SslProtocols protocol)
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: true));
        using (TlsClient client = TlsClient.Connect(fixture.Listener.LocalEndPoint, protocol))
        {
            Assert.Equal("hello", client.ReadLine());
            for (int i = 0; i < 100; i++)
            {
                client.Send($"line {i}\r\n");
                Assert.Equal($"line {i}", client.ReadLine());
            }

            client.Send("quit\r\n");
            Assert.Equal("bye", client.ReadLine());
            Assert.Null(client.ReadLine()); // and close_notify, or this would throw
        }

        Assert.True(fixture.Handlers.Secured.TryDequeue(out TlsParameters? tls));
        Assert.Equal(protocol, tls.Protocol);
        AssertAllIsReturned(fixture, server);
        Assert.Equal((1, 0), (server.Completed, server.Failed));
    }

    [Fact]
    public void A_handler_begins_TLS_in_the_midst_of_a_session()
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: false));
        using (NetworkStream clear = TlsClient.ConnectInTheClear(fixture.Listener.LocalEndPoint))
        {
            Say(clear, "", "hello\r\n");
            Say(clear, "before\r\n", "before\r\n");
            Say(clear, "secure\r\n", "go ahead\r\n");
            using TlsClient client = new(clear);
            Assert.Equal("hello", client.ReadLine());
            client.Send("inside\r\n");
            Assert.Equal("inside", client.ReadLine());
        }

        AssertAllIsReturned(fixture, server);
    }

    [Fact]
    public void What_came_in_the_clear_before_the_handshake_is_thrown_away()
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: false));
        using (NetworkStream clear = TlsClient.ConnectInTheClear(fixture.Listener.LocalEndPoint))
        {
            Say(clear, "", "hello\r\n");
            Say(clear, "secure\r\ninjected\r\ninj", "go ahead\r\n");
            using TlsClient client = new(clear);
            Assert.Equal("hello", client.ReadLine());
            client.Send("first\r\n");
            Assert.Equal("first", client.ReadLine()); // neither an answer to the injection nor a part of it
        }

        AssertAllIsReturned(fixture, server);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(100)]
    public void Records_cut_anywhere_mean_the_same(int octets)
    {
        using TlsServer server = TestCertificates.Server();
        LineHandlers handlers = new() { Body = Large.AsMemory(0, 100_000) };
        using LoopFixture fixture = new(handlers, tls: new ListenerTls(server, IsImplicit: true));
        using (Splitting transport = new(TlsClient.ConnectInTheClear(fixture.Listener.LocalEndPoint), octets))
        using (TlsClient client = new(transport))
        {
            Assert.Equal("hello", client.ReadLine());
            string line = new('x', 3000);
            client.Send($"one\r\n{line}\r\nbody\r\nlast\r\n");
            Assert.Equal("one", client.ReadLine());
            Assert.Equal(line, client.ReadLine());
            Assert.Equal("body follows", client.ReadLine());
            Assert.Equal(Large[..100_000], client.ReadExactly(100_000));
            Assert.Equal("last", client.ReadLine());
        }

        AssertAllIsReturned(fixture, server);
    }

    [Fact]
    public void Large_bodies_arrive_whole_at_a_reader_that_comes_late()
    {
        using TlsServer server = TestCertificates.Server();
        LineHandlers handlers = new() { Body = Large };
        using LoopFixture fixture = new(handlers, tls: new ListenerTls(server, IsImplicit: true));
        using (TlsClient client = TlsClient.Connect(fixture.Listener.LocalEndPoint))
        {
            Assert.Equal("hello", client.ReadLine());
            for (int i = 0; i < 3; i++)
            {
                client.Send("body\r\nbody\r\n");
                using (TlsClient other = TlsClient.Connect(fixture.Listener.LocalEndPoint))
                {
                    Assert.Equal("hello", other.ReadLine()); // the slow one holds up nobody
                }

                for (int n = 0; n < 2; n++)
                {
                    Assert.Equal("body follows", client.ReadLine());
                    Assert.Equal(Large, client.ReadExactly(Large.Length));
                }
            }
        }

        AssertAllIsReturned(fixture, server);
    }

    [Fact]
    public void A_reader_that_takes_nothing_is_closed_at_the_least_rate()
    {
        StandingClock clock = new();
        using TlsServer server = TestCertificates.Server();
        LineHandlers handlers = new() { Body = Large, SendRate = new MinimumRate(1000, TimeSpan.FromSeconds(5)) };
        using LoopFixture fixture = new(handlers, clock, tls: new ListenerTls(server, IsImplicit: true));
        using TlsClient client = TlsClient.Connect(fixture.Listener.LocalEndPoint);
        Assert.Equal("hello", client.ReadLine());
        client.Send("body\r\nbody\r\nbody\r\n"); // more than the socket takes
        Assert.Equal("body follows", client.ReadLine());
        Assert.True(SpinWait.SpinUntil(
            () =>
            {
                clock.Advance(TimeSpan.FromSeconds(1));
                return fixture.Loop.ConnectionCount == 0;
            },
            LoopFixture.Patience));
        AssertAllIsReturned(fixture, server);
    }

    [Fact]
    public void A_peer_that_vanishes_in_a_large_body_leaves_nothing_behind()
    {
        using TlsServer server = TestCertificates.Server();
        LineHandlers handlers = new() { Body = Large };
        using LoopFixture fixture = new(handlers, tls: new ListenerTls(server, IsImplicit: true));
        for (int i = 0; i < 5; i++)
        {
            using NetworkStream transport = TlsClient.ConnectInTheClear(fixture.Listener.LocalEndPoint);
            TlsClient client = new(transport);
            Assert.Equal("hello", client.ReadLine());
            client.Send("body\r\nbody\r\n");
            Assert.Equal("body follows", client.ReadLine());
            transport.Socket.LingerState = new LingerOption(enable: true, 0);
            transport.Socket.Dispose();
        }

        AssertAllIsReturned(fixture, server);
    }

    [Theory]
    [InlineData("hello world\r\n")]
    [InlineData("\x16\x03\x01\x00\x05hello")]
    [InlineData("\x15\x03\x01\x00\x02\x02\x28")]
    [InlineData("\x80\x2e\x01\x00\x02")]
    [InlineData("\x16\x03\x01\x48\x00\x01")]
    public void Garbage_for_a_handshake_closes_and_nothing_is_said_in_the_clear(string garbage)
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: true));
        using (LineClient client = fixture.ConnectSilently())
        {
            client.Send(System.Text.Encoding.Latin1.GetBytes(garbage));
            client.Socket.Shutdown(SocketShutdown.Send);
            while (client.ReadLine() is { } line)
            {
                Assert.DoesNotContain("hello", line, StringComparison.Ordinal); // an alert may come, no words
            }
        }

        AssertAllIsReturned(fixture, server);
        Assert.Equal((0, 1), (server.Completed, server.Failed));
        Assert.Empty(fixture.Failures);
    }

    [Fact]
    public void A_record_that_is_forged_ends_the_session()
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: true));
        using (NetworkStream transport = TlsClient.ConnectInTheClear(fixture.Listener.LocalEndPoint))
        using (TlsClient client = new(transport))
        {
            Assert.Equal("hello", client.ReadLine());
            transport.Write("\x17\x03\x03\x00\x20"u8);
            transport.Write(new byte[32]);
            Assert.ThrowsAny<Exception>(() => client.ReadLine() is null ? throw new IOException("the end") : 0);
        }

        AssertAllIsReturned(fixture, server);
        Assert.Empty(fixture.Failures);
    }

    [Fact]
    public void A_handshake_that_dawdles_is_cut_at_its_deadline_however_it_trickles()
    {
        StandingClock clock = new();
        using TlsServer server = TestCertificates.Server(deadline: TimeSpan.FromSeconds(10));
        using LoopFixture fixture = new(clock: clock, tls: new ListenerTls(server, IsImplicit: true));
        using LineClient silent = fixture.ConnectSilently();
        using LineClient slow = fixture.ConnectSilently();
        AwaitHandshakes(fixture, server, 2);
        byte[] hello = [22, 3, 1, 2, 0, 1, 0, 1, 0xFC]; // the start of a real one
        foreach (byte octet in hello)
        {
            slow.Send([octet]);
            clock.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Equal(2, fixture.OnLoop(() => server.Handshakes));
        clock.Advance(TimeSpan.FromSeconds(2));
        AssertEndOrReset(silent);
        AssertEndOrReset(slow);
        AssertAllIsReturned(fixture, server);
        Assert.Equal(2, server.Failed);
    }

    [Fact]
    public void Handshakes_over_the_cap_are_refused_and_room_comes_back()
    {
        using TlsServer server = TestCertificates.Server(handshakeCap: 3);
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: true));
        LineClient[] halfOpen = [.. Enumerable.Range(0, 3).Select(_ => fixture.ConnectSilently())];
        AwaitHandshakes(fixture, server, 3);
        Assert.False(fixture.OnLoop(() => server.IsAvailable));
        using (LineClient over = fixture.ConnectSilently())
        {
            over.AssertEnd();
        }

        foreach (LineClient client in halfOpen)
        {
            client.Dispose(); // in the midst of the handshake
        }

        AwaitHandshakes(fixture, server, 0);
        using (TlsClient client = TlsClient.Connect(fixture.Listener.LocalEndPoint))
        {
            Assert.Equal("hello", client.ReadLine());
        }

        AssertAllIsReturned(fixture, server);
        Assert.Equal((1, 4), (server.Completed, server.Failed));
    }

    [Fact]
    public async Task A_stop_says_the_last_words_inside_TLS_and_cuts_handshakes()
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: true));
        using TlsClient idle = TlsClient.Connect(fixture.Listener.LocalEndPoint);
        Assert.Equal("hello", idle.ReadLine());
        using LineClient halfOpen = fixture.ConnectSilently();
        halfOpen.Send("\x16\x03\x01"u8);
        AwaitHandshakes(fixture, server, 1);
        Task stopped = fixture.Loop.StopAsync(TimeSpan.FromSeconds(30));
        Assert.Equal("last words: Stopping", idle.ReadLine());
        Assert.Null(idle.ReadLine());
        AssertEndOrReset(halfOpen);
        idle.Dispose();
        await stopped.WaitAsync(LoopFixture.Patience);
    }

    [Fact]
    public void An_idle_session_hears_of_its_timeout_inside_TLS()
    {
        StandingClock clock = new();
        using TlsServer server = TestCertificates.Server();
        LineHandlers handlers = new() { Deadline = TimeSpan.FromSeconds(60) };
        using LoopFixture fixture = new(handlers, clock, tls: new ListenerTls(server, IsImplicit: true));
        using TlsClient client = TlsClient.Connect(fixture.Listener.LocalEndPoint);
        Assert.Equal("hello", client.ReadLine());
        clock.Advance(TimeSpan.FromSeconds(30)); // past the handshake's deadline, which counts no more
        client.Send("still here\r\n");
        Assert.Equal("still here", client.ReadLine());
        clock.Advance(TimeSpan.FromSeconds(40));
        Assert.Equal("last words: Timeout", client.ReadLine());
        Assert.Null(client.ReadLine());
    }

    [Fact]
    public void A_handler_that_waits_is_resumed_inside_TLS()
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: true));
        using (TlsClient client = TlsClient.Connect(fixture.Listener.LocalEndPoint))
        {
            Assert.Equal("hello", client.ReadLine());
            client.Send("wait\r\nbehind\r\n");
            Assert.True(fixture.Handlers.Waiting.Wait(LoopFixture.Patience));
            Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
            fixture.Loop.Post(handler);
            Assert.Equal("done", client.ReadLine());
            Assert.Equal("behind", client.ReadLine());
        }

        AssertAllIsReturned(fixture, server);
    }

    [Fact]
    public void Asking_for_TLS_where_there_is_none_is_the_handlers_fault()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send("secure\r\n");
        client.AssertEnd();
        Assert.True(fixture.Failures.TryDequeue(out Exception? failure));
        Assert.Contains("TLS", failure.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Many_clients_at_once_all_get_through_their_handshake()
    {
        using TlsServer server = TestCertificates.Server();
        using LoopFixture fixture = new(tls: new ListenerTls(server, IsImplicit: true));
        Parallel.For(0, 40, new ParallelOptions { MaxDegreeOfParallelism = 8 }, i =>
        {
            using TlsClient client = TlsClient.Connect(fixture.Listener.LocalEndPoint);
            Assert.Equal("hello", client.ReadLine());
            client.Send($"{i}\r\nquit\r\n");
            Assert.Equal($"{i}", client.ReadLine());
            Assert.Equal("bye", client.ReadLine());
        });

        AssertAllIsReturned(fixture, server);
        Assert.Equal((40, 0), (server.Completed, server.Failed));
    }

    private static void AwaitHandshakes(LoopFixture fixture, TlsServer server, int count) =>
        Assert.True(SpinWait.SpinUntil(() => fixture.OnLoop(() => server.Handshakes) == count, LoopFixture.Patience));

    private static void AssertAllIsReturned(LoopFixture fixture, TlsServer server)
    {
        fixture.AssertAllIsReturned();
        Assert.Equal(0, fixture.OnLoop(() => server.Handshakes));
    }

    /// <summary>A close with input unread, or with a receive under way, is a reset.</summary>
    private static void AssertEndOrReset(LineClient client)
    {
        try
        {
            client.AssertEnd();
        }
        catch (SocketException e)
        {
            Assert.Equal(SocketError.ConnectionReset, e.SocketErrorCode);
        }
    }

    private static void Say(NetworkStream stream, string said, string expected)
    {
        stream.Write(System.Text.Encoding.ASCII.GetBytes(said));
        byte[] answer = new byte[expected.Length];
        stream.ReadExactly(answer);
        Assert.Equal(expected, System.Text.Encoding.ASCII.GetString(answer));
    }

    private static byte[] MakeLarge(int octets)
    {
        byte[] large = new byte[octets];
        new Random(1).NextBytes(large);
        return large;
    }
}
