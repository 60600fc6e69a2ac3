using FastMail.Net;

namespace FastMail.Server;

/// <summary>
/// Tells those whose record has been in the log's hands for longer than the deadline. All have the same deadline, so
/// they stand in a line and one timer looks at its head: a commit costs two links. Owned by the server; loop thread
/// only.
/// </summary>
internal sealed class CommitWatch : ILoopWork
{
    private readonly TimeProvider _clock;
    private readonly Action<ILoopWork, TimeSpan> _arm;
    private WatchedCommit? _first;
    private WatchedCommit? _last;
    private bool _isArmed;

    /// <param name="clock">Monotonic time.</param>
    /// <param name="deadline">For every commit.</param>
    /// <param name="arm">Runs the work once after that long.</param>
    public CommitWatch(TimeProvider clock, TimeSpan deadline, Action<ILoopWork, TimeSpan> arm)
    {
        _clock = clock;
        Deadline = deadline;
        _arm = arm;
    }

    public TimeSpan Deadline { get; }

    /// <summary>A commit begins.</summary>
    public void Add(WatchedCommit commit)
    {
        commit.Since = _clock.GetTimestamp();
        commit.IsWatched = true;
        commit.Previous = _last;
        if (_last is null)
        {
            _first = commit;
        }
        else
        {
            _last.Next = commit;
        }

        _last = commit;
        if (!_isArmed)
        {
            _isArmed = true;
            _arm(this, Deadline);
        }
    }

    /// <summary>A commit has ended, or was told; a second time does nothing, nor does one that was never watched.</summary>
    public void Remove(WatchedCommit? commit)
    {
        if (commit is not { IsWatched: true })
        {
            return;
        }

        commit.IsWatched = false;
        if (commit.Previous is null)
        {
            _first = commit.Next;
        }
        else
        {
            commit.Previous.Next = commit.Next;
        }

        if (commit.Next is null)
        {
            _last = commit.Previous;
        }
        else
        {
            commit.Next.Previous = commit.Previous;
        }

        commit.Previous = null;
        commit.Next = null;
    }

    /// <summary>The timer: tells all that are due and arms itself for the next.</summary>
    public void Run()
    {
        _isArmed = false;
        while (_first is { } commit)
        {
            TimeSpan left = Deadline - _clock.GetElapsedTime(commit.Since);
            if (left > TimeSpan.Zero)
            {
                _isArmed = true;
                _arm(this, left);
                return;
            }

            Remove(commit);
            commit.Overdue();
        }
    }
}

/// <summary>One handler's place in the line; reused. Loop thread only.</summary>
internal sealed class WatchedCommit(Action overdue)
{
    public Action Overdue => overdue;

    public long Since { get; set; }

    public bool IsWatched { get; set; }

    public WatchedCommit? Next { get; set; }

    public WatchedCommit? Previous { get; set; }
}
