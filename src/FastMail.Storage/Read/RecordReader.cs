namespace FastMail.Storage;

/// <summary>Reads one message through the map and verifies it. Stateless; any thread.</summary>
internal static class RecordReader
{
    private const int FirstLook = 8 * 1024; // one madvise (about 1 microsecond when resident) serves most mail

    /// <param name="segment">Whose addresses include it, held by the caller; null when there is none.</param>
    /// <param name="lsn">Where the record begins.</param>
    /// <param name="message">The message; valid as long as the caller holds the segment.</param>
    public static ReadStatus TryRead(Segment? segment, ulong lsn, out StoredMessage message)
    {
        message = default;
        if (segment is null)
        {
            return ReadStatus.NotFound;
        }

        long offset = (long)(lsn - segment.BaseLsn);
        long room = segment.ReadableEnd - offset;
        if (offset < SegmentHeader.Bytes || offset % RecordHeader.Alignment != 0 || room < RecordHeader.Bytes)
        {
            return ReadStatus.NotFound;
        }

        long looked = Math.Min(FirstLook, room);
        if (segment.Populate(offset, looked) != 0)
        {
            return ReadStatus.Unavailable;
        }

        ReadOnlySpan<byte> start = segment.Span(offset, RecordHeader.Bytes);
        if (!RecordHeader.TryRead(start, segment.Header.Salt, lsn, room, out RecordHeader header))
        {
            return ReadStatus.Damaged;
        }

        if (header.Type != RecordType.Message)
        {
            return ReadStatus.NotFound;
        }

        if (header.TotalBytes > looked && segment.Populate(offset + looked, header.TotalBytes - looked) != 0)
        {
            return ReadStatus.Unavailable;
        }

        ReadOnlyMemory<byte> record = segment.Memory.Slice((int)offset, (int)header.TotalBytes);
        if (!HasIntactMeta(header, record.Span) || !HasIntactBody(header, record.Span))
        {
            return ReadStatus.Damaged;
        }

        message = new StoredMessage(header, record);
        return header.HasExternalBody ? ReadStatus.External : ReadStatus.Ok;
    }

    /// <summary>
    /// Copies one field of a message's meta; the body is not touched. The length is 0 when the field is missing, empty or
    /// too long, or begins with NUL.
    /// </summary>
    public static ReadStatus TryReadMeta(
        Segment? segment, ulong lsn, MetaType type, Span<byte> destination, out int length)
    {
        length = 0;
        ReadStatus status = ReadMeta(segment, lsn, out RecordHeader header, out ReadOnlySpan<byte> meta);
        if (status != ReadStatus.Ok || header.Type != RecordType.Message)
        {
            return status == ReadStatus.Ok ? ReadStatus.NotFound : status;
        }

        MetaReader reader = new(meta);
        while (length == 0 && reader.Read())
        {
            if (reader.Type == type && !reader.Value.IsEmpty && reader.Value[0] != 0 && reader.Value.TryCopyTo(destination))
            {
                length = reader.Value.Length;
            }
        }

        return ReadStatus.Ok;
    }

    /// <summary>Copies all of a record's meta, of any type; the buffer grows when it must.</summary>
    public static bool TryReadMeta(
        Segment? segment, ulong lsn, ref byte[] buffer, out RecordHeader header, out int length)
    {
        length = 0;
        if (!TryReadMeta(segment, lsn, out header, out ReadOnlySpan<byte> meta))
        {
            return false;
        }

        if (buffer.Length < meta.Length)
        {
            buffer = new byte[Math.Max(meta.Length, buffer.Length * 2)];
        }

        meta.CopyTo(buffer);
        length = meta.Length;
        return true;
    }

    /// <summary>
    /// The meta of a record of any type, verified with the trace; the body is not touched. The caller holds the segment.
    /// </summary>
    public static bool TryReadMeta(Segment? segment, ulong lsn, out RecordHeader header, out ReadOnlySpan<byte> meta)
    {
        return ReadMeta(segment, lsn, out header, out meta) == ReadStatus.Ok;
    }

    private static ReadStatus ReadMeta(
        Segment? segment, ulong lsn, out RecordHeader header, out ReadOnlySpan<byte> meta)
    {
        header = default;
        meta = default;
        if (segment is null)
        {
            return ReadStatus.NotFound;
        }

        long offset = (long)(lsn - segment.BaseLsn);
        long room = segment.ReadableEnd - offset;
        if (offset < SegmentHeader.Bytes || offset % RecordHeader.Alignment != 0 || room < RecordHeader.Bytes)
        {
            return ReadStatus.NotFound;
        }

        if (segment.Populate(offset, Math.Min(FirstLook, room)) != 0)
        {
            return ReadStatus.Unavailable;
        }

        ReadOnlySpan<byte> start = segment.Span(offset, RecordHeader.Bytes);
        if (!RecordHeader.TryRead(start, segment.Header.Salt, lsn, room, out header))
        {
            return ReadStatus.Damaged;
        }

        int checkedBytes = RecordHeader.Bytes + (int)(header.MetaBytes + header.TraceBytes);
        if (checkedBytes > FirstLook && segment.Populate(offset, checkedBytes) != 0)
        {
            return ReadStatus.Unavailable;
        }

        if (!HasIntactMeta(header, segment.Span(offset, checkedBytes)))
        {
            return ReadStatus.Damaged;
        }

        meta = segment.Span(offset + RecordHeader.Bytes, (int)header.MetaBytes);
        return ReadStatus.Ok;
    }

    public static bool HasIntactMeta(in RecordHeader header, ReadOnlySpan<byte> record)
    {
        int length = (int)(header.MetaBytes + header.TraceBytes);
        return Crc32C.Extend(0, record.Slice(RecordHeader.Bytes, length)) == header.MetaCrc;
    }

    /// <summary>A body outside of the record was durable before it; its file is looked at when it is read.</summary>
    public static bool HasIntactBody(in RecordHeader header, ReadOnlySpan<byte> record)
    {
        if (header.HasExternalBody)
        {
            return true;
        }

        int start = RecordHeader.Bytes + (int)(header.MetaBytes + header.TraceBytes);
        return Crc32C.Extend(0, record.Slice(start, (int)header.BodyBytes)) == header.BodyCrc;
    }
}
