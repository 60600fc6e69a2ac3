using FastMail.Server.Relay.Routing;

namespace FastMail.Server.Relay.Scheduling;

/// <summary>
/// One place that mail goes to: what is ready for it, how many connections it may have, and whether it answers. Owned
/// by <see cref="DeliverySchedule"/>; loop thread only.
/// </summary>
internal sealed class Destination
{
    private readonly ScheduleOptions _options;
    private double _limit;
    private int _failures; // since the last success
    private double _tokens;
    private long _tokensAt;

    /// <summary>The newest decision that led here; the schedule does not look at it.</summary>
    public Route? Route { get; set; }

    public Destination(string key, ScheduleOptions options, long now)
    {
        Key = key;
        _options = options;
        _limit = Math.Min(options.StartConcurrency, options.MostConcurrency);
        _tokens = options.PerMinute;
        _tokensAt = now;
    }

    public string Key { get; }

    public ReadyQueue Ready { get; } = new();

    /// <summary>Connections that are open or being opened.</summary>
    public int Connections { get; set; }

    /// <summary>Of those, the ones that have nothing to do.</summary>
    public int Idle { get; set; }

    /// <summary>Of those, the ones that are not open yet.</summary>
    public int Opening { get; set; }

    /// <summary>Those themselves, the one that rests longest first; the schedule does not look at them.</summary>
    public List<NextHopConnection> Resting { get; } = [];

    public int ConnectionLimit => (int)_limit;

    /// <summary>Consignments that wait because it does not answer.</summary>
    public int Parked { get; set; }

    /// <summary>Of those, some may not be due before long.</summary>
    public bool IsParkedAsleep { get; set; }

    /// <summary>It does not answer; until <see cref="ClosedUntil"/> nothing is tried.</summary>
    public bool IsClosed { get; private set; }

    /// <summary>Microseconds of the schedule's clock.</summary>
    public long ClosedUntil { get; private set; }

    /// <summary>What it said last when it failed, for those that are deferred without an attempt of their own.</summary>
    public string LastFailure { get; set; } = "";

    /// <summary>Recipients that connections carry; the schedule does not look at them.</summary>
    public int UnderWay { get; set; }

    /// <summary>It stands in the schedule's line of those that want a connection.</summary>
    public bool IsInLine { get; set; }

    /// <summary>The schedule looks at it when its rate allows more, at <see cref="TokenAt"/>.</summary>
    public bool AwaitsToken { get; set; }

    /// <summary>Microseconds of the schedule's clock.</summary>
    public long TokenAt { get; set; }

    /// <summary>Nothing that is ready may go before that.</summary>
    public bool MustAwaitToken => AwaitsToken && Ready.PutBacks == 0;

    /// <summary>So many transactions in a minute and no more.</summary>
    public bool HasRate => _options.PerMinute > 0;

    /// <summary>When it was last used, microseconds; an idle one is forgotten.</summary>
    public long UsedAt { get; set; }

    /// <summary>Changes when the limit is lowered: connections of before do not lower it again.</summary>
    public int Epoch { get; private set; }

    public bool IsUnused => Ready.Consignments == 0 && Connections == 0 && Parked == 0 && !IsInLine && !IsClosed;

    /// <summary>One more connection would have something to do, as far as its rate allows it.</summary>
    public bool WantsConnection =>
        !IsClosed && Connections < ConnectionLimit && Ready.Consignments > Idle + Opening;

    /// <summary>It has taken or refused a message, as a host does that works.</summary>
    /// <param name="isForGood">Not only for now. A window of those adds one connection.</param>
    public void Works(bool isForGood)
    {
        _failures = 0;
        if (isForGood)
        {
            _limit = Math.Min(_options.MostConcurrency, _limit + (1 / _limit));
        }
    }

    /// <summary>It may be used. Whether it works is not known before it has taken a message.</summary>
    public void Answers() => IsClosed = false;

    /// <summary>Somebody says that it is there again: it need not be left alone any longer.</summary>
    public void EndRest(long now) => ClosedUntil = Math.Min(ClosedUntil, now);

    /// <summary>
    /// A connection could not be had, or ended in the midst of its work, or the host asked to be left alone (421). True
    /// when it has to be left alone from now on: nothing else says that it works.
    /// </summary>
    /// <param name="epoch">That of the connection.</param>
    /// <param name="isAnswering">Other connections to it are in use.</param>
    /// <param name="now">Microseconds.</param>
    /// <param name="jitter">0.5 to 1.</param>
    public bool Fails(int epoch, bool isAnswering, long now, double jitter)
    {
        if (epoch == Epoch)
        {
            Epoch++;
            _limit = Math.Max(1, _limit / 2);
        }

        _failures++;
        if (isAnswering && _failures < 3)
        {
            return false;
        }

        double wait = Math.Min(
            _options.ProbeMin.TotalSeconds * Math.Pow(2, Math.Min(_failures - 1, 30)), _options.ProbeMax.TotalSeconds);
        ClosedUntil = now + (long)(wait * jitter * 1e6);
        IsClosed = true;
        return true;
    }

    /// <summary>False when its rate is used up.</summary>
    public bool TryTakeToken(long now)
    {
        if (HasRate)
        {
            Refill(now);
            if (_tokens < 1)
            {
                return false;
            }

            _tokens--;
        }

        return true;
    }

    /// <summary>When its rate allows another one, microseconds; it has one.</summary>
    public long NextToken(long now)
    {
        Refill(now);
        return now + 1 + (long)(Math.Max(0, 1 - _tokens) / PerMicro);
    }

    /// <summary>Transactions that its rate allows now, and those that have been allowed and were put back; it has a rate.</summary>
    public int MayGo(long now)
    {
        Refill(now);
        return (int)_tokens + Ready.PutBacks;
    }

    private double PerMicro => _options.PerMinute / 60e6;

    private void Refill(long now)
    {
        double most = Math.Max(1, _options.PerMinute / 60.0); // a second's worth at once
        _tokens = Math.Min(most, _tokens + ((now - _tokensAt) * PerMicro));
        _tokensAt = now;
    }
}
