using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Where the log ends and how it grows: assigns addresses and numbers, writes one group with gathered writes and
/// one flush, seals a full segment and goes on in the next. Owned by the appender and used by its thread alone (by the
/// opening thread before that starts).
/// </summary>
internal sealed class GroupWriter(
    SegmentList segments, MaildropTable maildrops, SegmentFiles files, SpareMaker spares, TimeProvider clock)
{
    /// <summary>
    /// Bytes at the end of the last segment that only what leads to space may use while no spare exists; behind them
    /// comes the reserve file.
    /// </summary>
    public const int ReserveBytes = 64 * 1024;

    // What is worth a system call of its own while others are on their way into the group.
    private const int AheadBytes = 32 * 1024;

    private readonly VectorList _vectors = new();
    private readonly List<PendingAppend> _records = [];
    private readonly List<RecordHeader> _headers = [];
    private readonly List<ulong> _unusedBodies = [];
    private readonly byte[] _groupRecord = GC.AllocateArray<byte>(GroupMeta.TotalBytes, pinned: true);
    private readonly byte[] _padding = GC.AllocateArray<byte>(SegmentHeader.Bytes, pinned: true); // zeros
    private LogEnd _at = new();
    private ulong _groupSeq;
    private long _groupEnd;
    private int _vectorsAhead; // of the group, those that are with the kernel
    private long _offsetAhead; // behind them
    private long _timestamp;
    private LogPoint _point; // behind the last group
    private long _durableLsn;
    private long _groups;
    private long _recordsWritten;
    private long _bytesWritten;

    /// <summary>Octets written so far. Any thread.</summary>
    public long BytesWritten => Volatile.Read(ref _bytesWritten);

    /// <summary>The group under construction has records.</summary>
    public bool HasRecords => _records.Count > 0;

    /// <summary>The present segment, or the group under construction, has records.</summary>
    public bool HasContent => HasRecords || _at.Offset > SegmentHeader.Bytes;

    /// <summary>Bytes of the records of the group under construction.</summary>
    public long RecordBytes { get; private set; }

    /// <summary>The last group that had records is not yet proven durable by a later GROUP record.</summary>
    public bool NeedsProof { get; private set; }

    /// <summary>Told of body files that nobody needs any more; before the first group.</summary>
    public Action<List<ulong>>? RemoveBodies { get; set; }

    /// <summary>Any thread.</summary>
    public LogStatistics Statistics => new()
    {
        DurableLsn = (ulong)Volatile.Read(ref _durableLsn),
        Groups = Volatile.Read(ref _groups),
        Records = Volatile.Read(ref _recordsWritten),
        Bytes = Volatile.Read(ref _bytesWritten),
        Segments = segments.All.Length,
        Maildrops = maildrops.Count,
    };

    /// <summary>Behind the last group. The appender's thread only.</summary>
    public ulong GroupEndLsn => _point.Lsn;

    private Segment Segment => _at.Segment!;

    /// <summary>The longest record that an empty segment of that size takes.</summary>
    public static long RoomIn(long segmentBytes)
    {
        return segmentBytes - SegmentHeader.Bytes - GroupMeta.TotalBytes - ReserveBytes - SealMeta.TotalBytes;
    }

    /// <summary>The shortest segment that takes a record of that size.</summary>
    public static long SegmentFor(long recordBytes)
    {
        long bytes = recordBytes - RoomIn(0);
        return (bytes + SegmentHeader.Bytes - 1) / SegmentHeader.Bytes * SegmentHeader.Bytes;
    }

    /// <summary>Goes on where recovery (or the making of the store) left the log.</summary>
    public void StartAt(LogEnd end)
    {
        _at = end;
        _timestamp = end.TimestampMicros;
        Publish();
    }

    /// <summary>True when a record of that size may still be added to the group in this segment.</summary>
    public bool HasRoomFor(PendingAppend record)
    {
        bool mayFill = record.MayUseReserve || spares.HasSpare;
        return !_at.IsSealed && (mayFill || !spares.IsExhausted) && Start() + record.Bytes <= FillEnd(mayFill);
    }

    /// <summary>
    /// Adds a record for which <see cref="HasRoomFor"/> just said yes. Answers an errno when the index cannot be read.
    /// </summary>
    public int Add(PendingAppend record)
    {
        int errno = record.Prepare(maildrops);
        if (errno != 0)
        {
            return errno;
        }

        if (_records.Count == 0)
        {
            BeginGroup();
        }

        RecordStamp stamp = new(
            Segment.BaseLsn + (ulong)_groupEnd, ++_at.Seq, _timestamp, Segment.Header.Salt);
        _headers.Add(record.Stamp(stamp, maildrops, _vectors));
        _records.Add(record);
        _groupEnd += record.Bytes;
        RecordBytes += record.Bytes;
        return 0;
    }

    /// <summary>
    /// Writes what the group under construction has so far, if it is much, so that only the rest waits for the last to
    /// join. Its GROUP record is written at the end: until then these octets are what a torn group leaves behind.
    /// Answers an errno; it is never retried.
    /// </summary>
    public int WriteAhead()
    {
        if (_groupEnd - (_vectorsAhead == 0 ? _at.Offset : _offsetAhead) < AheadBytes)
        {
            return 0;
        }

        if (_vectorsAhead == 0)
        {
            Array.Clear(_groupRecord);
        }

        return WriteRest();
    }

    /// <summary>
    /// Writes and flushes the group, then enters it into the index. Answers an errno; it is never retried.
    /// </summary>
    public int Commit()
    {
        int errno = WriteGroup(flags: 0);
        if (errno == 0)
        {
            lock (maildrops.Gate)
            {
                foreach (PendingAppend record in _records)
                {
                    record.Apply(maildrops);
                }

                maildrops.Bodies.TakeUnused(_unusedBodies);
                maildrops.Reached(_point);
            }
        }

        if (_unusedBodies.Count > 0)
        {
            RemoveBodies!(_unusedBodies); // not before their EXPUNGE was durable
            _unusedBodies.Clear();
        }

        Volatile.Write(ref _recordsWritten, _recordsWritten + _records.Count);
        NeedsProof = true;
        Clear();
        return errno;
    }

    /// <summary>
    /// Writes a GROUP record alone: it says that everything before it is durable. Skipped when the segment has no room
    /// left, because then its SEAL will say it.
    /// </summary>
    public int Prove(bool isClean)
    {
        NeedsProof = false;
        if (_at.IsSealed || _at.Offset + GroupMeta.TotalBytes > FillEnd(mayFill: true))
        {
            return 0;
        }

        BeginGroup();
        int errno = WriteGroup(isClean ? RecordHeader.CleanFlag : (byte)0);
        if (errno == 0)
        {
            lock (maildrops.Gate)
            {
                maildrops.Reached(_point);
            }
        }

        Clear();
        return errno;
    }

    /// <summary>
    /// Goes on in the next segment, waiting while that is being prepared; in the reserve when the record may.
    /// <paramref name="hasSpace"/> is false when the disk has no room for one; nothing changed then.
    /// </summary>
    public int Roll(PendingAppend record, out bool hasSpace)
    {
        return Roll(record, 0, out hasSpace);
    }

    /// <summary>
    /// Goes on in the next segment with numbers and unique-ids that are higher by that many, and makes it durable. Opening
    /// thread only.
    /// </summary>
    public int Skip(ulong numbers, out bool hasSpace)
    {
        int errno = Roll(new PendingMark(endsSegment: true), numbers, out hasSpace);
        return errno != 0 || !hasSpace ? errno : Prove(isClean: false);
    }

    private int Roll(PendingAppend record, ulong skipped, out bool hasSpace)
    {
        hasSpace = spares.TryTake(record.Bytes, out PreparedFile file)
            || (record.MayUseReserve && spares.TryTakeReserve(record.Bytes, out file));
        if (!hasSpace)
        {
            return 0;
        }

        // The SEAL first: a segment that has a successor is complete, which recovery relies on.
        Segment? next = null;
        int errno = _at.IsSealed ? 0 : Seal();
        file = file with { SkipsNumbers = skipped > 0 };
        errno = errno != 0 ? errno : files.Name(file, Segment.EndLsn, Segment.BaseLsn, out next);
        if (errno != 0)
        {
            file.File.Dispose();
            return errno;
        }

        segments.Add(next!);
        _at.MoveTo(next!);
        _at.Seq += skipped;
        maildrops.SkipUids(skipped);
        Publish();
        spares.Want(next!.Length);
        return 0;
    }

    private long Start()
    {
        return _records.Count == 0 ? _at.Offset + GroupMeta.TotalBytes : _groupEnd;
    }

    private long FillEnd(bool mayFill)
    {
        return Segment.Length - SealMeta.TotalBytes - (mayFill ? 0 : ReserveBytes);
    }

    private void BeginGroup()
    {
        long now = (clock.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond;
        _timestamp = Math.Max(_timestamp, now); // a clock that jumps back must not reorder the log
        _groupSeq = ++_at.Seq;
        _groupEnd = _at.Offset + GroupMeta.TotalBytes;
        _vectors.Add(_groupRecord, 0, _groupRecord.Length);
    }

    private int WriteGroup(byte flags)
    {
        ulong lsn = Segment.BaseLsn + (ulong)_at.Offset;
        // Every group is flushed before the next is written, so everything below this one is durable.
        GroupMeta meta = new(
            ++_at.GroupNo, lsn + GroupMeta.TotalBytes, (uint)_records.Count, (ulong)RecordBytes, DurableLsn: lsn);
        meta.Write(_groupRecord.AsSpan(RecordHeader.Bytes));
        RecordHeader header = Finish(_groupRecord, RecordType.Group, flags, GroupMeta.Bytes, lsn, _groupSeq);
        bool isAhead = _vectorsAhead > 0;
        int errno = WriteRest();
        errno = errno != 0 || !isAhead ? errno : Segment.File.WriteAll(_groupRecord, _at.Offset);
        errno = errno != 0 ? errno : Segment.File.Flush();
        if (errno != 0)
        {
            return errno;
        }

        _at.Seal.Add(header);
        foreach (ref readonly RecordHeader written in CollectionsMarshal.AsSpan(_headers))
        {
            _at.Seal.Add(written);
        }

        Volatile.Write(ref _bytesWritten, _bytesWritten + _groupEnd - _at.Offset);
        Volatile.Write(ref _groups, _groups + 1);
        _at.Offset = _groupEnd;
        Publish();
        _point = new LogPoint
        {
            Lsn = Segment.BaseLsn + (ulong)_at.Offset,
            Seq = _at.Seq,
            GroupNo = _at.GroupNo,
            GroupLsn = lsn,
            GroupSeq = _groupSeq,
            TimestampMicros = _timestamp,
            Seal = _at.Seal,
        };
        return 0;
    }

    /// <summary>Writes those records of the group, and its GROUP record, that are not with the kernel yet.</summary>
    private int WriteRest()
    {
        long offset = _vectorsAhead == 0 ? _at.Offset : _offsetAhead;
        int vectors = _vectors.Count;
        if (vectors == _vectorsAhead)
        {
            return 0;
        }

        int restOfPage = (int)(-_groupEnd & (SegmentHeader.Bytes - 1));
        if (restOfPage > 0)
        {
            // Of a page that is written as a whole the kernel need not fetch the old octets first: those of a segment
            // that is used again, or zeros that were written long ago and have left the cache.
            _vectors.Add(_padding, 0, restOfPage);
        }

        int errno = Segment.File.WriteAll(_vectors.All[_vectorsAhead..], offset);
        _vectors.CutTo(vectors);
        _vectorsAhead = vectors;
        _offsetAhead = _groupEnd;
        return errno;
    }

    private int Seal()
    {
        byte[] record = new byte[SealMeta.TotalBytes];
        _at.Seal.Write(record.AsSpan(RecordHeader.Bytes));
        ulong lsn = Segment.BaseLsn + (ulong)_at.Offset;
        _ = Finish(record, RecordType.Seal, 0, SealMeta.Bytes, lsn, ++_at.Seq);
        int errno = Segment.File.WriteAll(record, _at.Offset);
        errno = errno != 0 ? errno : Segment.File.Flush();
        _at.IsSealed = errno == 0;
        return errno;
    }

    private RecordHeader Finish(byte[] record, RecordType type, byte flags, int metaBytes, ulong lsn, ulong seq)
    {
        RecordHeader header = new()
        {
            Type = type,
            Flags = flags,
            TotalBytes = (uint)record.Length,
            Lsn = lsn,
            Seq = seq,
            TimestampMicros = _timestamp,
            MetaBytes = (uint)metaBytes,
            MetaCrc = Crc32C.Extend(0, record.AsSpan(RecordHeader.Bytes, metaBytes)),
        };
        header.Write(record, Segment.Header.Salt);
        return header;
    }

    private void Publish()
    {
        Segment.ReadableEnd = _at.Offset;
        Volatile.Write(ref _durableLsn, (long)Segment.BaseLsn + _at.Offset);
    }

    private void Clear()
    {
        _vectors.Clear();
        _records.Clear();
        _headers.Clear();
        _vectorsAhead = 0;
        RecordBytes = 0;
    }
}

/// <summary>
/// The end of the log: what recovery finds and the writer continues. Owned by one of them at a time.
/// </summary>
internal sealed class LogEnd
{
    public Segment? Segment;
    public long Offset = SegmentHeader.Bytes;
    public ulong Seq;
    public ulong GroupNo;
    public long TimestampMicros;
    public SealMeta Seal;
    public bool IsSealed;

    public void MoveTo(Segment next)
    {
        Segment = next;
        Offset = SegmentHeader.Bytes;
        Seal = default;
        IsSealed = false;
    }
}
