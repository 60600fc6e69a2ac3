namespace FastMail.Net;

/// <summary>
/// The least rate at which a peer sends or takes octets, as an average since it began, after a grace. Immutable value;
/// any thread.
/// </summary>
/// <param name="OctetsPerSecond">0 is no minimum.</param>
/// <param name="Grace">Time that is free.</param>
public readonly record struct MinimumRate(int OctetsPerSecond, TimeSpan Grace)
{
    public bool IsNone => OctetsPerSecond == 0;

    /// <summary>How long the peer may take for so many octets, the grace included.</summary>
    public TimeSpan TimeFor(long octets) =>
        IsNone ? TimeSpan.MaxValue : Grace + TimeSpan.FromSeconds((double)octets / OctetsPerSecond);
}
