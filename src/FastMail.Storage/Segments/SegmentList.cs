namespace FastMail.Storage;

/// <summary>
/// The segments of the log in LSN order. Owned by the <see cref="MailLog"/>; the appender adds (by replacing the
/// array), any thread looks up.
/// </summary>
internal sealed class SegmentList
{
    private Segment[] _segments = [];

    public ReadOnlySpan<Segment> All => Volatile.Read(ref _segments);

    public void Add(Segment segment)
    {
        Volatile.Write(ref _segments, [.. _segments, segment]);
    }

    /// <summary>The segment whose addresses include <paramref name="lsn"/>; null when there is none.</summary>
    public Segment? Find(ulong lsn)
    {
        Segment[] segments = Volatile.Read(ref _segments);
        int low = 0;
        int high = segments.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            Segment segment = segments[middle];
            if (lsn < segment.BaseLsn)
            {
                high = middle - 1;
            }
            else if (lsn >= segment.EndLsn)
            {
                low = middle + 1;
            }
            else
            {
                return segment;
            }
        }

        return null;
    }

    /// <summary>Closes all; the log is being closed and no reader is left.</summary>
    public void Dispose()
    {
        foreach (Segment segment in Interlocked.Exchange(ref _segments, []))
        {
            segment.Dispose();
        }
    }
}
