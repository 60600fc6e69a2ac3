using System.Diagnostics;

namespace FastMail.Storage;

/// <summary>
/// What waits for the appender: a chain through <see cref="PendingAppend.Next"/>. Any thread pushes; the appender
/// alone waits and takes. The bell is rung only when the appender sleeps, so a busy log costs its producers one short
/// lock. Records that nobody waits for (<see cref="PendingAppend.IsPatient"/>) do not begin a group while mail comes in:
/// they go with the next one, or by themselves a moment later.
/// </summary>
internal sealed class AppendQueue : IDisposable
{
    private const int PatienceMilliseconds = 2;

    // A thread that sleeps is back after 20 to 50 us where the processor has gone idle meanwhile.
    private static readonly long WatchTicks = Stopwatch.Frequency / 20_000; // 50 us
    private const int UnwatchedWaits = 64;

    private readonly Lock _gate = new();
    private readonly AutoResetEvent _bell = new(false);
    private PendingAppend? _first;
    private PendingAppend? _last;
    private int _count;
    private bool _hasUrgent; // somebody waits for one of them
    private bool _isAsleep;
    private bool _isDozing; // asleep, with patient records only
    private bool _isClosed;
    private int _unwatched; // of the appender: waits until it watches again

    /// <summary>Records that wait; may be old news already.</summary>
    public int Count => Volatile.Read(ref _count);

    /// <summary>False, and nothing happened, when the queue is closed.</summary>
    public bool TryPush(PendingAppend append)
    {
        bool mustRing;
        lock (_gate)
        {
            if (_isClosed)
            {
                return false;
            }

            append.Next = null;
            if (_last is null)
            {
                _first = append;
            }
            else
            {
                _last.Next = append;
            }

            _last = append;
            _count++;
            _hasUrgent |= !append.IsPatient;
            mustRing = _isAsleep && (_hasUrgent || !_isDozing);
            _isAsleep &= !mustRing;
        }

        if (mustRing)
        {
            _ = _bell.Set();
        }

        return true;
    }

    /// <summary>Nothing more is accepted; the appender wakes, takes the rest and ends.</summary>
    public void Close()
    {
        lock (_gate)
        {
            _isClosed = true;
        }

        _ = _bell.Set();
    }

    /// <summary>Sleeps until there is work, the queue is closed or the time is over.</summary>
    public AppendWait Wait(int timeoutMilliseconds)
    {
        Watch();
        if (MaySleep(isDozing: false))
        {
            _ = _bell.WaitOne(timeoutMilliseconds);
        }

        if (MaySleep(isDozing: true))
        {
            _ = _bell.WaitOne(PatienceMilliseconds);
        }

        lock (_gate)
        {
            _isAsleep = false;
            return State();
        }
    }

    /// <summary>Moves everything that waits to the end of the appender's own chain.</summary>
    public void MoveTo(ref PendingAppend? first, ref PendingAppend? last)
    {
        lock (_gate)
        {
            if (_first is null)
            {
                return;
            }

            if (last is null)
            {
                first = _first;
            }
            else
            {
                last.Next = _first;
            }

            last = _last;
            _first = null;
            _last = null;
            _count = 0;
            _hasUrgent = false;
        }
    }

    public void Dispose()
    {
        _bell.Dispose();
    }

    /// <summary>
    /// Those who were just answered may come back sooner than a sleeper wakes: looks for them for a moment, giving the
    /// processor to whoever wants it. Where nobody came in that time, the next waits go without.
    /// </summary>
    private void Watch()
    {
        if (_unwatched > 0)
        {
            _unwatched--;
            return;
        }

        long end = Stopwatch.GetTimestamp() + WatchTicks;
        while (Count == 0)
        {
            if (Stopwatch.GetTimestamp() >= end)
            {
                _unwatched = UnwatchedWaits;
                return;
            }

            _ = Thread.Yield();
        }
    }

    /// <summary>To sleep there must be nothing that waits; to doze, something that can.</summary>
    private bool MaySleep(bool isDozing)
    {
        lock (_gate)
        {
            _isDozing = isDozing;
            _isAsleep = !_isClosed && (isDozing ? _first is not null && !_hasUrgent : _first is null);
            return _isAsleep;
        }
    }

    private AppendWait State()
    {
        if (_first is not null)
        {
            return AppendWait.HasWork;
        }

        return _isClosed ? AppendWait.Closed : AppendWait.Empty;
    }
}

/// <summary>What the appender found after waiting.</summary>
internal enum AppendWait
{
    Empty,
    HasWork,
    Closed,
}
