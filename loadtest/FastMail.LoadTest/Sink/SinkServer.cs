using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Sink;

/// <summary>Who learns of a message that the sink accepts, right before its 250 leaves. Loop thread.</summary>
/// <param name="id">Whose it is; null for one that bears none.</param>
/// <param name="hash">SHA-256 of its own part, lower-case hexadecimal.</param>
/// <param name="recipients">Forward-paths.</param>
internal delegate void Arrival(in LoadId? id, string hash, IReadOnlyList<string> recipients);

/// <summary>
/// An SMTP server that keeps nothing: an epoll loop on the thread that calls <see cref="Run"/>, which owns the
/// connections. Only <see cref="Stop"/> may be called from another thread.
/// </summary>
internal sealed class SinkServer : IDisposable
{
    private const int ListenerToken = 0;
    private const int AcceptPauseMilliseconds = 100; // without descriptors

    private static readonly long Second = Stopwatch.Frequency;

    private readonly Epoll _epoll = new();
    private readonly TextWriter _progress;
    private readonly Arrival? _arrived;
    private readonly int _listener;
    private readonly List<SinkConnection> _connections = []; // the one with token n is at n - 1
    private readonly Stack<SinkConnection> _free = [];
    private readonly PriorityQueue<SinkConnection, long> _paused = new();
    private readonly Random _chance;
    private long _startedAt;
    private long _now;
    private long _acceptsAgainAt = long.MaxValue; // while nobody is accepted
    private bool _hasToldOfPause;
    private volatile bool _isStopped;

    /// <param name="plan">What to do.</param>
    /// <param name="arrived">Null when nobody wants to know; then nothing is hashed.</param>
    /// <param name="progress">Takes a line a second.</param>
    /// <exception cref="IOException">The address is in use or not ours.</exception>
    internal SinkServer(SinkPlan plan, Arrival? arrived, TextWriter progress)
    {
        Plan = plan;
        _arrived = arrived;
        _progress = progress;
        _chance = new Random(plan.Seed);
        EhloReply = Encoding.ASCII.GetBytes(string.Concat(
            plan.Keywords.Prepend("sink.invalid").Select((word, i) =>
                $"250{(i == plan.Keywords.Count ? ' ' : '-')}{word}\r\n")));
        _listener = Linux.OpenListener(plan.Listen.Family, plan.Listen.SocketAddress);
        if (_listener < 0)
        {
            int errno = Marshal.GetLastPInvokeError();
            _epoll.Dispose();
            throw new IOException($"listen at {plan.Listen.EndPoint}: {Linux.ErrorText(errno)}");
        }

        Port = Linux.PortOf(_listener);
        _epoll.Add(_listener, Linux.PollIn, ListenerToken);
    }

    internal SinkPlan Plan { get; }

    internal int Port { get; }

    internal SinkTally Tally { get; } = new();

    internal byte[] EhloReply { get; }

    internal bool IsRecording => _arrived is not null;

    internal TimeSpan Elapsed { get; private set; }

    /// <summary>Serves until it is stopped or its time is over; then, and when it fails, all connections are closed.</summary>
    /// <exception cref="IOException">Who learns of arrivals could not write them down, or the kernel failed.</exception>
    internal void Run()
    {
        _startedAt = Stopwatch.GetTimestamp();
        try
        {
            Serve();
        }
        finally
        {
            foreach (SinkConnection connection in _connections)
            {
                connection.Close();
            }

            Elapsed = Stopwatch.GetElapsedTime(_startedAt);
        }
    }

    /// <summary>Any thread.</summary>
    internal Standing TakeStanding() => new()
    {
        Title = $"sink at {Plan.Listen.EndPoint.Address}, port {Port}",
        Elapsed = _startedAt == 0 ? TimeSpan.Zero : Stopwatch.GetElapsedTime(_startedAt),
        Total = Plan.Duration,
        Unit = "messages",
        Done = Tally.Accepted,
        Octets = Tally.Octets,
        Counts =
        [
            ("deferred", Tally.Deferred + Tally.DeferredContents), ("rejected", Tally.Rejected),
            ("dropped", Tally.Dropped), ("connections", Tally.Connections),
        ],
    };

