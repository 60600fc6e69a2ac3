using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>What a record is. The numbers are on disk and never change.</summary>
public enum RecordType : byte
{
    /// <summary>A message: envelope, trace fields and body.</summary>
    Message = 1,

    /// <summary>Reserved: another maildrop's reference to a message.</summary>
    Link = 2,

    /// <summary>The removal of messages from one maildrop.</summary>
    Expunge = 3,

    /// <summary>QSTATE: what became of relay recipients.</summary>
    QueueState = 4,

    /// <summary>Reserved.</summary>
    Account = 5,

    /// <summary>Reclamation: where live records were copied to, or which segments are no longer needed.</summary>
    Move = 6,

    /// <summary>A checkpoint of the index was written.</summary>
    Checkpoint = 7,

    /// <summary>Opens a group commit, or stands alone as the proof of the group before it.</summary>
    Group = 8,

    /// <summary>Ends a full segment.</summary>
    Seal = 9,

    /// <summary>Filler; it also marks when everything before it has been applied.</summary>
    Pad = 10,
}

/// <summary>Flags of a message, as stored. The numbers are on disk and never change.</summary>
[Flags]
public enum MessageFlags : byte
{
    /// <summary>Nothing special.</summary>
    None = 0,

    /// <summary>An octet above 127 was seen.</summary>
    Has8Bit = 1,

    /// <summary>The transaction asked for SMTPUTF8 (RFC 6531).</summary>
    SmtpUtf8 = 2,

    /// <summary>A line of more than 998 octets was seen (RFC 5321 4.5.3.1.6).</summary>
    LongLine = 4,

    /// <summary>A NUL octet was seen.</summary>
    HasNul = 8,

    /// <summary>No empty line ended the header section.</summary>
    NoEndOfHeader = 16,

    /// <summary>The body is not in the record but in a file of its own, which the meta names.</summary>
    ExternalBody = 32,

    /// <summary>It came by import: the meta may hold a unique-id of its own and an earlier time of arrival.</summary>
    Imported = 64,
}

/// <summary>
/// The 64 octets in front of every record, little-endian, laid out as on disk (both supported processors are
/// little-endian). A value: whoever holds it owns it.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = Bytes)]
internal struct RecordHeader
{
    public const int Bytes = 64;
    public const int Alignment = 32;
    public const uint MagicNumber = 0x31524D46; // "FMR1"
    public const ushort Version = 1;

    /// <summary>
    /// Bit of <see cref="VersionBits"/>: a reader that does not know the type may step over the record.
    /// </summary>
    public const ushort Skippable = 0x8000;

    /// <summary>Flag of a GROUP record: the log was closed in order right after it.</summary>
    public const byte CleanFlag = 1;

    public const int CrcOffset = 12;

    [FieldOffset(0)] public uint Magic;
    [FieldOffset(4)] public RecordType Type;
    [FieldOffset(5)] public byte Flags;
    [FieldOffset(6)] public ushort VersionBits;
    [FieldOffset(8)] public uint TotalBytes;
    [FieldOffset(CrcOffset)] public uint HeaderCrc;
    [FieldOffset(16)] public ulong Lsn;
    [FieldOffset(24)] public ulong Seq;
    [FieldOffset(32)] public long TimestampMicros;
    [FieldOffset(40)] public uint MetaBytes;
    [FieldOffset(44)] public uint TraceBytes;
    [FieldOffset(48)] public uint BodyBytes;
    [FieldOffset(52)] public uint Octets;
    [FieldOffset(56)] public uint MetaCrc;
    [FieldOffset(60)] public uint BodyCrc;

    /// <summary>A message whose body is a file of its own: length and CRC of the body are those of the file.</summary>
    public readonly bool HasExternalBody =>
        Type == RecordType.Message && (Flags & (byte)MessageFlags.ExternalBody) != 0;

    /// <summary>Meta, trace and, unless it is a file of its own, body, without the padding.</summary>
    public readonly long ContentBytes => (long)MetaBytes + TraceBytes + (HasExternalBody ? 0 : BodyBytes);

    /// <summary>Length of a record with that much content: header in front, zeros up to the alignment behind.</summary>
    public static long TotalFor(long contentBytes)
    {
        return (Bytes + contentBytes + Alignment - 1) & -Alignment;
    }

    public static RecordHeader Read(ReadOnlySpan<byte> source)
    {
        return MemoryMarshal.Read<RecordHeader>(source);
    }

    /// <summary>Sets magic, version and header CRC, and writes the 64 octets.</summary>
    public void Write(Span<byte> destination, uint salt)
    {
        Magic = MagicNumber;
        VersionBits = Type == RecordType.Checkpoint ? (ushort)(Version | Skippable) : Version;
        HeaderCrc = 0;
        MemoryMarshal.Write(destination, in this);
        HeaderCrc = ComputeCrc(destination, salt);
        MemoryMarshal.Write(destination, in this);
    }

    /// <summary>CRC of the 64 octets with the field itself taken as 0, begun with the segment's salt.</summary>
    public static uint ComputeCrc(ReadOnlySpan<byte> header, uint salt)
    {
        uint crc = Crc32C.Extend(salt, header[..CrcOffset]);
        crc = Crc32C.Extend(crc, 0u);
        return Crc32C.Extend(crc, header[(CrcOffset + sizeof(uint))..Bytes]);
    }

    /// <summary>
    /// True when <paramref name="source"/> holds the header of a record that was written at <paramref name="lsn"/> of
    /// a segment with this salt, and whose record fits into <paramref name="room"/> bytes.
    /// </summary>
    public static bool TryRead(ReadOnlySpan<byte> source, uint salt, ulong lsn, long room, out RecordHeader header)
    {
        header = default;
        if (source.Length < Bytes || MemoryMarshal.Read<uint>(source) != MagicNumber)
        {
            return false;
        }

        header = Read(source);
        return header.Lsn == lsn // first: in a segment that is used again most others are of its earlier life
            && header.HeaderCrc == ComputeCrc(source, salt)
            && header.TotalBytes <= room
            && header.TotalBytes == TotalFor(header.ContentBytes);
    }
}
