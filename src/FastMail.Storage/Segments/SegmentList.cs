namespace FastMail.Storage;

/// <summary>
/// The segments of the log in LSN order, the hot ones (which the appender wrote) before the cold ones (which the
/// compaction wrote, at addresses from <see cref="ColdLsn"/>). Owned by the <see cref="MailLog"/>; the appender adds
/// hot ones, the reclaimer adds cold ones and retires both, any thread looks up.
/// </summary>
internal sealed class SegmentList
{
    /// <summary>Addresses of cold segments begin here: no hot log ever grows as far.</summary>
    public const ulong ColdLsn = 1UL << 62;

    private readonly Lock _gate = new(); // between the two that replace the array
    private Segment[] _segments = [];

    /// <summary>All, hot ones first.</summary>
    public ReadOnlySpan<Segment> All => Volatile.Read(ref _segments);

    /// <summary>Those of the log proper: adjacent, the last is written to.</summary>
    public ReadOnlySpan<Segment> Hot => Split(Volatile.Read(ref _segments), out _);

    /// <summary>Those that compaction made.</summary>
    public ReadOnlySpan<Segment> Cold
    {
        get
        {
            _ = Split(Volatile.Read(ref _segments), out ReadOnlySpan<Segment> cold);
            return cold;
        }
    }

    /// <summary>The present list, to see later whether it has changed.</summary>
    public object Version => Volatile.Read(ref _segments);

    public void Add(Segment segment)
    {
        lock (_gate)
        {
            int at = _segments.Length;
            while (at > 0 && _segments[at - 1].BaseLsn > segment.BaseLsn)
            {
                at--;
            }

            Volatile.Write(ref _segments, [.. _segments[..at], segment, .. _segments[at..]]);
        }
    }

    /// <summary>
    /// Takes a segment out; its map lives on while a <see cref="ReadLease"/> holds it. True when nobody does: then
    /// nobody will ever read it again.
    /// </summary>
    public bool Retire(Segment segment)
    {
        lock (_gate)
        {
            Volatile.Write(ref _segments, [.. _segments.Where(s => s != segment)]);
        }

        return segment.Release();
    }

    /// <summary>The segment whose addresses include <paramref name="lsn"/>; null when there is none.</summary>
    public Segment? Find(ulong lsn)
    {
        return Find(Volatile.Read(ref _segments), lsn);
    }

    /// <summary>The same in any ascending part of the list.</summary>
    public static Segment? Find(ReadOnlySpan<Segment> segments, ulong lsn)
    {
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

    /// <summary>Lets all go; the log is being closed.</summary>
    public void Dispose()
    {
        foreach (Segment segment in Interlocked.Exchange(ref _segments, []))
        {
            segment.Dispose();
        }
    }

    private static ReadOnlySpan<Segment> Split(Segment[] segments, out ReadOnlySpan<Segment> cold)
    {
        int hot = segments.Length;
        while (hot > 0 && segments[hot - 1].IsCold)
        {
            hot--;
        }

        cold = segments.AsSpan(hot);
        return segments.AsSpan(0, hot);
    }
}