    /// <summary>Ends the run within a second. Any thread.</summary>
    internal void Stop() => _isStopped = true;

    public void Dispose()
    {
        foreach (SinkConnection connection in _connections)
        {
            connection.Dispose();
        }

        _ = Linux.Close(_listener);
        _epoll.Dispose();
    }

    /// <summary>
    /// From 0 to below 1, evenly. Of things that exclude each other one drawing tells which it is; a share of 1 is always.
    /// </summary>
    internal double Draw() => _chance.NextDouble();

    internal void Arrived(in LoadId? id, string hash, IReadOnlyList<string> recipients) =>
        _arrived!(id, hash, recipients);

    /// <summary>Has the connection go on after this long.</summary>
    internal void Pause(SinkConnection connection, TimeSpan pause)
    {
        long until = Stopwatch.GetTimestamp() + (long)(pause.TotalSeconds * Second);
        connection.PausedUntil = until;
        _paused.Enqueue(connection, until);
    }

    internal void Ended(SinkConnection connection) => _free.Push(connection);

    private void Serve()
    {
        long tickAt = _startedAt + Second;
        long endsAt = Plan.Duration is { } duration
            ? _startedAt + (long)(duration.TotalSeconds * Second)
            : long.MaxValue;
        long shown = 0;
        while (!_isStopped)
        {
            int ready = _epoll.WaitUntil(Math.Min(Math.Min(tickAt, _acceptsAgainAt), NextPauseEnd()));
            _now = Stopwatch.GetTimestamp();
            for (int i = 0; i < ready; i++)
            {
                int token = _epoll.TokenOf(i);
                if (token == ListenerToken)
                {
                    Accept();
                }
                else
                {
                    _connections[token - 1].OnReady(_epoll.EventsOf(i));
                }
            }

            EndPauses();
            if (_now >= _acceptsAgainAt)
            {
                _acceptsAgainAt = long.MaxValue;
                _epoll.Modify(_listener, Linux.PollIn, ListenerToken);
            }

            if (_now >= endsAt)
            {
                break;
            }

            if (_now >= tickAt)
            {
                tickAt += Second;
                if (!Plan.IsQuiet && Tally.Accepted != shown)
                {
                    _progress.WriteLine(string.Create(
                        System.Globalization.CultureInfo.InvariantCulture,
                        $"{Stopwatch.GetElapsedTime(_startedAt, _now).TotalSeconds,4:0} s {Tally.Accepted - shown,9} msg/s"
                        + $"  accepted {Tally.Accepted}  deferred {Tally.Deferred + Tally.DeferredContents}"
                        + $"  rejected {Tally.Rejected}  dropped {Tally.Dropped}  connections {Tally.Connections}"));
                    shown = Tally.Accepted;
                }
            }
        }
    }

    private void Accept()
    {
        while (true)
        {
            int descriptor = Linux.Accept(_listener);
            if (descriptor < 0)
            {
                if (Marshal.GetLastPInvokeError() is var errno && Linux.IsExhausted(errno))
                {
                    PauseAccepting(errno);
                }

                return; // none is waiting, or one is that went away
            }

            if (!_free.TryPop(out SinkConnection? connection))
            {
                connection = new SinkConnection(this, _epoll, _connections.Count + 1);
                _connections.Add(connection);
            }

            Tally.Connections++;
            connection.Open(descriptor);
        }
    }

    /// <summary>Who is waiting would be told of without end.</summary>
    private void PauseAccepting(int errno)
    {
        _acceptsAgainAt = _now + (AcceptPauseMilliseconds * Second / 1000);
        _epoll.Modify(_listener, 0, ListenerToken);
        if (!_hasToldOfPause)
        {
            _hasToldOfPause = true;
            _progress.WriteLine($"fastmail-load: no further connections for now: {Linux.ErrorText(errno)}");
        }
    }

    private long NextPauseEnd() => _paused.TryPeek(out _, out long until) ? until : long.MaxValue;

    private void EndPauses()
    {
        while (_paused.TryPeek(out SinkConnection? connection, out long until) && until <= _now)
        {
            _ = _paused.Dequeue();
            if (connection.PausedUntil == until)
            {
                connection.EndPause(); // otherwise it has been closed meanwhile
            }
        }
    }
}
