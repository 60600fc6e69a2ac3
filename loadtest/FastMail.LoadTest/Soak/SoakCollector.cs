using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using FastMail.LoadTest.Pop3;

namespace FastMail.LoadTest.Soak;

/// <summary>
/// Deals the maildrops of a soak: each connection goes round its share of the users while mail is sent, then opens each
/// once more until that ends well. Entered by the loop's thread; <see cref="EndRounds"/>, <see cref="Faults"/> by any.
/// </summary>
internal sealed class SoakCollector : IPop3Dealer, IDisposable
{
    private static readonly TimeSpan BetweenRounds = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan BetweenAttempts = TimeSpan.FromMilliseconds(500);

    private readonly Pop3Plan _plan;
    private readonly TimeSpan _settle;
    private readonly Pop3Loop _loop;
    private readonly Share[] _shares;
    private readonly List<string> _uncollected = [];
    private long _faults;
    private long _wellAt; // of the last round's last session that ended well, or its begin; stopwatch ticks
    private volatile bool _isPaused;
    private volatile bool _isLast;
    private volatile bool _isAbandoned;

    /// <param name="plan">Whose maildrops are collected and emptied, and by how many at a time.</param>
    /// <param name="collection">Takes the messages.</param>
    /// <param name="settle">How long to go on, at the end, without any maildrop that could be collected.</param>
    internal SoakCollector(Pop3Plan plan, Collection collection, TimeSpan settle)
    {
        _plan = plan;
        _settle = settle;
        _shares = [.. Enumerable.Range(0, plan.Parallel).Select(connection => new Share { Next = connection })];
        _loop = new Pop3Loop(plan, this, collection);
    }

    /// <summary>Sessions that did not end well.</summary>
    internal long Faults => Volatile.Read(ref _faults);

    /// <summary>Listings that contradict themselves or what was retrieved; complete when <see cref="Run"/> is over.</summary>
    internal long WrongListings => _loop.Tally.ListingFaults;

    /// <summary>Maildrops that could not be emptied; complete when <see cref="Run"/> is over.</summary>
    internal IReadOnlyList<string> Uncollected => _uncollected;

    /// <summary>Until the last round is over.</summary>
    internal void Run() => _loop.Run();

    /// <summary>No session is begun before <see cref="EndRounds"/>.</summary>
    internal void PauseRounds() => _isPaused = true;

    /// <summary>All is sent: now the last round.</summary>
    internal void EndRounds() => _isLast = true;

    /// <summary>No session is begun any more, and the last round is over without those that are left.</summary>
    internal void Abandon()
    {
        _isAbandoned = true;
        _isLast = true;
    }

    public void Dispose() => _loop.Dispose();

    public bool TryDeal(int connection, [NotNullWhen(true)] out string? user, out TimeSpan? lookAgain)
    {
        Share share = _shares[connection];
        user = null;
        lookAgain = null;
        if (_isLast && !share.IsLast)
        {
            share.IsLast = true;
            share.Next = connection;
            _wellAt = _wellAt == 0 ? Stopwatch.GetTimestamp() : _wellAt;
        }

        if (_isAbandoned)
        {
            for (; share.Next < _plan.Users.Count; share.Next += _plan.Parallel)
            {
                _uncollected.Add(_plan.Users[share.Next]);
            }

            return false;
        }

        bool isRoundOver = share.Next >= _plan.Users.Count;
        if (share.IsLast ? isRoundOver : isRoundOver || _isPaused)
        {
            lookAgain = share.IsLast ? null : BetweenRounds; // an empty maildrop is not asked again at once
            share.Next = isRoundOver && !share.IsLast ? connection : share.Next;
            return false;
        }

        if (share.HasFailed)
        {
            share.HasFailed = false;
            lookAgain = BetweenAttempts;
            return false;
        }

        user = _plan.Users[share.Next];
        return true;
    }

    public void Ended(int connection, bool isWell)
    {
        Share share = _shares[connection];
        bool isGivenUp = !isWell && share.IsLast && Stopwatch.GetElapsedTime(_wellAt) > _settle;
        if (isWell)
        {
            _wellAt = share.IsLast ? Stopwatch.GetTimestamp() : 0;
        }
        else
        {
            _ = Interlocked.Increment(ref _faults);
        }

        if (share.IsLast && !isWell && !isGivenUp)
        {
            share.HasFailed = true;
            return;
        }

        if (isGivenUp)
        {
            _uncollected.Add(_plan.Users[share.Next]);
        }

        share.Next += _plan.Parallel;
    }

    public void Tick()
    {
        // The source shows the progress.
    }

    public void Wrong(string text)
    {
        // Servers are killed here: sessions that fail are counted, and what is lost the audit tells.
    }

    /// <summary>How far a connection is with its users.</summary>
    private sealed class Share
    {
        internal int Next { get; set; }

        internal bool IsLast { get; set; }

        internal bool HasFailed { get; set; }
    }
}
