namespace FastMail.Storage;

/// <summary>What a compaction asked for by an operator does. Immutable.</summary>
public sealed record CompactOptions
{
    /// <summary>Segments are copied when more than this part of them is dead, 0 to 1.</summary>
    public double DeadRatio { get; init; } = 0.5;

    /// <summary>Ends the segment that is being written first, so that it can be reclaimed too.</summary>
    public bool IncludesCurrent { get; init; }

    /// <summary>Octets a second that are copied at most; 0 for no limit.</summary>
    public long BytesPerSecond { get; init; }
}

/// <summary>What a compaction has done so far. A value.</summary>
/// <param name="Messages">Messages that were copied.</param>
/// <param name="CopiedBytes">Octets of their records.</param>
/// <param name="Segments">Segment files that were removed.</param>
/// <param name="FreedBytes">Their length, octets.</param>
public readonly record struct CompactProgress(long Messages, long CopiedBytes, int Segments, long FreedBytes)
{
    /// <summary>A backup or a reader of the log needs the files: none is removed before it has ended.</summary>
    public bool IsHeld { get; init; }
}

/// <summary>What a segment holds. A value.</summary>
/// <param name="Path">Its file.</param>
/// <param name="IsCold">It was made by compaction.</param>
/// <param name="BaseLsn">Its address.</param>
/// <param name="Bytes">Length of the file, octets.</param>
/// <param name="LiveMessages">Messages in it that somebody still needs.</param>
/// <param name="LiveBytes">Octets of their records.</param>
public readonly record struct SegmentStatistics(
    string Path, bool IsCold, ulong BaseLsn, long Bytes, long LiveMessages, long LiveBytes)
{
    /// <summary>What the file could be shorter.</summary>
    public long DeadBytes => Bytes - LiveBytes;
}
