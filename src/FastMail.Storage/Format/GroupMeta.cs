using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>
/// Meta of a GROUP record, 36 octets: the first record of every group commit, or alone as the proof for the group
/// before it. A value.
/// </summary>
/// <param name="GroupNo">Counts groups, bare ones included.</param>
/// <param name="FirstLsn">Where the records of the group begin: right behind this record.</param>
/// <param name="RecordCount">Records of the group, this one not counted.</param>
/// <param name="RecordBytes">Their length.</param>
/// <param name="DurableLsn">Everything below was flushed, and the flush had succeeded, when this was written.</param>
public readonly record struct GroupMeta(
    ulong GroupNo, ulong FirstLsn, uint RecordCount, ulong RecordBytes, ulong DurableLsn)
{
    internal const int Bytes = 36;

    /// <summary>Length of a GROUP record.</summary>
    internal const int TotalBytes = 128;

    internal void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, GroupNo);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], FirstLsn);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[16..], RecordCount);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[20..], RecordBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[28..], DurableLsn);
    }

    internal static bool TryRead(ReadOnlySpan<byte> meta, out GroupMeta group)
    {
        if (meta.Length != Bytes)
        {
            group = default;
            return false;
        }

        group = new(
            BinaryPrimitives.ReadUInt64LittleEndian(meta),
            BinaryPrimitives.ReadUInt64LittleEndian(meta[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(meta[16..]),
            BinaryPrimitives.ReadUInt64LittleEndian(meta[20..]),
            BinaryPrimitives.ReadUInt64LittleEndian(meta[28..]));
        return true;
    }
}

/// <summary>
/// Meta of a SEAL record, 32 octets: the last record of a full segment, which proves that none in it is missing.
/// A value; the appender and the recovery each fold one up record by record.
/// </summary>
internal struct SealMeta
{
    public const int Bytes = 32;

    /// <summary>Length of a SEAL record.</summary>
    public const int TotalBytes = 96;

    /// <summary>Records in the segment, the SEAL not counted.</summary>
    public uint RecordCount;

    /// <summary>Their length.</summary>
    public ulong RecordBytes;

    /// <summary>Lowest and highest seq; 0 when there is none.</summary>
    public ulong FirstSeq, LastSeq;

    /// <summary>CRC over their header CRCs in order.</summary>
    public uint HeaderCrcs;

    public void Add(in RecordHeader header)
    {
        FirstSeq = RecordCount == 0 ? header.Seq : FirstSeq;
        LastSeq = header.Seq;
        RecordCount++;
        RecordBytes += header.TotalBytes;
        HeaderCrcs = Crc32C.Extend(HeaderCrcs, header.HeaderCrc);
    }

    public readonly void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(destination, RecordCount);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[4..], RecordBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[12..], FirstSeq);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[20..], LastSeq);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[28..], HeaderCrcs);
    }

    /// <summary>What <see cref="Write"/> wrote.</summary>
    public static SealMeta Read(ReadOnlySpan<byte> source)
    {
        return new SealMeta
        {
            RecordCount = BinaryPrimitives.ReadUInt32LittleEndian(source),
            RecordBytes = BinaryPrimitives.ReadUInt64LittleEndian(source[4..]),
            FirstSeq = BinaryPrimitives.ReadUInt64LittleEndian(source[12..]),
            LastSeq = BinaryPrimitives.ReadUInt64LittleEndian(source[20..]),
            HeaderCrcs = BinaryPrimitives.ReadUInt32LittleEndian(source[28..]),
        };
    }

    /// <summary>True when <paramref name="meta"/> is that of a SEAL behind the record of that seq.</summary>
    public static bool Follows(ReadOnlySpan<byte> meta, ulong seq)
    {
        return meta.Length == Bytes && BinaryPrimitives.ReadUInt64LittleEndian(meta[20..]) == seq;
    }

    /// <summary>True when <paramref name="meta"/> says the same as what was folded up.</summary>
    public readonly bool Matches(ReadOnlySpan<byte> meta)
    {
        Span<byte> own = stackalloc byte[Bytes];
        Write(own);
        return meta.SequenceEqual(own);
    }
}
