namespace FastMail.Storage;

/// <summary>
/// A place between two groups of the log, behind everything that was durable then, with what it takes to go on from
/// there. A value; the default stands for the beginning of a new log.
/// </summary>
internal readonly record struct LogPoint
{
    /// <summary>Everything below is durable; the next record begins here, or the SEAL that ends the segment.</summary>
    public ulong Lsn { get; init; }

    /// <summary>Number of the last record below.</summary>
    public ulong Seq { get; init; }

    /// <summary>Number of the last group below.</summary>
    public ulong GroupNo { get; init; }

    /// <summary>Address of the GROUP record of that group: from there to <see cref="Lsn"/> all is one group.</summary>
    public ulong GroupLsn { get; init; }

    /// <summary>Number of that GROUP record.</summary>
    public ulong GroupSeq { get; init; }

    /// <summary>The clock of the log never goes back behind this.</summary>
    public long TimestampMicros { get; init; }

    /// <summary>The records of the segment up to here, as its SEAL will count them.</summary>
    public SealMeta Seal { get; init; }
}
