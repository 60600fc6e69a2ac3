using System.Diagnostics;
using System.Text;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Smtp;

/// <summary>
/// One run of the SMTP load: an epoll loop on the calling thread that owns the connections, deals the messages out and
/// counts. Only <see cref="Stop"/> may be called from another thread. A message costs no allocation.
/// </summary>
internal sealed class SmtpRun : IDisposable
{
    private const int FirstReopenMilliseconds = 20;
    private const int LongestReopenMilliseconds = 500; // also for one that was ended while it had nothing to say

    private static readonly long Second = Stopwatch.Frequency;

    private readonly TextWriter _progress;
    private readonly Epoll _epoll = new();
    private readonly SmtpConnection[] _connections;
    private readonly List<SmtpConnection> _deferred = [];
    private readonly List<SmtpConnection> _waiting = [];
    private readonly LinkedList<SmtpConnection> _idle = new(); // open loop: logged in, and nothing is due; longest first
    private readonly SmtpProgress _progressLine;
    private Schedule? _schedule; // open loop
    private long _nextSequence;
    private long _claimLimit;
    private int _live;
    private long _now;
    private long _startedAt;
    private long _measuredFrom;
    private long _endsAt = long.MaxValue;
    private long _stoppedAt = long.MaxValue;
    private long _lastHeardAt;
    private bool _isKeywordChecked;
    private bool _isPossible;
    private volatile bool _isStopped;

    /// <param name="plan">What to do.</param>
    /// <param name="ledger">Opened by the caller, who also closes it; null for none.</param>
    /// <param name="firstSequence">Number of the first message.</param>
    /// <param name="progress">Takes a line per second and the first errors.</param>
    internal SmtpRun(SmtpPlan plan, LedgerWriter? ledger, long firstSequence, TextWriter progress)
    {
        Plan = plan;
        Ledger = ledger;
        _progress = progress;
        _nextSequence = firstSequence;
        Generator = new MessageGenerator(plan.Seed, plan.Size, plan.IsEightBit);
        AuthLine = plan.AuthLine();
        _connections = new SmtpConnection[plan.Connections];
        for (int i = 0; i < _connections.Length; i++)
        {
            _connections[i] = new SmtpConnection(this, _epoll, i);
        }

        _progressLine = new SmtpProgress(progress, Tally);
    }

    internal SmtpPlan Plan { get; }

    internal SmtpTally Tally { get; } = new();

    internal MessageGenerator Generator { get; }

    internal LedgerWriter? Ledger { get; }

    /// <summary>AUTH PLAIN with its initial response (RFC 4954), pinned; null when no user was given.</summary>
    internal byte[]? AuthLine { get; }

    internal bool IsMeasuring => _now >= _measuredFrom;

    /// <summary>Whether a message counts: by when it was due in an open loop, else (0) by when it leaves.</summary>
    internal bool IsMeasured(long dueAt) => (dueAt != 0 ? dueAt : _now) >= _measuredFrom;

    /// <summary>From the end of the warm-up to the last acknowledgement.</summary>
    internal TimeSpan Measured { get; private set; }

    /// <summary>User and system time of this process while the loop ran.</summary>
    internal TimeSpan UserTime { get; private set; }

    internal TimeSpan SystemTime { get; private set; }

    internal bool IsGivenUp { get; private set; }

    /// <summary>It ended before its time, with messages left: no connection was, or the server was given up.</summary>
    internal bool IsCutShort { get; private set; }

    /// <summary>Notes when each message behind the warm-up was to leave, for whoever sees it arrive; null for nobody.</summary>
    internal SendTimes? Times { get; init; }

    /// <summary>Notes who is to get what, for whoever waits for it; null for nobody.</summary>
    internal OwedArrivals? Owed { get; init; }

    /// <summary>Runs until everything is answered, the time is over or the server is given up.</summary>
    internal void Run()
    {
        Environment.ProcessCpuUsage cpuBefore = Environment.CpuUsage;
        Start();
        long tickAt = _startedAt + Second;
        while (_live > 0)
        {
            int ready = _epoll.WaitUntil(NextDue(tickAt));
            _now = Stopwatch.GetTimestamp();
            for (int i = 0; i < ready; i++)
            {
                _connections[_epoll.TokenOf(i)].OnReady(_epoll.EventsOf(i));
            }

            WriteDeferred();
            ReopenDue();
            WakeDue();
            TakeStop();
            if (_now >= tickAt)
            {
                tickAt += Second;
                if (!Tick())
                {
                    break;
                }
            }
        }

        IsCutShort = MayClaim();
        foreach (SmtpConnection connection in _connections)
        {
            connection.Abandon();
        }

        Tally.Unsent = _schedule?.Drop(Math.Min(_now, _stoppedAt)) ?? 0;
        EndInterval();
        Ledger?.Flush();
        Environment.ProcessCpuUsage cpu = Environment.CpuUsage;
        UserTime = cpu.UserTime - cpuBefore.UserTime;
        SystemTime = cpu.PrivilegedTime - cpuBefore.PrivilegedTime;
    }

