using System.Net;
using System.Net.Sockets;
using FastMail.Net;
using FastMail.Server.Queue;
using FastMail.Tests.Server.Defence;
using FastMail.Tests.Server.Dns;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>
/// Hosts with several addresses of which some do not answer. The clock stands but for what a test lets pass, and the
/// time to connect is long: mail that arrives has not waited for a dead address.
/// </summary>
public sealed class NextHopAddressTests
{
    private static readonly TimeSpan Moment = TimeSpan.FromSeconds(1); // longer than any address has for itself

    [Fact]
    public async Task An_address_that_does_not_answer_costs_a_moment_and_is_closed_when_the_next_one_does()
    {
        using var host = new ScriptedHost();
        using var hole = new BlackHole(IPAddress.IPv6Loopback, host.Port);
        using var dns = new ZoneServer("b.test MX 10 mx.b.test", "mx.b.test AAAA ::1", "mx.b.test A 127.0.0.1");
        var clock = new HandClock();
        await using ServerFixture fixture = await StartAsync(clock, dns, host.Port, "10min");
        RelayTests.Send(fixture, "mx", "a@a.test", "u@b.test");

        await ConnectionsBecome(fixture, 1);
        Assert.Equal(0, host.Connections); // IPv6 goes first
        clock.Advance(Moment);
        Assert.Equal("u@b.test", Assert.Single(host.Next().Recipients));
        await ConnectionsBecome(fixture, 1);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(1, host.Connections);
    }

    [Fact]
    public async Task An_address_that_fails_at_once_costs_no_time_at_all()
    {
        using var host = new ScriptedHost();
        using var dns = new ZoneServer("b.test MX 10 mx.b.test", "mx.b.test AAAA ::1", "mx.b.test A 127.0.0.1");
        await using ServerFixture fixture = await StartAsync(new HandClock(), dns, host.Port, "10min");
        RelayTests.Send(fixture, "mx", "a@a.test", "u@b.test");
        Assert.Equal("u@b.test", Assert.Single(host.Next().Recipients));
    }

    [Fact]
    public async Task All_addresses_of_a_host_have_the_time_to_connect_together_and_each_is_told_of()
    {
        int port = FreePort();
        using var six = new BlackHole(IPAddress.IPv6Loopback, port);
        using var four = new BlackHole(IPAddress.Loopback, port);
        using var dns = new ZoneServer("b.test MX 10 mx.b.test", "mx.b.test AAAA ::1", "mx.b.test A 127.0.0.1");
        var clock = new HandClock();
        await using ServerFixture fixture = await StartAsync(clock, dns, port, "20s");
        RelayTests.Send(fixture, "mx", "a@a.test", "u@b.test");

        await ConnectionsBecome(fixture, 1);
        clock.Advance(Moment);
        await ConnectionsBecome(fixture, 2);
        clock.Advance(TimeSpan.FromSeconds(20) - Moment);
        string reply = await DeferredReply(fixture);
        Assert.Contains($"mx.b.test[::1]:{port} connection timed out", reply, StringComparison.Ordinal);
        Assert.Contains($"mx.b.test[127.0.0.1]:{port} connection timed out", reply, StringComparison.Ordinal);
        await ConnectionsBecome(fixture, 0);
    }

    [Fact]
    public async Task Three_addresses_are_tried_at_a_time_and_the_others_have_their_turn_within_the_same_time()
    {
        int port = FreePort();
        string[] addresses = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"];
        List<BlackHole> holes = [.. addresses.Select(address => new BlackHole(IPAddress.Parse(address), port))];
        using var dns = new ZoneServer(["b.test MX 10 mx.b.test", .. addresses.Select(a => $"mx.b.test A {a}")]);
        var clock = new HandClock();
        await using ServerFixture fixture = await StartAsync(clock, dns, port, "20s");
        RelayTests.Send(fixture, "mx", "a@a.test", "u@b.test");

        foreach (int count in (int[])[1, 2, 3])
        {
            await ConnectionsBecome(fixture, count);
            clock.Advance(Moment);
        }

        await Task.Delay(500); // some ticks of the loop, in which no fourth begins
        Assert.Equal(3, fixture.Server.Engine.Loop.OutgoingCount);
        clock.Advance(TimeSpan.FromSeconds(10)); // half of the time: these have had theirs
        await RelayTests.Until(() => fixture.Server.Engine.Loop.OutgoingCount == 2);
        clock.Advance(TimeSpan.FromSeconds(10));
        string reply = await DeferredReply(fixture);
        Assert.All(addresses, address => Assert.Contains($"[{address}]:{port} connection timed out", reply, StringComparison.Ordinal));
        await ConnectionsBecome(fixture, 0);
        holes.ForEach(hole => hole.Dispose());
    }

