namespace FastMail.Storage;

/// <summary>Sizes of a mail log. Immutable; checked by <see cref="MailLog.Open"/>.</summary>
public sealed record MailLogOptions
{
    /// <summary>Smallest segment: a record of half of it, the reserve and the overhead must fit.</summary>
    public const long MinSegmentBytes = 256 * 1024;

    /// <summary>Largest segment: one span must be able to name all of it.</summary>
    public const long MaxSegmentBytes = 1L << 30;

    /// <summary>Most files kept ready.</summary>
    public const int MaxSpares = 16;

    /// <summary>Length of a segment file, a multiple of 4096. Smaller at first, see below.</summary>
    public long SegmentBytes { get; init; } = 256L * 1024 * 1024;

    /// <summary>
    /// Length of the first segment: a new store waits for this many zeros; each next is four times larger.
    /// </summary>
    public long FirstSegmentBytes { get; init; } = 16L * 1024 * 1024;

    /// <summary>
    /// Files kept ready to become segments of the full length, 1 to <see cref="MaxSpares"/>: mail that comes in a burst
    /// of this many segments is written to a disk that has nothing else to do. More than one is kept only once the log
    /// has grown to that length, and while they take a small part of what is free.
    /// </summary>
    public int Spares { get; init; } = 2;

    /// <summary>
    /// Whether a segment in which nothing is live becomes a spare instead of being removed, as long as one is wanted.
    /// Of no use on a file system that never writes to the same place twice.
    /// </summary>
    public bool ReusesSegments { get; init; } = true;

    /// <summary>
    /// Length of the file kept for a full disk, a multiple of 4096: when the current segment is full and the disk has no
    /// room for another, removals go on in it, as do the log's own records, and lead to space again. The default takes
    /// the removal of every other one of a million messages.
    /// </summary>
    public long ReserveBytes { get; init; } = 8L * 1024 * 1024;

    /// <summary>
    /// Octets that stay free on the disk: no segment is begun that would leave less, and below it space counts as low,
    /// until a third more is free: a server must not swing. 0: only a full disk does.
    /// </summary>
    public long MinFreeBytes { get; init; }

    /// <summary>A group takes no further record beyond this; a single larger record is a group of its own.</summary>
    public int GroupBytes { get; init; } = 8 * 1024 * 1024;

    /// <summary>
    /// A message longer than this has its body in a file of its own, whatever its length in memory that does not grow
    /// with it; half of the first segment if that is less.
    /// </summary>
    public long LargestRecordBytes { get; init; } = 4L * 1024 * 1024;

    /// <summary>
    /// Bodies written to files of their own at one time, each with up to 1.5 MiB in memory; one more is refused.
    /// </summary>
    public int MaxBodiesInFlight { get; init; } = 32;

    /// <summary>Bodies read from files of their own at one time, each with 512 KiB in memory; see <see cref="BodyUse"/>.</summary>
    public int MaxBodyReadings { get; init; } = 64;

    /// <summary>Memory kept in the pool for the content of messages beyond their first 4 KiB.</summary>
    public long PooledContentBytes { get; init; } = 64L * 1024 * 1024;

    /// <summary>Idle <see cref="PendingMessage"/> objects kept, each with 4 KiB.</summary>
    public int PooledMessages { get; init; } = 4096;

    /// <summary>
    /// Whether checkpoints of the index are written. One that is there is used in any case.
    /// </summary>
    public bool TakesCheckpoints { get; init; } = true;

    /// <summary>A checkpoint is written when the log has grown by this: a start reads no more than that.</summary>
    public long CheckpointBytes { get; init; } = 512L * 1024 * 1024;

    /// <summary>And this long after the last one when a maildrop has changed; infinite for never.</summary>
    public TimeSpan CheckpointInterval { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Whether space is reclaimed by itself, on a thread of the log's own; else by <see cref="MailLog.CompactAsync"/>
    /// alone.
    /// </summary>
    public bool ReclaimsByItself { get; init; } = true;

    /// <summary>Octets a second that the compaction copies at most; 0 for no limit.</summary>
    public long CompactBytesPerSecond { get; init; } = 50L * 1024 * 1024;

    /// <summary>Segments are copied together when more than this part of them is dead, 0 to 1.</summary>
    public double CompactDeadRatio { get; init; } = 0.5;

    /// <summary>How long a segment rests before its live messages are copied: most mail is fetched before.</summary>
    public TimeSpan CompactAfter { get; init; } = TimeSpan.FromHours(1);

    /// <summary>
    /// Octets a second that the scrubber reads at most, on a thread of its own; 0: it does not run.
    /// </summary>
    public long ScrubBytesPerSecond { get; init; }

    /// <summary>From the beginning of one look at everything to the next, if it does not take longer.</summary>
    public TimeSpan ScrubInterval { get; init; } = TimeSpan.FromHours(12);

    /// <summary>A record of that length fits into every segment that is made.</summary>
    internal long InlineBytes => Math.Min(LargestRecordBytes, FirstSegmentBytes / 2);

    /// <summary>An earlier run may have had smaller segments: never less than the first would be now.</summary>
    internal long SpareBytesAfter(long currentBytes)
    {
        return Math.Min(SegmentBytes, Math.Max(currentBytes * 4, FirstSegmentBytes));
    }

    internal void Validate()
    {
        Check(SegmentBytes, nameof(SegmentBytes));
        Check(FirstSegmentBytes, nameof(FirstSegmentBytes));
        Check(ReserveBytes, nameof(ReserveBytes));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(FirstSegmentBytes, SegmentBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(MinFreeBytes);
        ArgumentOutOfRangeException.ThrowIfLessThan(Spares, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Spares, MaxSpares);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(GroupBytes);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(LargestRecordBytes);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(MaxBodiesInFlight);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(MaxBodyReadings);
        ArgumentOutOfRangeException.ThrowIfNegative(PooledContentBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(PooledMessages);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(CheckpointBytes);
        ArgumentOutOfRangeException.ThrowIfNegative(ScrubBytesPerSecond);
        ArgumentOutOfRangeException.ThrowIfLessThanOrEqual(ScrubInterval, TimeSpan.Zero);
        if (CheckpointInterval <= TimeSpan.Zero && CheckpointInterval != Timeout.InfiniteTimeSpan)
        {
            throw new ArgumentOutOfRangeException(nameof(CheckpointInterval), CheckpointInterval, "must be positive");
        }

        ArgumentOutOfRangeException.ThrowIfNegative(CompactBytesPerSecond);
        ArgumentOutOfRangeException.ThrowIfNegative(CompactDeadRatio);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(CompactDeadRatio, 1);

        static void Check(long bytes, string name)
        {
            if (bytes is < MinSegmentBytes or > MaxSegmentBytes || bytes % SegmentHeader.Bytes != 0)
            {
                throw new ArgumentOutOfRangeException(
                    name, bytes, $"must be a multiple of 4096 from {MinSegmentBytes} to {MaxSegmentBytes}");
            }
        }
    }
}
