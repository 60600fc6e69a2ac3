using System.Net;
using System.Net.Sockets;
using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Net;

/// <summary>Connections that the loop begins, against a listener of the same loop or a socket of the test's own.</summary>
public sealed class ConnectTests
{
    private static readonly TimeSpan Long = TimeSpan.FromSeconds(20);

    [Fact]
    public void A_caller_hears_the_greeting_and_speaks_when_it_wants_to()
    {
        using LoopFixture fixture = new();
        Caller caller = Call(fixture, fixture.Listener.LocalEndPoint);
        Assert.Equal("opened", caller.Heard());
        Assert.Equal("hello", caller.Heard());
        for (int i = 0; i < 100; i++)
        {
            caller.Say($"line {i}");
            Assert.Equal($"line {i}", caller.Heard());
        }

        Assert.Equal((1, 1), (fixture.Loop.OutgoingCount, fixture.Loop.ConnectionCount));
        caller.Say("close");
        Assert.Equal("ByHandler", caller.Ended());
        AssertAllIsReturned(fixture);
    }

    [Fact]
    public void The_end_of_the_peer_is_noticed_in_the_midst_of_a_rest()
    {
        using LoopFixture fixture = new();
        Caller caller = Call(fixture, fixture.Listener.LocalEndPoint);
        caller.Heard();
        caller.Heard();
        caller.Say("quit");
        Assert.Equal("bye", caller.Heard());
        Assert.Equal("ByPeer", caller.Ended());
        AssertAllIsReturned(fixture);
    }

    [Fact]
    public void A_reset_is_told_as_broken()
    {
        using LoopFixture fixture = new();
        using Socket door = Door();
        Caller caller = Call(fixture, door.LocalEndPoint!);
        using (Socket peer = door.Accept())
        {
            Assert.Equal("opened", caller.Heard());
            peer.LingerState = new LingerOption(enable: true, 0);
        }

        Assert.Equal("Broken", caller.Ended());
        AssertAllIsReturned(fixture);
    }

    [Fact]
    public void A_port_where_nobody_listens_is_told_and_never_inside_the_call()
    {
        using LoopFixture fixture = new();
        EndPoint nobody;
        using (Socket door = Door())
        {
            nobody = door.LocalEndPoint!;
        }

        Caller caller = new();
        Connection connection = fixture.OnLoop(() =>
        {
            Connection begun = fixture.Loop.Connect(new ConnectTarget(nobody, Long), caller);
            Assert.True(begun.IsOutgoing);
            return begun;
        });
        Assert.Equal("failed: ConnectionRefused", caller.Ended());
        Assert.False(connection.IsOpen);
        AssertAllIsReturned(fixture);
    }

    [Fact]
    public void A_connect_has_a_deadline()
    {
        StandingClock clock = new();
        using LoopFixture fixture = new(clock: clock);
        using Socket full = FullDoor(out List<Socket> waiting);
        Caller caller = Call(fixture, full.LocalEndPoint!, TimeSpan.FromSeconds(5));
        fixture.OnLoop(() => 0);
        for (int i = 0; i < 60; i++)
        {
            clock.Advance(TimeSpan.FromMilliseconds(100));
            fixture.OnLoop(() => 0);
        }

        Assert.Equal("failed: TimedOut", caller.Ended());
        waiting.ForEach(socket => socket.Dispose());
        AssertAllIsReturned(fixture);
    }

    [Fact]
    public void A_connect_can_be_given_up()
    {
        using LoopFixture fixture = new();
        using Socket full = FullDoor(out List<Socket> waiting);
        Caller caller = new();
        fixture.OnLoop(() =>
        {
            fixture.Loop.Connect(new ConnectTarget(full.LocalEndPoint!, Long), caller).Abort();
            return 0;
        });
        Assert.Equal("failed: OperationAborted", caller.Ended());
        waiting.ForEach(socket => socket.Dispose());
        AssertAllIsReturned(fixture);
    }

    [Fact]
    public void A_connect_given_up_after_it_stood_is_not_opened()
    {
        using LoopFixture fixture = new();
        using Socket door = Door();
        Caller caller = new();
        fixture.OnLoop(() =>
        {
            fixture.Loop.Connect(new ConnectTarget(door.LocalEndPoint!, Long), caller).Abort(); // may have stood at once
            return 0;
        });
        Assert.Equal("failed: OperationAborted", caller.Ended());
        AssertAllIsReturned(fixture);
    }

    [Fact]
    public void A_source_address_is_used_or_refused()
    {
        using LoopFixture fixture = new();
        using Socket door = Door();
        Caller near = new();
        Caller wrong = new();
        fixture.OnLoop(() =>
        {
            ConnectTarget target = new(door.LocalEndPoint!, Long);
            fixture.Loop.Connect(target with { Source = IPAddress.Parse("127.0.0.9") }, near);
            fixture.Loop.Connect(target with { Source = IPAddress.Parse("192.0.2.1") }, wrong);
            return 0;
        });
        using Socket peer = door.Accept();
        Assert.Equal("127.0.0.9", ((IPEndPoint)peer.RemoteEndPoint!).Address.ToString());
        Assert.Equal("failed: AddressNotAvailable", wrong.Ended());
    }

