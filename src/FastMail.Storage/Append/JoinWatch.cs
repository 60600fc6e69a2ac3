using System.Diagnostics;

namespace FastMail.Storage;

/// <summary>
/// Says how long a group under construction is held open. Those who were just answered tend to come back together, and
/// those who waited meanwhile are there already: one group of both costs one flush. Without that, waiters fall into two
/// halves of which each waits for the flush of the other, and stay so. Times are timestamps of
/// <see cref="Stopwatch"/>. Owned by the appender.
/// </summary>
internal sealed class JoinWatch
{
    // Long enough for a thread that was woken to come back, far shorter than a flush.
    private static readonly long IdleTicks = Stopwatch.Frequency / 25_000; // 40 us without anybody new
    private static readonly long LongestTicks = Stopwatch.Frequency / 5_000; // 200 us in all, unless the last look found somebody

    private const int LeastUnwatched = 4; // groups after one that was held open in vain; twice as many each time
    private const int MostUnwatched = 64;

    private int _answered; // records in the last group
    private int _waiting; // for the next, when it was answered
    private int _unwatched; // groups left that are not held open
    private int _nextUnwatched = LeastUnwatched;
    private bool _isWatching; // the group under construction is held open
    private int _joined; // records in it, as far as was seen
    private long _idleEnd;
    private long _end;

    /// <summary>A group of so many records is answered now, and so many others wait already.</summary>
    public void Answered(int records, int waiting)
    {
        _answered = records;
        _waiting = waiting;
    }

    /// <summary>The next group begins with that many records; true when it is worth looking for others.</summary>
    public bool Begin(int records, long now)
    {
        _isWatching = _unwatched == 0;
        _unwatched = Math.Max(0, _unwatched - 1);
        _joined = records;
        _idleEnd = now + IdleTicks;
        _end = now + LongestTicks;
        return records < Expected;
    }

    /// <summary>
    /// After a look for others: true when it is worth another. A group that is not held open, or was for long enough, is
    /// left as soon as one look has found nobody.
    /// </summary>
    public bool Looked(int records, long now)
    {
        bool isComplete = records >= Expected;
        bool hasGrown = records > _joined;
        _joined = records;
        _idleEnd = hasGrown ? now + IdleTicks : _idleEnd;
        bool mayGoOn = !isComplete && (hasGrown || (_isWatching && now < Math.Min(_idleEnd, _end)));
        if (_isWatching && !mayGoOn)
        {
            _unwatched = isComplete ? 0 : _nextUnwatched;
            _nextUnwatched = isComplete ? LeastUnwatched : Math.Min(2 * _nextUnwatched, MostUnwatched);
        }

        return mayGoOn;
    }

    private int Expected => _answered + (_isWatching ? _waiting : 0);
}
