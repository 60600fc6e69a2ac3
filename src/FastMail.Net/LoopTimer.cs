namespace FastMail.Net;

/// <summary>
/// Work for later, at most one due time at once. Made once and armed as often as needed: it is its own entry in the
/// wheel. Owned by whoever made it; armed, disarmed and run on the loop thread only.
/// </summary>
public class LoopTimer
{
    public LoopTimer(ILoopWork due)
    {
        Due = due;
    }

    /// <summary>One that is its own work: one object fewer where there are many.</summary>
    private protected LoopTimer()
    {
        Due = (ILoopWork)this;
    }

    public bool IsArmed => Slot >= 0;

    internal ILoopWork Due { get; }

    internal long DueTick { get; set; }

    internal int Slot { get; set; } = -1;

    internal LoopTimer? Next { get; set; }

    internal LoopTimer? Previous { get; set; }
}
