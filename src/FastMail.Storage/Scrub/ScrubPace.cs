namespace FastMail.Storage;

/// <summary>
/// Keeps the scrubber out of the way of mail: some bytes a second at most, fewer while the log is busy, none while a
/// flush is slow. Owned by its <see cref="ScrubWindow"/>; used by one thread at a time.
/// </summary>
/// <param name="bytesPerSecond">At most; 0 for no limit.</param>
/// <param name="appender">Whose load counts.</param>
internal sealed class ScrubPace(long bytesPerSecond, Appender appender)
{
    // A group takes less than 10 ms on any disk that keeps up.
    private static readonly TimeSpan SlowGroup = TimeSpan.FromMilliseconds(100);

    // So that a log that is never idle is looked through all the same: 256 KiB a second are 22 GB a day.
    private static readonly TimeSpan LongestYield = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(20);

    private const long BusyBytes = 1 << 20; // that much waits for the disk

    private long _due = TimeProvider.System.GetTimestamp();

    /// <summary>So many bytes were read: waits until the next may be.</summary>
    /// <exception cref="OperationCanceledException">The log is being closed.</exception>
    public void Spend(long bytes, CancellationToken cancellation)
    {
        cancellation.ThrowIfCancellationRequested();
        TimeProvider clock = TimeProvider.System;
        if (bytesPerSecond > 0)
        {
            // Time that was lost is not made up for: that would be a burst.
            double seconds = (double)bytes / bytesPerSecond;
            _due = Math.Max(_due, clock.GetTimestamp()) + (long)(seconds * clock.TimestampFrequency);
            Wait(clock.GetElapsedTime(clock.GetTimestamp(), _due), cancellation);
        }

        long began = clock.GetTimestamp();
        while (appender.GroupAge > SlowGroup
            || (appender.PendingBytes > BusyBytes && clock.GetElapsedTime(began) < LongestYield))
        {
            Wait(Look, cancellation);
        }
    }

    private static void Wait(TimeSpan time, CancellationToken cancellation)
    {
        if (time > TimeSpan.Zero && cancellation.WaitHandle.WaitOne(time))
        {
            cancellation.ThrowIfCancellationRequested();
        }
    }
}
