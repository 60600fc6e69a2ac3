using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Net;

/// <summary>
/// One loop with a listener, and the failures it reported. The loop's thread is what <see cref="ThreadVariable"/> says;
/// the runtime of a test host completes on the pool, so inline runs happen in a child (InlineRunTests).
/// </summary>
internal sealed class LoopFixture : IDisposable
{
    public const string ThreadVariable = "FASTMAIL_TEST_LOOP_THREAD";

    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    public LoopFixture(
        LineHandlers? handlers = null,
        TimeProvider? clock = null,
        int cap = 1000,
        Func<SocketError>? acceptFault = null,
        ListenerTls? tls = null,
        int peerTimeout = 60)
    {
        Handlers = handlers ?? new LineHandlers();
        EventLoopOptions options = new()
        {
            Failed = (_, exception) => Failures.Enqueue(exception),
            Thread = Enum.Parse<LoopThread>(Environment.GetEnvironmentVariable(ThreadVariable) ?? "Own"),
            ConnectionCap = cap,
            AcceptFault = acceptFault,
            PeerTimeout = TimeSpan.FromSeconds(peerTimeout),
        };
        Loop = EventLoop.Start(options, clock ?? TimeProvider.System);
        Listener = Loop.Listen(new IPEndPoint(IPAddress.Loopback, 0), Handlers, tls);
    }

    public EventLoop Loop { get; }

    public Listener Listener { get; }

    public LineHandlers Handlers { get; }

    public ConcurrentQueue<Exception> Failures { get; } = new();

    /// <summary>A client that has read the greeting.</summary>
    public LineClient Connect()
    {
        LineClient client = ConnectSilently();
        Assert.Equal("hello", client.ReadLine());
        return client;
    }

    public LineClient ConnectSilently() => new(Listener.LocalEndPoint);

    /// <summary>Runs on the loop thread and waits for the result.</summary>
    public T OnLoop<T>(Func<T> function)
    {
        Question<T> question = new(function);
        Loop.Post(question);
        Assert.True(question.Answer.Wait(Patience), "the loop did not answer");
        return question.Answer.Result;
    }

    /// <summary>Every buffer is back and every handler returned; waits for closes that are still under way.</summary>
    public void AssertAllIsReturned()
    {
        Assert.True(
            SpinWait.SpinUntil(() => Loop.ConnectionCount == 0, Patience),
            $"{Loop.ConnectionCount} connections left");
        Assert.Equal((0, 0, 0), OnLoop(() => (Loop.Slabs.Rented, Loop.Outgoings.Rented, Handlers.Out)));
        Assert.Equal(0, Handlers.OffLoop);
    }

    public void Dispose() => Loop.Dispose();

    private sealed class Question<T>(Func<T> function) : ILoopWork
    {
        private readonly TaskCompletionSource<T> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task<T> Answer => _answer.Task;

        public void Run() => _answer.SetResult(function());
    }
}

/// <summary>A blocking client. Owned by one test, on its thread.</summary>
internal sealed class LineClient : IDisposable
{
    private readonly byte[] _buffer = new byte[64 * 1024];
    private int _start;
    private int _end;

    public LineClient(IPEndPoint server)
    {
        Socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        Socket.ReceiveTimeout = (int)LoopFixture.Patience.TotalMilliseconds;
        Socket.SendTimeout = Socket.ReceiveTimeout;
        Socket.Connect(server);
    }

    public Socket Socket { get; }

    public void Send(string text) => Send(Encoding.ASCII.GetBytes(text));

    public void Send(ReadOnlySpan<byte> octets)
    {
        while (!octets.IsEmpty)
        {
            octets = octets[Socket.Send(octets)..];
        }
    }

    /// <summary>A line without its CRLF; null at the server's end.</summary>
    public string? ReadLine()
    {
        StringBuilder line = new();
        Span<byte> octet = stackalloc byte[1];
        while (Read(octet) == 1)
        {
            if (octet[0] == '\n')
            {
                return line.ToString().TrimEnd('\r');
            }

            line.Append((char)octet[0]);
        }

        return line.Length == 0 ? null : line.ToString();
    }

    /// <summary>Up to a buffer's length; 0 at the server's end.</summary>
    public int Read(Span<byte> into)
    {
        if (_start == _end)
        {
            _start = 0;
            _end = Socket.Receive(_buffer);
        }

        int count = Math.Min(into.Length, _end - _start);
        _buffer.AsSpan(_start, count).CopyTo(into);
        _start += count;
        return count;
    }

    public void AssertLines(params string?[] lines)
    {
        foreach (string? line in lines)
        {
            Assert.Equal(line, ReadLine());
        }
    }

    public void AssertEnd() => Assert.Null(ReadLine());

    public void Reset()
    {
        Socket.LingerState = new LingerOption(enable: true, 0);
        Socket.Dispose();
    }

    public void Dispose() => Socket.Dispose();
}

/// <summary>Time that stands still until a test moves it; timers fire inside <see cref="Advance"/>. Any thread.</summary>
internal sealed class StandingClock : TimeProvider
{
    private readonly Lock _gate = new();
    private readonly List<StandingTimer> _timers = [];
    private long _now;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Interlocked.Read(ref _now);

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        StandingTimer timer = new(this, () => callback(state));
        timer.Change(dueTime, period);
        lock (_gate)
        {
            _timers.Add(timer);
        }

        return timer;
    }

    public void Advance(TimeSpan span)
    {
        long now = Interlocked.Add(ref _now, span.Ticks);
        StandingTimer[] timers;
        lock (_gate)
        {
            timers = [.. _timers];
        }

        foreach (StandingTimer timer in timers)
        {
            timer.FireIfDue(now);
        }
    }

    private sealed class StandingTimer(StandingClock clock, Action fire) : ITimer
    {
        private long _due = long.MaxValue;

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            Volatile.Write(
                ref _due,
                dueTime == Timeout.InfiniteTimeSpan ? long.MaxValue : clock.GetTimestamp() + dueTime.Ticks);
            return true;
        }

        public void FireIfDue(long now)
        {
            // A period shorter than a step of the test's clock fires once a step; the loop counts by the clock.
            if (Volatile.Read(ref _due) <= now)
            {
                fire();
            }
        }

        public void Dispose() => Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
