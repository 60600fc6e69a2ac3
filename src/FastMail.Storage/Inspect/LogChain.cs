namespace FastMail.Storage;

/// <summary>
/// What one segment hands to the next during an inspection. Owned by one <see cref="LogInspector.Read"/>.
/// </summary>
internal sealed class LogChain(bool isSeqKnown)
{
    /// <summary>Highest unique-id so far, by mailbox.</summary>
    public Dictionary<ulong, ulong> LastUids { get; } = [];

    /// <summary>A cold segment stands for itself: nothing must precede it, and its numbers have gaps.</summary>
    public bool IsCold { get; private init; }

    /// <summary>Where the segment before began; null when it is not known, because it was dropped.</summary>
    public ulong? PreviousBaseLsn { get; set; } = 0;

    /// <summary>Where the next segment must begin.</summary>
    public ulong NextLsn { get; set; }

    /// <summary>Seq of the last record.</summary>
    public ulong Seq { get; set; }

    public bool IsSeqKnown { get; set; } = isSeqKnown;

    public static LogChain OfCold(string name)
    {
        _ = SegmentHeader.TryParseName(name, out _, out ulong baseLsn);
        return new LogChain(isSeqKnown: false) { IsCold = true, PreviousBaseLsn = null, NextLsn = baseLsn };
    }

    /// <summary>The log begins here, or goes on here behind files that were dropped.</summary>
    public void Restart(ulong baseLsn)
    {
        NextLsn = baseLsn;
        PreviousBaseLsn = null;
        IsSeqKnown = false;
    }
}
