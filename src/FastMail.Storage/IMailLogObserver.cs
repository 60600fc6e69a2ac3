namespace FastMail.Storage;

/// <summary>
/// Who learns what becomes of appended records. Called on the appender's thread unless said otherwise: every
/// microsecond here delays the next group, and an exception ends the process.
/// </summary>
public interface IMailLogObserver
{
    /// <summary>
    /// A group is over: a chain through <see cref="PendingAppend.Next"/>, each element with its outcome. Read Next
    /// before handing an element on; from here on it is not the log's.
    /// </summary>
    void GroupCompleted(PendingAppend first);

    /// <summary>
    /// A write or flush failed. Nothing will ever be acknowledged again by this instance; what waits completes with
    /// <see cref="AppendOutcome.Failed"/> right after. The way out is a restart, whose recovery writes anew what is
    /// unproven.
    /// </summary>
    void Failed(int errno, string what);

    /// <summary>Whether the disk has room for another segment. Called on the thread that prepares segments.</summary>
    void SpaceChanged(bool isLow);

    /// <summary>
    /// Something an operator may want to read. Called by the opening thread, the one that prepares segments, the one
    /// that writes checkpoints, the scrubber or the one that asks for a maildrop.
    /// </summary>
    void Noticed(string what);
}

/// <summary>Counters since the log was opened; a consistent picture is not promised. A value.</summary>
public readonly record struct LogStatistics
{
    /// <summary>Everything below is durable.</summary>
    public ulong DurableLsn { get; init; }

    /// <summary>Groups written, bare ones included: the number of flushes.</summary>
    public long Groups { get; init; }

    /// <summary>Records written, GROUP and SEAL not counted.</summary>
    public long Records { get; init; }

    /// <summary>Bytes written.</summary>
    public long Bytes { get; init; }

    /// <summary>Segments of the log.</summary>
    public int Segments { get; init; }

    /// <summary>Mailboxes that ever had a message.</summary>
    public int Maildrops { get; init; }
}
