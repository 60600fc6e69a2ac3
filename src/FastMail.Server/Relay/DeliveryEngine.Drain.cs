using FastMail.Net;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Relay;

/// <content>The end: what is under way is brought to its end, and nothing new is begun.</content>
internal sealed partial class DeliveryEngine
{
    private readonly TaskCompletionSource _drained = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>
    /// Begins no attempt any more. Completes when none is under way and its outcome is durable, or after that time. What
    /// is cut off then is tried again at the next start. Any thread.
    /// </summary>
    public async Task DrainAsync(TimeSpan most)
    {
        Loop.Post(new Step(BeginDrain));
        if (await Task.WhenAny(_drained.Task, Task.Delay(most)) != _drained.Task)
        {
            _parts.Logger.LogWarning("queue: deliveries are still under way after {Time}; they are made again at the next start", most);
            Loop.Post(new Step(AbortAll));
            await Task.WhenAny(_drained.Task, Task.Delay(most)); // what has come to an end is still to be written down
        }
    }

    private void BeginDrain()
    {
        IsStopping = true;
        Loop.Disarm(_timer);
        foreach (NextHopConnection connection in _resting.SelectMany(static destination => destination.Resting).ToArray())
        {
            Rouse(connection);
            connection.Quit();
        }

        EndDrainWhenQuiet();
    }

    private void AbortAll()
    {
        foreach (NextHopConnection connection in _active.ToArray())
        {
            connection.Abort();
        }

        EndDrainWhenQuiet();
    }

    private void EndDrainWhenQuiet()
    {
        if (IsStopping && _underWay == 0 && _notices == 0 && _outcomes.IsIdle)
        {
            _drained.TrySetResult();
        }
    }

    private sealed class Step(Action action) : ILoopWork
    {
        public void Run() => action();
    }
}
