using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Steps through the valid records of one segment and over everything between them that is not valid: behind damage it
/// goes on at the next 32-byte boundary that holds a record with its own address, the segment's salt and a higher seq.
/// Recovery's own walk stops there instead. Owned by the <see cref="LogInspector"/>, on the thread of its caller.
/// </summary>
/// <param name="segment">What to step through.</param>
/// <param name="previousSeq">Number of the last record in front of it.</param>
/// <param name="isSeqKnown">Any number may come first when it is not.</param>
/// <param name="isLenient">What the disk cannot read is not valid; otherwise it ends the scan with an exception.</param>
internal sealed class SegmentScan(
    Segment segment, ulong previousSeq, bool isSeqKnown = true, bool isLenient = false)
{
    private readonly ReadableWindow _window = new(segment);
    private RecordHeader _current;

    /// <summary>Behind the last valid record.</summary>
    public long Offset { get; private set; } = SegmentHeader.Bytes;

    /// <summary>Where the current record begins.</summary>
    public long CurrentOffset { get; private set; }

    /// <summary>Header of the current record.</summary>
    public ref readonly RecordHeader Current => ref _current;

    /// <summary>
    /// Where the invalid range in front of the current record, or behind the last one, begins; equal to
    /// <see cref="CurrentOffset"/> when there is none.
    /// </summary>
    public long GapOffset { get; private set; }

    /// <summary>Records missing in front of the current one, by their numbers.</summary>
    public ulong MissingRecords { get; private set; }

    /// <summary>Seq of the last valid record.</summary>
    public ulong Seq { get; private set; } = previousSeq;

    /// <summary>Nothing is known of the numbers before the first record.</summary>
    public bool IsSeqKnown { get; private set; } = isSeqKnown;

    /// <summary>After the last record: something of the segment's own is behind it, or nobody can tell.</summary>
    public bool HasLeftovers { get; private set; }

    /// <summary>Why the range in front of the current record could not be read, or its body; null when it could.</summary>
    public string? Unreadable { get; private set; }

    /// <summary>Meta of the current record.</summary>
    public ReadOnlySpan<byte> CurrentMeta =>
        segment.Span(CurrentOffset + RecordHeader.Bytes, (int)_current.MetaBytes);

    /// <summary>Steps to the next valid record; false when there is none up to the end of the segment.</summary>
    /// <exception cref="IncompatibleFormatException">A valid record of a kind that may not be stepped over.</exception>
    /// <exception cref="IOException">The segment cannot be read.</exception>
    public bool MoveNext()
    {
        GapOffset = Offset;
        HasLeftovers = false;
        Unreadable = null;
        long offset = Offset;
        while (!TryRead(offset, out _current))
        {
            offset = NextCandidate(offset);
            if (offset >= segment.Length)
            {
                return false;
            }
        }

        if (offset == Offset)
        {
            GapOffset = offset;
        }

        RefuseUnknown(offset);
        CurrentOffset = offset;
        MissingRecords = IsSeqKnown ? _current.Seq - Seq - 1 : 0;
        IsSeqKnown = true;
        Seq = _current.Seq;
        Offset = offset + _current.TotalBytes;
        return true;
    }

    /// <summary>
    /// True when a header at the start of the invalid range is intact, so only its meta or its place in the order of
    /// numbers is wrong.
    /// </summary>
    public bool TryReadGapHeader(out RecordHeader header)
    {
        long room = segment.Length - GapOffset;
        header = default;
        if (room < RecordHeader.Bytes)
        {
            return false;
        }

        if (!TryPopulate(GapOffset, RecordHeader.Bytes))
        {
            return false;
        }

        ulong lsn = segment.BaseLsn + (ulong)GapOffset;
        ReadOnlySpan<byte> start = segment.Span(GapOffset, RecordHeader.Bytes);
        return RecordHeader.TryRead(start, segment.Header.Salt, lsn, room, out header);
    }

    /// <summary>True when the current record's body is what was written.</summary>
    public bool HasIntactBody()
    {
        return TryPopulate(CurrentOffset, _current.TotalBytes)
            && RecordReader.HasIntactBody(_current, segment.Span(CurrentOffset, (int)_current.TotalBytes));
    }

    /// <summary>True when the current record is filled up with zeros, as far as that can be read.</summary>
    public bool HasZeroPadding()
    {
        int content = RecordHeader.Bytes + (int)_current.ContentBytes;
        int padding = (int)_current.TotalBytes - content;
        return !TryPopulate(CurrentOffset + content, padding)
            || !segment.Span(CurrentOffset + content, padding).ContainsAnyExcept((byte)0);
    }

    private bool TryRead(long offset, out RecordHeader header)
    {
        header = default;
        long room = segment.Length - offset;
        if (room < RecordHeader.Bytes)
        {
            return false;
        }

        if (!TryPopulate(offset, RecordHeader.Bytes))
        {
            return false;
        }

        ReadOnlySpan<byte> start = segment.Span(offset, RecordHeader.Bytes);
        if (!RecordHeader.TryRead(start, segment.Header.Salt, segment.BaseLsn + (ulong)offset, room, out header)
            || (IsSeqKnown && header.Seq <= Seq))
        {
            return false;
        }

        long checkedBytes = RecordHeader.Bytes + (long)header.MetaBytes + header.TraceBytes;
        return TryPopulate(offset, checkedBytes)
            && RecordReader.HasIntactMeta(header, segment.Span(offset, (int)checkedBytes));
    }

    /// <summary>The next 32-byte boundary with a magic number; the segment's length when there is none.</summary>
    private long NextCandidate(long offset)
    {
        for (long at = offset; at < segment.Length; at += RecordHeader.Alignment)
        {
            int length = (int)Math.Min(RecordHeader.Alignment, segment.Length - at);
            if (!TryPopulate(at, length))
            {
                HasLeftovers = true;
                continue;
            }

            ReadOnlySpan<byte> block = segment.Span(at, length);
            if (at > offset && block.Length >= sizeof(uint)
                && MemoryMarshal.Read<uint>(block) == RecordHeader.MagicNumber)
            {
                return at;
            }

            HasLeftovers |= Leftovers.IsAt(segment, at, block);
        }

        return segment.Length;
    }

    private void RefuseUnknown(long offset)
    {
        bool isKnown = _current.Type
            is RecordType.Message or RecordType.Expunge or RecordType.Move or RecordType.Checkpoint or RecordType.Group
            or RecordType.Seal or RecordType.Pad or RecordType.QueueState;
        bool isReadable = isKnown && (byte)_current.VersionBits == RecordHeader.Version;
        if (!isReadable && (_current.VersionBits & RecordHeader.Skippable) == 0)
        {
            throw new IncompatibleFormatException(
                $"{segment.Path}: the record at offset {offset} has type {(byte)_current.Type}, version "
                + $"{(byte)_current.VersionBits}, which this program does not know; use a newer FastMail");
        }
    }

    private bool TryPopulate(long offset, long length)
    {
        if (!isLenient)
        {
            _window.Populate(offset, length);
            return true;
        }

        bool isReadable = _window.TryPopulate(offset, length);
        Unreadable ??= isReadable ? null : _window.Complaint();
        return isReadable;
    }
}