    /// <summary>Any thread, once the run has begun or before.</summary>
    internal Standing TakeStanding() => new()
    {
        Title = Plan.Label,
        Elapsed = _startedAt == 0 ? TimeSpan.Zero : Stopwatch.GetElapsedTime(_startedAt),
        Total = Plan.Duration + Plan.WarmUp,
        IsWarmUp = Stopwatch.GetTimestamp() < _measuredFrom,
        Unit = "messages",
        Done = Tally.Acked,
        Wanted = _claimLimit is > 0 and < long.MaxValue ? _claimLimit : null,
        Octets = Tally.AckedOctets,
        Counts =
        [
            ("refused", Tally.Refused), ("in doubt", Tally.InDoubt), ("lost connections", Tally.ConnectionsLost),
        ],
        Latency = ("latency", Tally.Latency),
    };

    /// <summary>Takes up no further message; those on the way are finished. Any thread.</summary>
    internal void Stop() => _isStopped = true;

    public void Dispose()
    {
        foreach (SmtpConnection connection in _connections)
        {
            connection.Dispose();
        }

        _epoll.Dispose();
        Generator.Dispose();
    }

    /// <summary>Takes up the next message, if it is time for one.</summary>
    /// <param name="message">Which.</param>
    /// <param name="dueAt">Open loop: when it was to leave, stopwatch ticks; else 0.</param>
    internal bool TryClaim(out LoadMessage message, out long dueAt)
    {
        message = default;
        dueAt = 0;
        if (!MayClaim())
        {
            return false;
        }

        if (_schedule is { } schedule)
        {
            if (schedule.NextDueAt > _now)
            {
                return false;
            }

            dueAt = schedule.Take();
        }

        Tally.Claimed++;
        message = Generator.Describe(_nextSequence++);
        return true;
    }

    /// <summary>Open loop: the connection has nothing to do until a message is due. False when none will be.</summary>
    internal bool TryIdle(SmtpConnection connection)
    {
        bool mayIdle = _schedule is not null && MayClaim();
        if (mayIdle)
        {
            _idle.AddLast(connection.IdlePlace);
        }

        return mayIdle;
    }

    /// <summary>A claimed message whose content never left is somebody else's, under a new number.</summary>
    internal void GiveBack(long dueAt)
    {
        Tally.Claimed--;
        _schedule?.GiveBack(dueAt);
    }

    /// <summary>A connection that had nothing to say is over. Another takes its place while messages are still to come.</summary>
    internal void EndIdle(SmtpConnection connection)
    {
        _idle.Remove(connection.IdlePlace);
        connection.ReopenAt = _now + (LongestReopenMilliseconds * Second / 1000);
        _waiting.Add(connection);
    }

    /// <summary>Counts an acknowledgement; latency in stopwatch ticks, negative during the warm-up.</summary>
    internal void Acked(in LoadMessage message, long latency)
    {
        Tally.Acked++;
        Tally.AckedOctets += message.Octets;
        if (latency >= 0)
        {
            Tally.MeasuredAcked++;
            Tally.MeasuredOctets += message.Octets;
            long nanoseconds = (long)(latency * (1e9 / Second));
            Tally.Latency.Record(nanoseconds);
            Tally.Series.Record(message.Octets, nanoseconds);
            Measured = Stopwatch.GetElapsedTime(_measuredFrom, _now);
        }
    }

    internal void HeardFromServer() => _lastHeardAt = _now;

    internal void Defer(SmtpConnection connection) => _deferred.Add(connection);

    /// <summary>A session is over: another begins at once, later, or never.</summary>
    internal void Ended(SmtpConnection connection, bool isLost, bool isHopeless)
    {
        _live--;
        if (connection.IdlePlace.List is not null)
        {
            _idle.Remove(connection.IdlePlace);
        }

        if (isLost)
        {
            if (Plan.Reconnect && !isHopeless)
            {
                int delay = Math.Min(
                    LongestReopenMilliseconds, FirstReopenMilliseconds << Math.Min(connection.FailedOpens, 8));
                connection.ReopenAt = _now + (delay * Second / 1000);
                _waiting.Add(connection);
                _live++;
            }
        }
        else if (MayClaim())
        {
            // By way of the list: opening here would nest as deep as a server that hangs up is quick.
            connection.ReopenAt = _now;
            _waiting.Add(connection);
            _live++;
        }
    }

