namespace FastMail.Server.Retention;

/// <summary>
/// Notices that the wall clock was set forward, against the monotonic one, and over a restart against what was last
/// trusted: what goes by age must not cost anybody's mail before somebody has noticed a wrong clock. Owned and entered by the thread of the <see cref="Expunger"/>.
/// </summary>
internal sealed class ClockDoubt
{
    public static readonly TimeSpan Jump = TimeSpan.FromHours(1);
    public static readonly TimeSpan Length = TimeSpan.FromDays(1);

    private readonly TimeProvider _clock;
    private readonly long _start;
    private DateTimeOffset _wall;
    private TimeSpan _until;

    /// <param name="clock">Both clocks.</param>
    /// <param name="trusted">The last time without doubt, of a process before; null when there is none.</param>
    public ClockDoubt(TimeProvider clock, DateTimeOffset? trusted)
    {
        _clock = clock;
        _wall = clock.GetUtcNow();
        _until = trusted is null || _wall - trusted > Length ? Length : TimeSpan.Zero;
        _start = clock.GetTimestamp();
    }

    /// <summary>The clock was set forward within the last day.</summary>
    /// <param name="isNew">It was since the last call.</param>
    public bool IsInDoubt(out bool isNew)
    {
        TimeSpan elapsed = _clock.GetElapsedTime(_start);
        DateTimeOffset now = _clock.GetUtcNow();
        isNew = now - _wall - elapsed > Jump;
        if (isNew)
        {
            _until = elapsed + Length;
            _wall = now - elapsed;
        }

        return elapsed < _until;
    }
}
