namespace FastMail.Storage;

/// <summary>
/// Steps through the records of one segment from its start and checks each: header CRC, own address, consecutive seq,
/// meta CRC. It stops at the end, behind a SEAL, or at the first record that is not valid; whoever knows where the log
/// goes on behind damage tells it. A walk may also begin at a place that a checkpoint proves. Owned by the thread that opens the log.
/// </summary>
internal sealed class SegmentWalk(Segment segment, ulong previousSeq)
{
    private readonly ReadableWindow _window = new(segment);
    private RecordHeader _current;
    private SealMeta _seal;
    private bool _hasSkipped;

    /// <summary>Behind the last valid record.</summary>
    public long Offset { get; private set; } = SegmentHeader.Bytes;

    /// <summary>Where the current record begins.</summary>
    public long CurrentOffset { get; private set; }

    /// <summary>Header of the current record.</summary>
    public ref readonly RecordHeader Current => ref _current;

    /// <summary>Seq of the last valid record.</summary>
    public ulong Seq { get; private set; } = previousSeq;

    /// <summary>The records so far, as a SEAL would state them.</summary>
    public ref readonly SealMeta Seal => ref _seal;

    /// <summary>
    /// The segment ended with a SEAL that agrees with its records, as far as these could be read.
    /// </summary>
    public bool IsSealed { get; private set; }

    /// <summary>Meta of the current record.</summary>
    public ReadOnlySpan<byte> CurrentMeta =>
        segment.Span(CurrentOffset + RecordHeader.Bytes, (int)_current.MetaBytes);

    /// <summary>Begins at a place between two groups.</summary>
    public static SegmentWalk From(Segment segment, in LogPoint point)
    {
        return new SegmentWalk(segment, point.Seq)
        {
            Offset = (long)(point.Lsn - segment.BaseLsn),
            _seal = point.Seal,
        };
    }

    /// <summary>Steps to the next valid record; false when there is none.</summary>
    /// <exception cref="IncompatibleFormatException">A valid record of a kind that may not be stepped over.</exception>
    /// <exception cref="IOException">The segment cannot be read.</exception>
    public bool MoveNext()
    {
        if (IsSealed || segment.Length - Offset < RecordHeader.Bytes)
        {
            return false;
        }

        _window.Populate(Offset, RecordHeader.Bytes);
        ReadOnlySpan<byte> start = segment.Span(Offset, RecordHeader.Bytes);
        ulong lsn = segment.BaseLsn + (ulong)Offset;
        long room = segment.Header.SegmentBytes - Offset; // of a file that was cut the record may reach beyond its end
        if (!RecordHeader.TryRead(start, segment.Header.Salt, lsn, room, out RecordHeader header)
            || header.Seq != Seq + 1)
        {
            return false;
        }

        long checkedBytes = RecordHeader.Bytes + (long)header.MetaBytes + header.TraceBytes;
        if (checkedBytes > segment.Length - Offset)
        {
            return false;
        }

        _window.Populate(Offset, checkedBytes);
        if (!RecordReader.HasIntactMeta(header, segment.Span(Offset, (int)checkedBytes)))
        {
            return false;
        }

        RefuseUnknown(header);
        _current = header;
        CurrentOffset = Offset;
        if (header.Type == RecordType.Seal)
        {
            // A SEAL counts the skipped records too, unless they were skipped already when it was written.
            IsSealed = _hasSkipped ? SealMeta.Follows(CurrentMeta, Seq) : _seal.Matches(CurrentMeta);
            if (!IsSealed)
            {
                return false;
            }
        }
        else
        {
            _seal.Add(header);
        }

        Seq = header.Seq;
        Offset += header.TotalBytes;
        segment.Prefetch(Offset);
        return true;
    }

    /// <summary>
    /// Goes on behind damage: the record at <paramref name="offset"/> is valid and follows <paramref name="seq"/>.
    /// </summary>
    public void SkipTo(long offset, ulong seq)
    {
        _hasSkipped = true;
        Offset = offset;
        Seq = seq;
    }

    /// <summary>True when the current record's body is what was written.</summary>
    /// <exception cref="IOException">The disk cannot read it.</exception>
    public bool HasIntactBody()
    {
        if (_current.TotalBytes > segment.Length - CurrentOffset)
        {
            return false;
        }

        _window.Populate(CurrentOffset, _current.TotalBytes);
        return RecordReader.HasIntactBody(_current, segment.Span(CurrentOffset, (int)_current.TotalBytes));
    }

    private void RefuseUnknown(in RecordHeader header)
    {
        bool isKnown = header.Type
            is RecordType.Message or RecordType.Expunge or RecordType.Move or RecordType.Checkpoint or RecordType.Group
            or RecordType.Seal or RecordType.Pad or RecordType.QueueState;
        bool isReadable = isKnown && (byte)header.VersionBits == RecordHeader.Version;
        if (!isReadable && (header.VersionBits & RecordHeader.Skippable) == 0)
        {
            throw new IncompatibleFormatException(
                $"{segment.Path}: the record at offset {Offset} has type {(byte)header.Type}, version "
                + $"{(byte)header.VersionBits}, which this program does not know; use a newer FastMail");
        }
    }
}
