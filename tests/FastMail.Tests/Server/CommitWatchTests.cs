using FastMail.Net;
using FastMail.Server;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server;

public sealed class CommitWatchTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(60);

    private readonly SteppedClock _clock = new();
    private readonly List<TimeSpan> _armed = [];
    private readonly List<int> _told = [];
    private readonly CommitWatch _watch;

    public CommitWatchTests()
    {
        _watch = new CommitWatch(_clock, Deadline, (_, due) => _armed.Add(due));
    }

    [Fact]
    public void Those_beyond_the_deadline_are_told_once_and_the_timer_goes_on_for_the_next()
    {
        WatchedCommit first = Commit(1);
        _watch.Add(first);
        _clock.Elapsed += TimeSpan.FromSeconds(10);
        _watch.Add(Commit(2));
        _watch.Add(Commit(3));
        _clock.Elapsed += TimeSpan.FromSeconds(50);
        _watch.Run();
        Assert.Equal([1], _told);
        Assert.Equal([Deadline, TimeSpan.FromSeconds(10)], _armed);
        _watch.Remove(first); // told already
        _clock.Elapsed += TimeSpan.FromSeconds(10);
        _watch.Run();
        Assert.Equal([1, 2, 3], _told);
        Assert.Equal(2, _armed.Count);
    }

    [Fact]
    public void Who_has_ended_is_not_told_wherever_it_stands_in_the_line()
    {
        WatchedCommit[] commits = [Commit(0), Commit(1), Commit(2), Commit(3), Commit(4)];
        foreach (WatchedCommit commit in commits)
        {
            _watch.Add(commit);
        }

        _watch.Remove(commits[0]);
        _watch.Remove(commits[2]);
        _watch.Remove(commits[4]);
        _watch.Add(commits[2]); // begins another
        _clock.Elapsed += Deadline;
        _watch.Run();
        Assert.Equal([1, 3, 2], _told);
    }

    [Fact]
    public void An_idle_watch_lets_its_timer_rest_and_a_busy_one_arms_it_once()
    {
        WatchedCommit commit = Commit(1);
        for (int i = 0; i < 1000; i++)
        {
            _watch.Add(commit);
            _watch.Remove(commit);
        }

        Assert.Equal([Deadline], _armed);
        _clock.Elapsed += Deadline;
        _watch.Run();
        Assert.Empty(_told);
        Assert.Equal([Deadline], _armed);
        _watch.Add(commit);
        Assert.Equal([Deadline, Deadline], _armed);
    }

    private WatchedCommit Commit(int number)
    {
        return new WatchedCommit(() => _told.Add(number));
    }
}
