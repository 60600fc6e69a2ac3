namespace FastMail.Tests.Server.Defence;

/// <summary>
/// A clock moved by hand: <see cref="Advance"/> is time passing, <see cref="Jump"/> is somebody setting the wall clock.
/// Makes no timers. Any thread.
/// </summary>
internal sealed class HandClock : TimeProvider
{
    private long _elapsed;
    private long _wall = new DateTimeOffset(2025, 6, 7, 8, 9, 10, TimeSpan.Zero).UtcTicks;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Interlocked.Read(ref _elapsed);

    public override DateTimeOffset GetUtcNow() => new(Interlocked.Read(ref _wall), TimeSpan.Zero);

    public void Advance(TimeSpan by)
    {
        Interlocked.Add(ref _elapsed, by.Ticks);
        Interlocked.Add(ref _wall, by.Ticks);
    }

    public void Jump(TimeSpan by) => Interlocked.Add(ref _wall, by.Ticks);
}
