namespace FastMail.Storage;

/// <summary>
/// Brings what is looked at of a segment into memory, at least a window at a time, and finds out to the page what the
/// disk cannot read: whatever does not touch that page can still be looked at. A disk may take seconds to say that it
/// cannot read, so the page is remembered. Owned by whoever looks through the segment, one thread at a time.
/// </summary>
internal sealed class ReadableWindow(Segment segment)
{
    private const int WindowBytes = 1024 * 1024;

    private static readonly int PageBytes = Environment.SystemPageSize;

    // All from the start to the end is in memory. At the end begins the bad page, unless there is none.
    private long _start;
    private long _end;
    private long _badPage = -1;
    private int _errno;

    /// <summary>
    /// True when all of a range within the segment is in memory and may be touched; false when the disk cannot read it.
    /// </summary>
    public bool TryPopulate(long offset, long length)
    {
        long end = offset + length;
        if (offset >= _start && end <= _end)
        {
            return true;
        }

        if (_badPage >= 0 && offset < _badPage + PageBytes && end > _badPage)
        {
            return false;
        }

        long window = Math.Min(Math.Max(length, WindowBytes), segment.Length - offset);
        if (segment.Populate(offset, window) == 0)
        {
            Keep(offset, offset + window, badPage: -1);
            return true;
        }

        Approach(offset, offset + window);
        return end <= _end;
    }

    /// <summary>The same for what cannot be done without.</summary>
    /// <exception cref="IOException">The disk cannot read it; the message says where, and what can be done.</exception>
    public void Populate(long offset, long length)
    {
        if (!TryPopulate(offset, length))
        {
            throw Failure();
        }
    }

    /// <summary>Copies what can be read of a range within the segment; zeros stand for the rest.</summary>
    public void CopyTo(Span<byte> destination, long offset)
    {
        for (int done = 0; done < destination.Length;)
        {
            long pageEnd = ((offset + done) & -PageBytes) + PageBytes;
            Span<byte> part = destination[done..(int)Math.Min(pageEnd - offset, destination.Length)];
            if (TryPopulate(offset + done, part.Length))
            {
                segment.Span(offset + done, part.Length).CopyTo(part);
            }
            else
            {
                part.Clear();
            }

            done += part.Length;
        }
    }

    /// <summary>Brings one range into memory that cannot be done without.</summary>
    /// <exception cref="IOException">The disk cannot read it; the message says where, and what can be done.</exception>
    public static void Require(Segment segment, long offset, long length)
    {
        if (segment.Populate(offset, length) != 0)
        {
            new ReadableWindow(segment).Populate(offset, length);
        }
    }

    /// <summary>Where the last range that was asked for cannot be read, for the operator.</summary>
    public string Complaint()
    {
        return $"the disk cannot read the page at offset {_badPage}: {Errno.Text(_errno)}";
    }

    // It may be acknowledged mail, and tomorrow the disk may be able to read it: nobody but the operator gives it up.
    private IOException Failure()
    {
        return new IOException(
            $"{segment.Path}: {Complaint()}. If it stays so, put a copy of the file in its place that has zeros where "
            + "the disk cannot read (ddrescue makes one): what stood there is then told, and stepped over",
            _errno);
    }

    private void Approach(long offset, long end)
    {
        for (long page = offset & -PageBytes; page < end; page += PageBytes)
        {
            int errno = segment.Populate(page, Math.Min(PageBytes, segment.Length - page));
            if (errno != 0)
            {
                _errno = errno;
                Keep(offset, page, page);
                return;
            }
        }

        Keep(offset, end, badPage: -1); // the disk could read it at the second attempt
    }

    private void Keep(long start, long end, long badPage)
    {
        _start = start;
        _end = end;
        _badPage = badPage;
    }
}