    [Fact]
    public async Task The_next_host_is_not_tried_before_the_one_that_goes_before_it_has_had_its_time()
    {
        using var host = new ScriptedHost();
        using var hole = new BlackHole(IPAddress.Parse("127.0.0.2"), host.Port);
        using var dns = new ZoneServer(
            "b.test MX 5 mx1.b.test", "mx1.b.test A 127.0.0.2", "b.test MX 10 mx2.b.test", "mx2.b.test A 127.0.0.1");
        var clock = new HandClock();
        await using ServerFixture fixture = await StartAsync(clock, dns, host.Port, "20s");
        RelayTests.Send(fixture, "mx", "a@a.test", "u@b.test");

        await ConnectionsBecome(fixture, 1);
        clock.Advance(Moment);
        await Task.Delay(500); // some ticks of the loop
        Assert.Equal(0, host.Connections);
        clock.Advance(TimeSpan.FromSeconds(20));
        Assert.Equal("u@b.test", Assert.Single(host.Next().Recipients));
    }

    [Fact]
    public async Task An_address_that_was_given_up_for_a_quicker_one_is_tried_when_that_one_does_not_work()
    {
        using var host = new ScriptedHost(static line => line == "greeting" ? "554 5.3.2 not today" : null);
        using var hole = new BlackHole(IPAddress.IPv6Loopback, host.Port);
        using var dns = new ZoneServer("b.test MX 10 mx.b.test", "mx.b.test AAAA ::1", "mx.b.test A 127.0.0.1");
        var clock = new HandClock();
        await using ServerFixture fixture = await StartAsync(clock, dns, host.Port, "20s");
        RelayTests.Send(fixture, "mx", "a@a.test", "u@b.test");

        await ConnectionsBecome(fixture, 1);
        clock.Advance(Moment);
        await RelayTests.Until(() => host.Connections == 1);
        await ConnectionsBecome(fixture, 1);
        await RelayTests.Until(() =>
        {
            clock.Advance(Moment); // until its time is over too
            return Waiting(fixture).State == "deferred";
        });
        Assert.Equal(
            $"mx.b.test[127.0.0.1]:{host.Port} 554 5.3.2 not today; mx.b.test[::1]:{host.Port} connection timed out",
            Waiting(fixture).Reply!["451 4.4.1 ".Length..]);
        Assert.Equal(1, host.Connections);
    }

    private static Task<ServerFixture> StartAsync(HandClock clock, ZoneServer dns, int port, string connectTime) =>
        ServerFixture.StartAsync(
            clock, "relay.from=127.0.0.0/8", $"relay.connect_timeout={connectTime}", $"dns.servers={dns.EndPoint}",
            $"route.table=b.test=mx:{port} private");

    /// <summary>And the turn of the loop in which they did is over: what times they have counts from the hour it was.</summary>
    private static async Task ConnectionsBecome(ServerFixture fixture, int count)
    {
        await RelayTests.Until(() => fixture.Server.Engine.Loop.OutgoingCount == count);
        var turn = new NextTurn();
        fixture.Server.Engine.Loop.Post(turn);
        await turn.Begun.WaitAsync(TimeSpan.FromSeconds(60));
    }

    private static async Task<string> DeferredReply(ServerFixture fixture)
    {
        await RelayTests.Until(() => Waiting(fixture).State == "deferred");
        return Waiting(fixture).Reply!;
    }

    private static QueueEntry Waiting(ServerFixture fixture) =>
        Assert.Single(new QueueReader(fixture.Log).Read(new QueueSelector(), DateTimeOffset.MaxValue));

    private static int FreePort()
    {
        using var host = new ScriptedHost();
        return host.Port;
    }

    /// <summary>An address whose connections never stand: a listener that accepts nothing, with a full queue.</summary>
    private sealed class BlackHole : IDisposable
    {
        private readonly Socket _door;
        private readonly Socket _first;

        public BlackHole(IPAddress address, int port)
        {
            _door = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            _door.Bind(new IPEndPoint(address, port));
            _door.Listen(0); // room for one, which the kernel takes by itself
            _first = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            _first.Connect(address, port);
        }

        public void Dispose()
        {
            _first.Dispose();
            _door.Dispose();
        }
    }

    private sealed class NextTurn : ILoopWork
    {
        private readonly TaskCompletionSource _begun = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Begun => _begun.Task;

        public void Run() => _begun.SetResult();
    }
}
