using System.Diagnostics;

namespace FastMail.LoadTest.Smtp;

/// <summary>
/// Open loop: when each message is to leave, in stopwatch ticks. One that is taken up late keeps its time. Owned by the
/// loop thread.
/// </summary>
internal sealed class Schedule
{
    private readonly double _ticksBetween;
    private readonly long _startedAt;
    private readonly long _endsAt;
    private readonly PriorityQueue<long, long> _givenBack = new(); // when they were due
    private long _next;

    /// <param name="perSecond">Messages a second.</param>
    /// <param name="startedAt">When the first is due.</param>
    /// <param name="measuredFrom">The end of the warm-up.</param>
    /// <param name="endsAt">Nothing is due from then on.</param>
    /// <param name="messages">How many are due behind the warm-up; null for as many as the time allows.</param>
    internal Schedule(double perSecond, long startedAt, long measuredFrom, long endsAt, long? messages)
    {
        _ticksBetween = Stopwatch.Frequency / perSecond;
        _startedAt = startedAt;
        _endsAt = endsAt;
        Messages = messages is { } wanted ? CountBefore(measuredFrom) + wanted : long.MaxValue;
    }

    /// <summary>At most this many, those of the warm-up included.</summary>
    internal long Messages { get; }

    /// <summary>Something is still to be taken up, now or later.</summary>
    internal bool IsAnyLeft => _givenBack.Count > 0 || (_next < Messages && DueAt(_next) < _endsAt);

    /// <summary>When the next is due, if any is left.</summary>
    internal long NextDueAt => _givenBack.TryPeek(out long dueAt, out _) ? dueAt : DueAt(_next);

    /// <summary>Takes the next up; returns when it was due.</summary>
    internal long Take() => _givenBack.TryDequeue(out long dueAt, out _) ? dueAt : DueAt(_next++);

    /// <summary>A message that was taken up did not leave: it stays due since then, and is the next to be taken up.</summary>
    internal void GiveBack(long dueAt) => _givenBack.Enqueue(dueAt, dueAt);

    /// <summary>Takes up, for nobody, all that were due by then; returns their number.</summary>
    internal long Drop(long until)
    {
        long dropped = 0;
        for (; IsAnyLeft && NextDueAt <= until; dropped++)
        {
            _ = Take();
        }

        return dropped;
    }

    private long DueAt(long message) => _startedAt + (long)(message * _ticksBetween);

    private long CountBefore(long time)
    {
        long count = Math.Max(0, (long)((time - _startedAt) / _ticksBetween) - 1);
        while (DueAt(count) < time)
        {
            count++;
        }

        return count;
    }
}
