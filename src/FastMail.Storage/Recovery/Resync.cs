namespace FastMail.Storage;

/// <summary>
/// Finds where the log goes on behind records that cannot be read. A header tells its own address and number under the
/// segment's salt, so neither old bytes nor the content of a message are taken for one. Stateless; used by the thread
/// that opens the log.
/// </summary>
internal static class Resync
{
    private const long BlockBytes = 1024 * 1024;

    /// <summary>
    /// Looks from <paramref name="from"/> to <paramref name="last"/> for a valid record with a greater number: at the
    /// start of a segment any, because the end of the one before may be lost; else one that leaves room for no more
    /// missing records than the bytes skipped could hold.
    /// </summary>
    /// <param name="segment">Where to look.</param>
    /// <param name="from">The first invalid record, or where it would begin.</param>
    /// <param name="seq">Number of the last valid record.</param>
    /// <param name="last">Last offset to try.</param>
    /// <param name="offset">The valid record.</param>
    /// <param name="missing">Records between it and the last valid one.</param>
    /// <exception cref="DamagedLogException">
    /// A record that is intact bears a number that is impossible in its place: no decay of a disk does this.
    /// </exception>
    public static bool TryFind(
        Segment segment, long from, ulong seq, long last, out long offset, out ulong missing)
    {
        missing = 0;
        ReadableWindow window = new(segment);
        last = Math.Min(last, segment.Length - RecordHeader.Bytes);
        for (offset = from; offset <= last;)
        {
            window.Populate(offset, RecordHeader.Bytes);
            long room = segment.Header.SegmentBytes - offset;
            ReadOnlySpan<byte> start = segment.Span(offset, RecordHeader.Bytes);
            ulong lsn = segment.BaseLsn + (ulong)offset;
            if (!RecordHeader.TryRead(start, segment.Header.Salt, lsn, room, out RecordHeader header))
            {
                offset += RecordHeader.Alignment;
                continue;
            }

            ulong most = from == SegmentHeader.Bytes ? long.MaxValue : MostRecordsIn(offset - from);
            missing = header.Seq - seq - 1; // huge when the number is not greater
            bool isIntact = HasIntactMeta(segment, offset, header, window);
            if (isIntact && missing is not 0 && missing <= most)
            {
                return true;
            }

            if (isIntact && offset == from && missing > most)
            {
                throw DamagedLogException.At(
                    segment, offset, $"an intact record bears number {header.Seq}, but {seq + 1} is due");
            }

            // The header proves the length even though the rest of the record is damaged.
            offset += missing <= most ? header.TotalBytes : RecordHeader.Alignment;
        }

        return false;
    }

    /// <summary>Most records that fit into that many bytes.</summary>
    public static ulong MostRecordsIn(long bytes)
    {
        return (ulong)(bytes / RecordHeader.Bytes);
    }

    /// <summary>
    /// Behind the last octet that is not 0, on a record boundary; <paramref name="from"/> when all are. Where damaged
    /// records end in a segment that was used before, nobody can tell.
    /// </summary>
    public static long EndOfContent(Segment segment, long from)
    {
        ReadableWindow window = new(segment);
        for (long end = segment.Length; end > from;)
        {
            long start = Math.Max(from, end - BlockBytes);
            window.Populate(start, end - start);
            int index = segment.Span(start, (int)(end - start)).LastIndexOfAnyExcept((byte)0);
            if (index >= 0)
            {
                long recordEnd = (start + index + RecordHeader.Alignment) & -RecordHeader.Alignment;
                return Math.Min(recordEnd, segment.Length);
            }

            end = start;
        }

        return from;
    }

    private static bool HasIntactMeta(
        Segment segment, long offset, in RecordHeader header, ReadableWindow window)
    {
        long bytes = RecordHeader.Bytes + (long)header.MetaBytes + header.TraceBytes;
        if (bytes > segment.Length - offset)
        {
            return false;
        }

        window.Populate(offset, bytes);
        return RecordReader.HasIntactMeta(header, segment.Span(offset, (int)bytes));
    }
}