    /// <summary>
    /// Says once when the server does not offer what the plan relies on; false when there is no going on without it.
    /// </summary>
    internal bool CheckKeywords(ReadOnlySpan<byte> ehloReply)
    {
        if (_isKeywordChecked)
        {
            return _isPossible;
        }

        _isKeywordChecked = true;
        string keywords = Encoding.UTF8.GetString(ehloReply).ToUpperInvariant();
        Warn(Plan.Pipelining != Pipelining.None && !keywords.Contains("PIPELINING", StringComparison.Ordinal),
            "the server does not offer PIPELINING, yet --pipeline uses it");
        Warn(Plan.IsEightBit && !keywords.Contains("8BITMIME", StringComparison.Ordinal),
            "the server does not offer 8BITMIME, yet --8bit uses it");
        _isPossible = !Plan.IsChunking || keywords.Contains("CHUNKING", StringComparison.Ordinal);
        return _isPossible;
    }

    internal void ShowError(string text)
    {
        Tally.KeepError(text);
        _progress.WriteLine($"fastmail-load: {text}");
    }

    /// <summary>
    /// Something is left to be taken up. In an open loop that is what was due before the end, however late it is by now:
    /// who left it out would forgive the server the worst it did.
    /// </summary>
    private bool MayClaim() => _stoppedAt == long.MaxValue && (_schedule is { } schedule
        ? schedule.IsAnyLeft
        : _now < _endsAt && (Plan.Messages is null || Tally.Claimed < _claimLimit));

    private void Start()
    {
        _startedAt = Stopwatch.GetTimestamp();
        _now = _startedAt;
        _lastHeardAt = _now;
        _measuredFrom = _startedAt + (long)(Plan.WarmUp.TotalSeconds * Second);
        _claimLimit = Plan.WarmUp > TimeSpan.Zero ? long.MaxValue : Plan.Messages ?? long.MaxValue;
        if (Plan.Duration is { } duration)
        {
            _endsAt = _measuredFrom + (long)(duration.TotalSeconds * Second);
        }

        if (Plan.Rate > 0)
        {
            _schedule = new Schedule(Plan.Rate, _startedAt, _measuredFrom, _endsAt, Plan.Messages);
            _claimLimit = _schedule.Messages;
        }

        TakeStop();
        foreach (SmtpConnection connection in _connections)
        {
            Reopen(connection);
        }
    }

    private void Reopen(SmtpConnection connection)
    {
        if (_schedule is not null)
        {
            if (MayClaim())
            {
                _live++;
                connection.Open(); // ready for when a message is due
            }
        }
        else if (TryClaim(out LoadMessage first, out _))
        {
            _live++;
            connection.Open(first);
        }
    }

    private void WakeDue()
    {
        while (_idle.Count > 0 && (!MayClaim() || _schedule!.NextDueAt <= _now))
        {
            LinkedListNode<SmtpConnection> longest = _idle.First!;
            _idle.RemoveFirst();
            longest.Value.Wake();
        }

        WriteDeferred();
    }

    /// <summary>Behind what was due: what is left when the run is stopped had no connection to leave by.</summary>
    private void TakeStop()
    {
        if (_isStopped)
        {
            _stoppedAt = Math.Min(_stoppedAt, _now);
        }
    }

    private void ReopenDue()
    {
        EndWarmUp();
        for (int i = _waiting.Count - 1; i >= 0; i--)
        {
            SmtpConnection connection = _waiting[i];
            if (connection.ReopenAt <= _now || !MayClaim())
            {
                _waiting.RemoveAt(i);
                _live--;
                Reopen(connection);
            }
        }
    }

    private void EndWarmUp()
    {
        if (_claimLimit == long.MaxValue && Plan.Messages is { } messages && IsMeasuring)
        {
            _claimLimit = Tally.Claimed + messages;
        }
    }

    private void WriteDeferred()
    {
        if (_deferred.Count == 0)
        {
            return;
        }

        Ledger!.Flush();
        foreach (SmtpConnection connection in _deferred)
        {
            connection.WriteQueued();
        }

        _deferred.Clear();
    }

    private void EndInterval()
    {
        if (IsMeasuring)
        {
            Tally.Series.EndInterval(Stopwatch.GetElapsedTime(_measuredFrom, _now));
        }
    }

    private bool Tick()
    {
        EndInterval();
        if (!Plan.IsQuiet)
        {
            _progressLine.Show(Stopwatch.GetElapsedTime(_startedAt, _now), isWarmUp: !IsMeasuring);
        }

        if (_live == _idle.Count + _waiting.Count)
        {
            _lastHeardAt = _now; // nobody owes anything
        }

        if (Stopwatch.GetElapsedTime(_lastHeardAt, _now) >= Plan.GiveUp)
        {
            IsGivenUp = true;
            ShowError($"nothing heard for {Plan.GiveUp.TotalSeconds:0} s: given up with {_live} connections open");
            return false;
        }

        return true;
    }

    private long NextDue(long due)
    {
        foreach (SmtpConnection connection in _waiting)
        {
            due = Math.Min(due, connection.ReopenAt);
        }

        return _idle.Count > 0 ? Math.Min(due, _schedule!.NextDueAt) : due;
    }

    private void Warn(bool isWanted, string text)
    {
        if (isWanted)
        {
            _progress.WriteLine($"fastmail-load: warning: {text}");
        }
    }
}
