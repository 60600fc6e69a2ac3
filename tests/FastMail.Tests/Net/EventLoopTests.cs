using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Net;

/// <summary>Conversations over real sockets, on the loop thread that the fixture was told to use.</summary>
public sealed class EventLoopTests
{
    [Fact]
    public void Pipelined_lines_are_answered_in_order()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send(string.Concat(Enumerable.Range(0, 5000).Select(i => $"number {i}\r\n")));
        for (int i = 0; i < 5000; i++)
        {
            Assert.Equal($"number {i}", client.ReadLine());
        }

        client.Send("quit\r\n");
        Assert.Equal("bye", client.ReadLine());
        client.AssertEnd();
        client.Dispose();
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public void A_line_that_comes_octet_by_octet_is_answered_once()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        foreach (char octet in "one\r\ntwo\r\nquit\r\n")
        {
            client.Send(octet.ToString());
        }

        client.AssertLines("one", "two", "bye", null);
    }

    [Fact]
    public void An_idle_connection_holds_no_slab_and_one_with_half_a_line_does()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send("whole\r\n");
        Assert.Equal("whole", client.ReadLine());
        Assert.Equal((0, 0), fixture.OnLoop(() => (fixture.Loop.Slabs.Rented, fixture.Loop.Outgoings.Rented)));
        client.Send("again\r\nhal");
        Assert.Equal("again", client.ReadLine());
        Assert.True(SpinWait.SpinUntil(() => fixture.OnLoop(() => fixture.Loop.Slabs.Rented) == 1, LoopFixture.Patience));
        client.Send("f\r\n");
        Assert.Equal("half", client.ReadLine());
        Assert.Equal(0, fixture.OnLoop(() => fixture.Loop.Slabs.Rented));
    }

    [Fact]
    public void A_half_closed_peer_hears_every_answer_and_the_end()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send("one\r\ntwo\r\nthree");
        client.Socket.Shutdown(SocketShutdown.Send);
        client.AssertLines("one", "two", null);
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public void A_reset_in_the_middle_of_a_line_ends_only_that_connection()
    {
        using LoopFixture fixture = new();
        using LineClient other = fixture.Connect();
        using LineClient client = fixture.Connect();
        client.Send("half");
        client.Reset();
        Assert.True(fixture.Handlers.Closed.Wait(LoopFixture.Patience));
        other.Send("still there\r\n");
        Assert.Equal("still there", other.ReadLine());
        Assert.Empty(fixture.Failures);
    }

    [Fact]
    public void Input_behind_the_last_command_does_not_destroy_its_reply()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send("quit\r\n" + new string('x', 30_000));
        Assert.Equal("bye", client.ReadLine());
        client.AssertEnd();
        client.Send(new string('y', 10_000)); // the server lingers: no reset yet
        client.Dispose();
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public void A_slow_reader_of_native_memory_gets_every_octet()
    {
        using NativeOctets octets = new(10 * 1024 * 1024, seed: 20261122);
        using LoopFixture fixture = new(new LineHandlers { Body = octets.Memory });
        using LineClient client = fixture.ConnectSilently();
        client.Socket.ReceiveBufferSize = 64 * 1024; // far less than a body: the server's socket fills up
        Assert.Equal("hello", client.ReadLine());
        client.Send("before\r\nbody\r\nbetween\r\nbody\r\nafter\r\n");
        Assert.Equal("before", client.ReadLine());
        for (int round = 0; round < 2; round++)
        {
            Assert.Equal("body follows", client.ReadLine());
            Assert.Equal(-1, FirstDifference(client, octets.Memory.Span));
            Assert.Equal(round == 0 ? "between" : "after", client.ReadLine());
        }

        client.Dispose();
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public void Closed_comes_after_a_send_that_an_abort_has_cut()
    {
        using NativeOctets octets = new(16 * 1024 * 1024, seed: 1);
        using LoopFixture fixture = new(new LineHandlers { Body = octets.Memory });
        using LineClient client = fixture.Connect();
        client.Send("body\r\n");
        Assert.Equal("body follows", client.ReadLine());
        Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
        Assert.True(fixture.OnLoop(() =>
        {
            handler.Connection!.Abort();
            return true;
        }));
        Assert.True(fixture.Handlers.Closed.Wait(LoopFixture.Patience));
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public void Replies_larger_than_a_slab_go_out_in_turns()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send("many 20000\r\nend\r\n");
        for (int i = 20_000; i > 0; i--)
        {
            Assert.Equal($"line {i}", client.ReadLine());
        }

        Assert.Equal("end", client.ReadLine());
    }

    [Fact]
    public void A_waiting_handler_takes_no_input_until_another_thread_ends_the_wait()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        for (int round = 0; round < 50; round++)
        {
            client.Send($"a{round}\r\nwait\r\nb{round}\r\n");
            Assert.Equal($"a{round}", client.ReadLine());
            Assert.True(fixture.Handlers.Waiting.Wait(LoopFixture.Patience));
            Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
            Assert.Equal(2 + (round * 3), fixture.OnLoop(() => fixture.Handlers.Calls));
            fixture.Loop.Post(handler);
            Assert.Equal("done", client.ReadLine());
            Assert.Equal($"b{round}", client.ReadLine());
        }
    }

    [Fact]
    public void A_resume_inside_the_call_that_waits_is_not_lost()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send("early\r\nnext\r\n");
        client.AssertLines("done", "next");
    }

    [Fact]
    public void Over_the_cap_the_refusal_is_said_and_a_free_place_is_given_again()
    {
        using LoopFixture fixture = new(cap: 2);
        using LineClient first = fixture.Connect();
        using LineClient second = fixture.Connect();
        using (LineClient third = fixture.ConnectSilently())
        {
            Assert.Equal("full", third.ReadLine());
            third.AssertEnd();
        }

        first.Send("quit\r\n");
        Assert.Equal("bye", first.ReadLine());
        first.Dispose();
        Assert.True(SpinWait.SpinUntil(() => fixture.Loop.ConnectionCount == 1, LoopFixture.Patience));
        using LineClient fourth = fixture.Connect();
        Assert.Equal(1, fixture.Listener.Refused);
    }

    [Fact]
    public void Accepting_pauses_when_descriptors_run_out_and_goes_on_by_itself()
    {
        StandingClock clock = new();
        int faults = 3;
        int tries = 0;
        using LoopFixture fixture = new(clock: clock, acceptFault: () =>
        {
            Interlocked.Increment(ref tries);
            return faults-- > 0 ? SocketError.TooManyOpenSockets : SocketError.Success;
        });
        using LineClient client = fixture.ConnectSilently();
        fixture.OnLoop(() => 0);
        Assert.Equal(1, Volatile.Read(ref tries)); // no spin: time has to pass
        Advance(fixture, clock, 100, times: 1);
        Assert.Equal(2, Volatile.Read(ref tries));
        Advance(fixture, clock, 100, times: 1);
        Assert.Equal(2, Volatile.Read(ref tries)); // the second has doubled
        Advance(fixture, clock, 100, times: 10);
        Assert.Equal("hello", client.ReadLine());
        Assert.Equal(3, fixture.Listener.FailedAccepts);
        Assert.IsType<SocketException>(Assert.Single(fixture.Failures));
    }

    [Fact]
    public void A_silent_peer_hears_the_last_words_when_its_deadline_passes_and_not_before()
    {
        StandingClock clock = new();
        using LoopFixture fixture = new(new LineHandlers { Deadline = TimeSpan.FromSeconds(300) }, clock);
        using LineClient client = fixture.Connect();
        Advance(fixture, clock, 299_900, times: 1);
        client.Send("still here\r\n");
        Assert.Equal("still here", client.ReadLine());
        Advance(fixture, clock, 100, times: 2);
        Assert.Equal("last words: Timeout", client.ReadLine());
        client.AssertEnd();
        client.Dispose();
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public void A_deadline_set_again_is_found_by_the_old_wheel_entry_and_moved()
    {
        StandingClock clock = new();
        using LoopFixture fixture = new(new LineHandlers { Deadline = TimeSpan.FromSeconds(10) }, clock);
        using LineClient client = fixture.Connect();
        Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
        for (int i = 0; i < 5; i++)
        {
            Advance(fixture, clock, 9_000, times: 1);
            fixture.OnLoop(() =>
            {
                handler.Connection!.SetDeadline(TimeSpan.FromSeconds(10));
                return 0;
            });
        }

        client.Send("alive\r\n");
        Assert.Equal("alive", client.ReadLine());
        Advance(fixture, clock, 10_100, times: 1);
        Assert.Equal("last words: Timeout", client.ReadLine());
    }

    [Fact]
    public void No_deadline_passes_while_the_handler_waits()
    {
        StandingClock clock = new();
        using LoopFixture fixture = new(new LineHandlers { Deadline = TimeSpan.FromSeconds(10) }, clock);
        using LineClient client = fixture.Connect();
        client.Send("wait\r\n");
        Assert.True(fixture.Handlers.Waiting.Wait(LoopFixture.Patience));
        Advance(fixture, clock, 60_000, times: 3);
        Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
        fixture.Loop.Post(handler);
        Assert.Equal("done", client.ReadLine());
        Advance(fixture, clock, 10_100, times: 1); // it starts anew with the end of the wait
        Assert.Equal("last words: Timeout", client.ReadLine());
    }

    [Fact]
    public void A_peer_that_does_not_read_is_cut_at_its_deadline()
    {
        StandingClock clock = new();
        using NativeOctets octets = new(16 * 1024 * 1024, seed: 1);
        LineHandlers handlers = new() { Body = octets.Memory, Deadline = TimeSpan.FromSeconds(10) };
        using LoopFixture fixture = new(handlers, clock);
        using LineClient client = fixture.Connect();
        client.Send("body\r\n");
        Assert.Equal("body follows", client.ReadLine());
        Assert.True(SpinWait.SpinUntil(
            () =>
            {
                Advance(fixture, clock, 1_000, times: 1);
                return handlers.Closed.Wait(0);
            },
            LoopFixture.Patience));
        fixture.AssertAllIsReturned();
    }

    [Theory]
    [InlineData("throw")]
    [InlineData("overrun")]
    public void A_handler_that_fails_loses_its_connection_and_no_other(string command)
    {
        using LoopFixture fixture = new();
        using LineClient other = fixture.Connect();
        using LineClient client = fixture.Connect();
        client.Send(command + "\r\n");
        AssertGone(client);
        Assert.True(fixture.Handlers.Closed.Wait(LoopFixture.Patience));
        Assert.IsType<InvalidOperationException>(Assert.Single(fixture.Failures));
        other.Send("fine\r\n");
        Assert.Equal("fine", other.ReadLine());
    }

    [Fact]
    public void A_handler_that_leaves_a_full_slab_untouched_loses_its_connection()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send(new string('x', 20_000)); // no line end, and the handler has no answer to that
        AssertGone(client);
        Assert.IsType<InvalidOperationException>(Assert.Single(fixture.Failures));
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public void An_abort_from_inside_a_call_says_nothing_more()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send("abort\r\n");
        AssertGone(client);
        Assert.Empty(fixture.Failures);
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public void A_failure_in_Closed_is_reported_and_the_handler_still_returned()
    {
        using LoopFixture fixture = new(new LineHandlers { ThrowsInClosed = true });
        using LineClient client = fixture.Connect();
        client.Dispose();
        fixture.AssertAllIsReturned();
        Assert.Equal("closed", Assert.Single(fixture.Failures).Message);
    }

    [Fact]
    public async Task A_flood_does_not_starve_another_connection()
    {
        using LoopFixture fixture = new();
        using LineClient flood = fixture.Connect();
        using LineClient client = fixture.Connect();
        byte[] lines = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat("quiet\r\n", 5000)));
        using CancellationTokenSource enough = new();
        Task flooding = Task.Factory.StartNew(
            () =>
            {
                while (!enough.IsCancellationRequested)
                {
                    flood.Send(lines);
                }
            },
            TaskCreationOptions.LongRunning);
        Assert.True(SpinWait.SpinUntil(() => fixture.OnLoop(() => fixture.Handlers.Calls) > 10_000, LoopFixture.Patience));
        for (int i = 0; i < 20; i++)
        {
            int before = fixture.OnLoop(() => fixture.Handlers.Calls);
            client.Send($"ping {i}\r\n");
            Assert.Equal($"ping {i}", client.ReadLine());
            Assert.True(fixture.OnLoop(() => fixture.Handlers.Calls) > before);
        }

        await enough.CancelAsync();
        await flooding;
    }

    [Fact]
    public void Posted_work_runs_in_the_order_of_posting_and_a_failure_spares_the_rest()
    {
        using LoopFixture fixture = new();
        List<int> order = [];
        for (int i = 0; i < 1000; i++)
        {
            int number = i;
            fixture.Loop.Post(new Work(() =>
            {
                order.Add(number);
                if (number == 500)
                {
                    throw new InvalidOperationException("work");
                }
            }));
        }

        Assert.Equal(1000, fixture.OnLoop(() => order.Count));
        Assert.Equal(Enumerable.Range(0, 1000), order);
        Assert.Equal("work", Assert.Single(fixture.Failures).Message);
    }

    [Fact]
    public void What_belongs_to_the_loop_thread_is_refused_elsewhere()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
        Connection connection = handler.Connection!;
        Assert.Throws<InvalidOperationException>(connection.Resume);
        Assert.Throws<InvalidOperationException>(connection.Abort);
        Assert.Throws<InvalidOperationException>(() => fixture.Loop.Arm(new LoopTimer(handler), TimeSpan.Zero));
    }

    [Fact]
    public void An_address_in_use_is_said_at_once()
    {
        using LoopFixture fixture = new();
        SocketException exception = Assert.Throws<SocketException>(
            () => fixture.Loop.Listen(fixture.Listener.LocalEndPoint, fixture.Handlers));
        Assert.Equal(SocketError.AddressAlreadyInUse, exception.SocketErrorCode);
    }

    [Theory]
    [InlineData(60, 1, 9, 1)] // SO_KEEPALIVE
    [InlineData(60, 6, 4, 30)] // TCP_KEEPIDLE, seconds
    [InlineData(60, 6, 5, 10)] // TCP_KEEPINTVL, seconds
    [InlineData(60, 6, 18, 60_000)] // TCP_USER_TIMEOUT, milliseconds
    [InlineData(6, 6, 4, 3)] // probes that came after the timeout would be too late
    [InlineData(6, 6, 5, 1)]
    [InlineData(6, 6, 18, 6_000)]
    [InlineData(1, 6, 4, 1)]
    [InlineData(3600, 6, 4, 30)]
    public void Accepted_sockets_notice_that_their_peer_has_died(int timeout, int level, int option, int value)
    {
        using LoopFixture fixture = new(peerTimeout: timeout);
        using LineClient client = fixture.Connect();
        Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
        Assert.Equal(value, fixture.OnLoop(() => handler.Connection!.OptionOf(level, option)));
    }

    [Fact]
    public void Accepted_sockets_have_no_delay_and_know_both_addresses()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
        (IPEndPoint remote, IPEndPoint? local, bool noDelay) = fixture.OnLoop(() =>
            (handler.Connection!.RemoteEndPoint, handler.Connection.LocalEndPoint, handler.Connection.HasNoDelay));
        Assert.Equal(client.Socket.LocalEndPoint, remote);
        Assert.Equal(fixture.Listener.LocalEndPoint, local);
        Assert.True(noDelay);
    }

    internal static void Advance(LoopFixture fixture, StandingClock clock, int milliseconds, int times)
    {
        for (int i = 0; i < times; i++)
        {
            clock.Advance(TimeSpan.FromMilliseconds(milliseconds));
            fixture.OnLoop(() => 0); // the tick was posted before this question
        }
    }

    private static void AssertGone(LineClient client)
    {
        try
        {
            client.AssertEnd();
        }
        catch (SocketException exception)
        {
            Assert.Equal(SocketError.ConnectionReset, exception.SocketErrorCode);
        }
    }

    private static int FirstDifference(LineClient client, ReadOnlySpan<byte> expected)
    {
        byte[] buffer = new byte[64 * 1024];
        for (int position = 0; position < expected.Length;)
        {
            int read = client.Read(buffer.AsSpan(0, Math.Min(buffer.Length, expected.Length - position)));
            if (read == 0 || !buffer.AsSpan(0, read).SequenceEqual(expected.Slice(position, read)))
            {
                return position;
            }

            position += read;
        }

        return -1;
    }

    private sealed class Work(Action action) : ILoopWork
    {
        public void Run() => action();
    }
}
