namespace FastMail.Net;

/// <content>Stopping: what is under way ends, everybody else is told, and what outlives the drain is cut.</content>
public sealed partial class EventLoop
{
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _isDisposed;

    internal bool IsStopping { get; private set; }

    /// <summary>
    /// Listeners close. A connection whose handler waits goes on until that wait is over and answered; one with a send
    /// in flight until that is sent; then, and all others at once, they hear the handler's last words and are closed.
    /// After <paramref name="drain"/> the rest is aborted. Any thread; a second call may shorten the drain.
    /// </summary>
    /// <returns>Completes when no connection is left.</returns>
    public Task StopAsync(TimeSpan drain)
    {
        Post(new Call(() => Stop(drain)));
        return _stopped.Task;
    }

    /// <summary>Aborts what is left and ends the loop's thread. Any thread but that one, and not while it is held up.</summary>
    public void Dispose()
    {
        if (IsLoopThread)
        {
            throw new InvalidOperationException("The loop cannot wait for its own end.");
        }

        if (Interlocked.Exchange(ref _isDisposed, 1) != 0)
        {
            return;
        }

        StopAsync(TimeSpan.Zero).GetAwaiter().GetResult();
        Post(new Call(() => _isThreadEnding = true));
        _ended.Task.GetAwaiter().GetResult();
        _ownThread?.Join();
        _ticker.Dispose();
        _wake?.Dispose();
    }

    internal void FinishStopWhenEmpty()
    {
        if (IsStopping && _live.Count == 0 && _listeners.TrueForAll(static listener => listener.IsOver))
        {
            _stopped.TrySetResult();
        }
    }

    private void Stop(TimeSpan drain)
    {
        IsStopping = true;
        foreach (Listener listener in _listeners)
        {
            listener.Close();
        }

        // A copy: connections that end change the list, and a handler's Closed may end others.
        foreach (Connection connection in _live.ToArray())
        {
            connection.Stop();
        }

        if (drain > TimeSpan.Zero)
        {
            Arm(new LoopTimer(new Call(AbortAll)), drain);
        }
        else if (drain != Timeout.InfiniteTimeSpan) // which is negative
        {
            AbortAll();
        }

        FinishStopWhenEmpty();
    }

    private void AbortAll()
    {
        foreach (Connection connection in _live.ToArray())
        {
            connection.Abort();
        }
    }
}