    [Fact]
    public void A_unix_socket_is_called_like_a_port()
    {
        using LoopFixture fixture = new();
        string path = Path.Combine(Path.GetTempPath(), "fm-" + Guid.NewGuid().ToString("N") + ".sock");
        UnixDomainSocketEndPoint door = new(path);
        fixture.Loop.ListenLocally(door, fixture.Handlers);
        Caller caller = Call(fixture, door);
        Assert.Equal("opened", caller.Heard());
        Assert.Equal("hello", caller.Heard());
        caller.Say("quit");
        Assert.Equal("bye", caller.Heard());
        Assert.Equal("ByPeer", caller.Ended());
        Assert.Equal("failed: AddressNotAvailable", Call(fixture, new UnixDomainSocketEndPoint(path + "-none")).Ended());
    }

    [Fact]
    public void Over_the_cap_nothing_is_connected()
    {
        EventLoopOptions options = new() { Failed = (_, _) => { }, Thread = LoopThread.Own, OutgoingCap = 1 };
        using EventLoop loop = EventLoop.Start(options, TimeProvider.System);
        using Socket door = Door();
        Caller first = new();
        Caller second = new();
        loop.Post(new Deed(() =>
        {
            loop.Connect(new ConnectTarget(door.LocalEndPoint!, Long), first);
            loop.Connect(new ConnectTarget(door.LocalEndPoint!, Long), second);
        }));
        Assert.Equal("opened", first.Heard());
        Assert.Equal("failed: TooManyOpenSockets", second.Ended());
    }

    [Fact]
    public void A_deadline_gives_the_caller_its_last_words()
    {
        using LoopFixture fixture = new();
        using Socket door = Door();
        Caller caller = new() { Deadline = TimeSpan.FromMilliseconds(200) };
        Begin(fixture, door.LocalEndPoint!, Long, caller);
        using Socket peer = door.Accept();
        using StreamReader reader = new(new NetworkStream(peer));
        Assert.Equal("quiet Timeout", reader.ReadLine());
        Assert.Equal("TimedOut", caller.Ended());
    }

    [Fact]
    public async Task A_stopping_loop_waits_for_a_caller_that_is_busy()
    {
        using LoopFixture fixture = new();
        using Socket door = Door();
        Caller busy = new() { IsBusy = true };
        Caller idle = new();
        Begin(fixture, door.LocalEndPoint!, Long, busy);
        using Socket busyPeer = door.Accept();
        Assert.Equal("opened", busy.Heard());
        Begin(fixture, door.LocalEndPoint!, Long, idle);
        using Socket idlePeer = door.Accept();
        Assert.Equal("opened", idle.Heard());

        Task stopped = fixture.Loop.StopAsync(Timeout.InfiniteTimeSpan);
        Assert.Equal("Stopping", idle.Ended());
        idlePeer.Dispose();
        busyPeer.Send("still here\r\n"u8);
        Assert.Equal("still here", busy.Heard());
        Assert.False(stopped.IsCompleted);
        busyPeer.Send("that was all\r\n"u8);
        Assert.Equal("that was all", busy.Heard());
        Assert.Equal("Stopping", busy.Ended());
        busyPeer.Dispose();
        await stopped.WaitAsync(LoopFixture.Patience);

        Caller late = new();
        Begin(fixture, door.LocalEndPoint!, Long, late);
        Assert.Equal("failed: OperationAborted", late.Ended());
    }

    [Fact]
    public async Task A_stopping_loop_gives_up_what_is_still_connecting()
    {
        using LoopFixture fixture = new();
        using Socket full = FullDoor(out List<Socket> waiting);
        Caller caller = Call(fixture, full.LocalEndPoint!);
        await fixture.Loop.StopAsync(Timeout.InfiniteTimeSpan).WaitAsync(LoopFixture.Patience);
        Assert.Equal("failed: OperationAborted", caller.Ended());
        waiting.ForEach(socket => socket.Dispose());
    }

    [Fact]
    public void A_caller_that_throws_loses_its_connection_only()
    {
        using LoopFixture fixture = new();
        Caller caller = new() { ThrowsWhenOpened = true };
        Begin(fixture, fixture.Listener.LocalEndPoint, Long, caller);
        Assert.Equal("ByHandler", caller.Ended());
        Assert.True(SpinWait.SpinUntil(() => fixture.Failures.Count == 1, LoopFixture.Patience));
        AssertAllIsReturned(fixture);
    }

    internal static Caller Call(LoopFixture fixture, EndPoint target, TimeSpan? deadline = null)
    {
        Caller caller = new();
        Begin(fixture, target, deadline ?? Long, caller);
        return caller;
    }

    internal static void AssertAllIsReturned(LoopFixture fixture)
    {
        Assert.True(SpinWait.SpinUntil(() => fixture.Loop.OutgoingCount == 0, LoopFixture.Patience));
        fixture.AssertAllIsReturned();
    }

    internal static Socket Door()
    {
        Socket door = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        door.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        door.Listen(100);
        return door;
    }

    private static void Begin(LoopFixture fixture, EndPoint target, TimeSpan deadline, Caller caller) =>
        fixture.OnLoop(() => fixture.Loop.Connect(new ConnectTarget(target, deadline), caller));

    /// <summary>Its backlog is full, so that a further connect waits: the system drops what it cannot queue.</summary>
    private static Socket FullDoor(out List<Socket> waiting)
    {
        Socket door = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        door.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        door.Listen(1);
        waiting = [];
        for (int i = 0; i < 4; i++)
        {
            Socket client = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            client.ConnectAsync(door.LocalEndPoint!).Wait(TimeSpan.FromMilliseconds(200));
            waiting.Add(client);
        }

        return door;
    }

    private sealed class Deed(Action action) : ILoopWork
    {
        public void Run() => action();
    }
}
