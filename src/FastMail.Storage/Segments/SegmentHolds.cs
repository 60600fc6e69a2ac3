namespace FastMail.Storage;

/// <summary>
/// Counts those who need every present segment file to stay as it is: a backup, a verification by another process.
/// Owned by the <see cref="LogParts"/>; any thread. Whoever removes, empties or punches a segment file does so under
/// <see cref="Gate"/> and only while <see cref="IsHeld"/> is false.
/// </summary>
internal sealed class SegmentHolds
{
    private int _count;

    /// <summary>Taken for each hold and each removal: microseconds for a hold, one unlink for a removal.</summary>
    public Lock Gate { get; } = new();

    /// <summary>Somebody needs the files. Meaningful under <see cref="Gate"/>.</summary>
    public bool IsHeld => Volatile.Read(ref _count) > 0;

    /// <summary>The caller holds <see cref="Gate"/>.</summary>
    public void Add()
    {
        Volatile.Write(ref _count, _count + 1);
    }

    public void Remove()
    {
        lock (Gate)
        {
            Volatile.Write(ref _count, _count - 1);
        }
    }
}

/// <summary>
/// The log as it was at one moment, with the promise that its segment files stay as they are until this is disposed.
/// Owned by whoever asked for it; any thread.
/// </summary>
public sealed class LogHold : IDisposable
{
    private readonly SegmentHolds _holds;
    private int _isDisposed;

    private LogHold(SegmentHolds holds, LogExtent extent)
    {
        _holds = holds;
        Extent = extent;
    }

    /// <summary>What was there and durable.</summary>
    public LogExtent Extent { get; }

    /// <summary>Lets the files go. A second time does nothing.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref _isDisposed, 1) == 0)
        {
            _holds.Remove();
        }
    }

    internal static LogHold Take(SegmentHolds holds, SegmentList segments, GroupWriter writer)
    {
        lock (holds.Gate)
        {
            holds.Add();
            // The position first: a segment begun after it is simply left out.
            ulong durableLsn = writer.Statistics.DurableLsn;
            List<string> names = [];
            foreach (Segment segment in segments.All)
            {
                if (segment.BaseLsn < durableLsn || segment.Header.Generation != 0)
                {
                    names.Add(Path.GetFileName(segment.Path));
                }
            }

            return new LogHold(holds, new LogExtent(durableLsn, names));
        }
    }
}

/// <summary>How far a log reaches: what another process must know to read it while it grows. Immutable.</summary>
/// <param name="EndLsn">Everything below is durable, everything above is none of the reader's business.</param>
/// <param name="Names">The segment files, without their directory.</param>
public sealed record LogExtent(ulong EndLsn, IReadOnlyList<string> Names);
