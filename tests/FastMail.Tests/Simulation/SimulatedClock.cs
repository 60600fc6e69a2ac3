namespace FastMail.Tests.Simulation;

/// <summary>A clock that moves when it is told to, backwards too. Any thread.</summary>
internal sealed class SimulatedClock : TimeProvider
{
    private long _ticks = new DateTimeOffset(2025, 6, 7, 8, 9, 10, TimeSpan.Zero).UtcTicks;

    public override DateTimeOffset GetUtcNow()
    {
        return new DateTimeOffset(Interlocked.Read(ref _ticks), TimeSpan.Zero);
    }

    public void Move(TimeSpan by)
    {
        _ = Interlocked.Add(ref _ticks, by.Ticks);
    }
}
