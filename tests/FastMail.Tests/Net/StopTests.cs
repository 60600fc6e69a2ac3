using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Net;

/// <summary>The graceful stop, from each state a connection can be in.</summary>
public sealed class StopTests
{
    private static readonly TimeSpan LongDrain = TimeSpan.FromMinutes(10);

    [Fact]
    public async Task An_idle_peer_hears_the_last_words_at_once()
    {
        using LoopFixture fixture = new();
        using LineClient idle = fixture.Connect();
        using LineClient half = fixture.Connect();
        half.Send("hal");
        Task stopped = fixture.Loop.StopAsync(LongDrain);
        foreach (LineClient client in (LineClient[])[idle, half])
        {
            client.AssertLines("last words: Stopping", null);
            client.Dispose();
        }

        await stopped.WaitAsync(LoopFixture.Patience);
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public async Task A_peer_that_was_silent_for_long_is_not_waited_for()
    {
        using LoopFixture fixture = new(clock: new StandingClock()); // so lingering would never end
        using LineClient client = fixture.Connect();
        await Task.Delay(1500); // the kernel's own clock tells how long it was silent
        await fixture.Loop.StopAsync(LongDrain).WaitAsync(LoopFixture.Patience);
        client.AssertLines("last words: Stopping", null);
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public async Task A_wait_ends_and_is_answered_before_the_last_words()
    {
        using LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send("wait\r\nafter\r\n");
        Assert.True(fixture.Handlers.Waiting.Wait(LoopFixture.Patience));
        Task stopped = fixture.Loop.StopAsync(LongDrain);
        fixture.OnLoop(() => 0);
        Assert.False(stopped.IsCompleted);
        Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
        fixture.Loop.Post(handler);
        client.AssertLines("done", "after", "last words: Stopping", null);
        client.Dispose();
        await stopped.WaitAsync(LoopFixture.Patience);
    }

    [Fact]
    public async Task A_send_in_flight_is_finished_before_the_last_words()
    {
        using NativeOctets octets = new(12 * 1024 * 1024, seed: 5);
        using LoopFixture fixture = new(new LineHandlers { Body = octets.Memory });
        using LineClient client = fixture.Connect();
        client.Send("body\r\n");
        Assert.Equal("body follows", client.ReadLine());
        Task stopped = fixture.Loop.StopAsync(LongDrain);
        byte[] body = new byte[octets.Memory.Length];
        for (int read = 0; read < body.Length;)
        {
            int more = client.Read(body.AsSpan(read));
            Assert.NotEqual(0, more);
            read += more;
        }

        Assert.True(octets.Memory.Span.SequenceEqual(body));
        client.AssertLines("last words: Stopping", null);
        client.Dispose();
        await stopped.WaitAsync(LoopFixture.Patience);
    }

    [Fact]
    public async Task What_outlives_the_drain_is_cut()
    {
        StandingClock clock = new();
        using LoopFixture fixture = new(clock: clock);
        using LineClient client = fixture.Connect();
        client.Send("wait\r\n");
        Assert.True(fixture.Handlers.Waiting.Wait(LoopFixture.Patience));
        Task stopped = fixture.Loop.StopAsync(TimeSpan.FromSeconds(30));
        fixture.OnLoop(() => 0); // the drain is counted from here
        EventLoopTests.Advance(fixture, clock, 29_000, times: 1);
        Assert.False(stopped.IsCompleted);
        EventLoopTests.Advance(fixture, clock, 1_200, times: 1);
        await stopped.WaitAsync(LoopFixture.Patience);
        client.AssertEnd();
        fixture.AssertAllIsReturned();
    }

    [Fact]
    public async Task A_stopped_loop_takes_no_connection_and_stops_only_once()
    {
        using LoopFixture fixture = new();
        await fixture.Loop.StopAsync(LongDrain).WaitAsync(LoopFixture.Patience);
        await fixture.Loop.StopAsync(LongDrain).WaitAsync(LoopFixture.Patience);
        Assert.Throws<System.Net.Sockets.SocketException>(fixture.ConnectSilently);
    }

    [Fact]
    public void Dispose_aborts_what_is_open_and_later_posts_are_dropped()
    {
        LoopFixture fixture = new();
        using LineClient client = fixture.Connect();
        client.Send("wait\r\n");
        Assert.True(fixture.Handlers.Waiting.Wait(LoopFixture.Patience));
        Assert.True(fixture.Handlers.Opened.TryPeek(out LineHandler? handler));
        fixture.Dispose();
        Assert.True(fixture.Handlers.Closed.Wait(0));
        fixture.Loop.Post(handler);
        fixture.Loop.Dispose();
        client.AssertEnd();
        Assert.Throws<ObjectDisposedException>(() => fixture.Loop.Listen(new(0, 0), fixture.Handlers));
    }
}
