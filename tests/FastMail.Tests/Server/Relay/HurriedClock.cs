namespace FastMail.Tests.Server.Relay;

/// <summary>
/// The system's clock, but that time passes at once when a test is in a hurry: deadlines, attempts and what is remembered
/// are due then. The wall clock goes on as it does. Any thread.
/// </summary>
internal sealed class HurriedClock : TimeProvider
{
    private long _ahead;

    public void Hurry(TimeSpan by) => Interlocked.Add(ref _ahead, (long)(by.TotalSeconds * TimestampFrequency));

    public override long GetTimestamp() => base.GetTimestamp() + Interlocked.Read(ref _ahead);
}
