namespace FastMail.Storage;

/// <summary>
/// Writes one cold segment: a GROUP record in front, the live records in order of their numbers, a SEAL. The file has
/// a temporary name until all of it is durable, so that a half-written one is never taken for a segment. Used by the
/// reclaimer's thread for one compaction.
/// </summary>
internal sealed class ColdWriter : IDisposable
{
    public const string TemporaryName = "compact.tmp";

    private const int BufferBytes = 1024 * 1024;

    private readonly IDisk _disk;
    private readonly string _directory;
    private readonly ColdIdentity _identity;
    private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(BufferBytes, pinned: true);
    private IDiskFile? _file;
    private int _buffered;
    private long _written = SegmentHeader.Bytes; // the header page comes last, when the size is known
    private SealMeta _seal;

    public ColdWriter(IDisk disk, string directory, in ColdIdentity identity)
    {
        _disk = disk;
        _directory = directory;
        _identity = identity;
    }

    /// <summary>Length of the file so far, the buffered part included.</summary>
    public long Length => _written + _buffered;

    private string TemporaryPath => Path.Join(_directory, TemporaryName);

    /// <summary>Makes the file.</summary>
    /// <param name="firstSeq">Number of the first record that will be added.</param>
    public int Begin(ulong firstSeq)
    {
        int errno = _disk.Open(TemporaryPath, FileUse.CreateEmpty, out _file);
        if (errno != 0)
        {
            return errno;
        }

        // Every segment begins with a GROUP, whose content no sender of mail has chosen: from it and the record behind
        // it a damaged header page is rebuilt.
        Span<byte> meta = stackalloc byte[GroupMeta.Bytes];
        ulong lsn = _identity.BaseLsn + SegmentHeader.Bytes;
        new GroupMeta(0, lsn + GroupMeta.TotalBytes, 0, 0, lsn).Write(meta);
        return AddOwn(RecordType.Group, firstSeq - 1, meta);
    }

    /// <summary>Adds a copy of a record that was just verified; answers the address and header CRC of the copy.</summary>
    public int Add(in RecordHeader original, ReadOnlySpan<byte> record, out ulong lsn, out uint headerCrc)
    {
        lsn = _identity.BaseLsn + (ulong)Length;
        RecordHeader header = original;
        header.Lsn = lsn;
        Span<byte> bytes = stackalloc byte[RecordHeader.Bytes];
        header.Write(bytes, _identity.Salt);
        headerCrc = header.HeaderCrc;
        _seal.Add(header);
        int errno = Put(bytes);
        return errno != 0 ? errno : Put(record[RecordHeader.Bytes..]);
    }

    /// <summary>Completes the file, makes it durable, names it and opens it.</summary>
    public int Complete(out Segment? segment)
    {
        segment = null;
        Span<byte> meta = stackalloc byte[SealMeta.Bytes];
        _seal.Write(meta);
        int errno = AddOwn(RecordType.Seal, _seal.LastSeq + 1, meta);
        int rest = (int)(-Length & (SegmentHeader.Bytes - 1));
        errno = errno != 0 ? errno : Put(new byte[rest]);
        errno = errno != 0 ? errno : Drain();
        if (errno != 0)
        {
            return errno;
        }

        SegmentHeader header = new(
            _identity.StoreId, 1, _identity.Salt, _identity.BaseLsn, _identity.FirstSource, _identity.CreatedMicros,
            Length);
        byte[] page = new byte[SegmentHeader.Bytes];
        header.Write(page);
        string path = Path.Join(_directory, header.FileName);
        errno = _file!.WriteAll(page, 0);
        errno = errno != 0 ? errno : _file!.Flush();
        errno = errno != 0 ? errno : _disk.Rename(TemporaryPath, path);
        errno = errno != 0 ? errno : _disk.SyncDirectory(_directory);
        errno = errno != 0 ? errno : Segment.Open(_file!, header, Length, path, out segment);
        if (errno == 0)
        {
            segment!.ReadableEnd = Length;
            _file = null; // the segment's from now on
        }

        return errno;
    }

    /// <summary>Gives up what is not complete.</summary>
    public void Dispose()
    {
        if (_file is not null)
        {
            _file.Dispose();
            _ = _disk.Remove(TemporaryPath); // what stays behind is removed by the next start
        }
    }

    private int AddOwn(RecordType type, ulong seq, ReadOnlySpan<byte> meta)
    {
        RecordHeader header = new()
        {
            Type = type,
            TotalBytes = (uint)RecordHeader.TotalFor(meta.Length),
            Lsn = _identity.BaseLsn + (ulong)Length,
            Seq = seq,
            TimestampMicros = _identity.CreatedMicros,
            MetaBytes = (uint)meta.Length,
            MetaCrc = Crc32C.Extend(0, meta),
        };
        Span<byte> record = stackalloc byte[GroupMeta.TotalBytes];
        record = record[..(int)header.TotalBytes];
        record.Clear();
        meta.CopyTo(record[RecordHeader.Bytes..]);
        header.Write(record, _identity.Salt);
        if (type != RecordType.Seal)
        {
            _seal.Add(header);
        }

        return Put(record);
    }

    private int Put(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int part = Math.Min(bytes.Length, _buffer.Length - _buffered);
            bytes[..part].CopyTo(_buffer.AsSpan(_buffered));
            _buffered += part;
            bytes = bytes[part..];
            int errno = _buffered == _buffer.Length ? Drain() : 0;
            if (errno != 0)
            {
                return errno;
            }
        }

        return 0;
    }

    private int Drain()
    {
        int errno = _file!.WriteAll(_buffer.AsSpan(0, _buffered), _written);
        _written += _buffered;
        _buffered = 0;
        return errno;
    }
}

/// <summary>What a cold segment says of itself. A value.</summary>
/// <param name="StoreId">Whose it is.</param>
/// <param name="BaseLsn">Its address.</param>
/// <param name="FirstSource">Address of the first segment from which it was made.</param>
/// <param name="Salt">Begins its header CRCs.</param>
/// <param name="CreatedMicros">When it was made.</param>
internal readonly record struct ColdIdentity(
    Guid StoreId, ulong BaseLsn, ulong FirstSource, uint Salt, long CreatedMicros)
{
    public string FileName => (default(SegmentHeader) with { Generation = 1, BaseLsn = BaseLsn }).FileName;
}
