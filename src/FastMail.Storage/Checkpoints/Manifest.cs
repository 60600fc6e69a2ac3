using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>
/// What a checkpoint consists of: the place in the log that it stands for, and its shard files with their checksums.
/// Written last, so that its presence says that all of them are durable. Immutable; any thread.
/// </summary>
internal sealed record Manifest
{
    public const string FileName = "MANIFEST";

    private const uint Version = 1;
    private const uint VersionWithQueue = 2; // a program that knows no queue must not go on without it
    private const int FixedBytes = 152;
    private const int BodiesBytesOffset = 136;
    private const int QueueOffset = 140;
    private const int ShardBytes = 24;
    private const int MostBytes = 64 * 1024 * 1024;

    private static ReadOnlySpan<byte> Magic => "FMCKPT\0\u0001"u8;

    public required Guid StoreId { get; init; }

    /// <summary>The state of the mailboxes is that of this place.</summary>
    public required LogPoint Point { get; init; }

    /// <summary>
    /// First unique-id of a mailbox that was never seen: it grows with every record of the log that went missing.
    /// </summary>
    public required ulong UidFloor { get; init; }

    /// <summary>Place of the checkpoint kept beside this one; 0 when there was none.</summary>
    public ulong PreviousLsn { get; init; }

    /// <summary>Microseconds since 1970 UTC.</summary>
    public long CreatedMicros { get; init; }

    /// <summary>In ascending order of their numbers; a shard without a mailbox has no file.</summary>
    public required IReadOnlyList<ShardReference> Shards { get; init; }

    /// <summary>The table of body files, without which those of the messages here would pass for unused.</summary>
    public required ReadOnlyMemory<byte> Bodies { get; init; }

    /// <summary>The file with the queue, in the directory of this checkpoint.</summary>
    public QueueReference Queue { get; init; }

    /// <summary>Version of <see cref="Extra"/>; 0 when there is none.</summary>
    public uint ExtraVersion { get; init; }

    /// <summary>What other parts of the log keep with the checkpoint; not looked at here.</summary>
    public ReadOnlyMemory<byte> Extra { get; init; }

    /// <summary>Null when the bytes are not an intact manifest.</summary>
    public static Manifest? TryRead(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < FixedBytes + (2 * sizeof(uint)) + sizeof(uint) || !bytes.StartsWith(Magic)
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes[^sizeof(uint)..])
                != Crc32C.Extend(0, bytes[..^sizeof(uint)])
            || BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]) is not (Version or VersionWithQueue))
        {
            return null;
        }

        int shards = BinaryPrimitives.ReadInt32LittleEndian(bytes[12..]);
        int extraAt = FixedBytes + (shards * ShardBytes);
        if (shards is < 0 or > MaildropTable.Shards || bytes.Length < extraAt + (3 * sizeof(uint)))
        {
            return null;
        }

        long extraBytes = BinaryPrimitives.ReadUInt32LittleEndian(bytes[(extraAt + sizeof(uint))..]);
        long bodiesBytes = BinaryPrimitives.ReadUInt32LittleEndian(bytes[BodiesBytesOffset..]);
        if (bodiesBytes < BodyTable.HeadBytes || bytes.Length != extraAt + (3 * sizeof(uint)) + extraBytes + bodiesBytes)
        {
            return null;
        }

        ShardReference[] references = new ShardReference[shards];
        for (int i = 0; i < shards; i++)
        {
            references[i] = ShardReference.Read(bytes[(FixedBytes + (i * ShardBytes))..]);
        }

        return new Manifest
        {
            StoreId = new Guid(bytes.Slice(16, 16)),
            Point = ReadPoint(bytes[32..]),
            UidFloor = BinaryPrimitives.ReadUInt64LittleEndian(bytes[112..]),
            PreviousLsn = BinaryPrimitives.ReadUInt64LittleEndian(bytes[120..]),
            CreatedMicros = BinaryPrimitives.ReadInt64LittleEndian(bytes[128..]),
            Shards = references,
            Queue = new QueueReference(
                BinaryPrimitives.ReadInt64LittleEndian(bytes[QueueOffset..]),
                BinaryPrimitives.ReadUInt32LittleEndian(bytes[(QueueOffset + sizeof(long))..])),
            ExtraVersion = BinaryPrimitives.ReadUInt32LittleEndian(bytes[extraAt..]),
            Extra = bytes.Slice(extraAt + (2 * sizeof(uint)), (int)extraBytes).ToArray(),
            Bodies = bytes.Slice(extraAt + (2 * sizeof(uint)) + (int)extraBytes, (int)bodiesBytes).ToArray(),
        };
    }

    /// <summary>The manifest of a directory; null, with the reason, when there is none that is intact.</summary>
    public static Manifest? Read(IDisk disk, string path, out string why)
    {
        why = "";
        int errno = disk.Open(path, FileUse.Existing, out IDiskFile? file);
        if (errno != 0)
        {
            why = errno == Errno.NotFound ? "" : Errno.Text(errno);
            return null;
        }

        using (file)
        {
            errno = file!.Length(out long length);
            byte[] bytes = new byte[errno == 0 ? Math.Min(length, MostBytes) : 0];
            errno = errno != 0 ? errno : file.Read(bytes, 0, out _);
            Manifest? manifest = errno == 0 ? TryRead(bytes) : null;
            why = errno != 0 ? Errno.Text(errno) : manifest is null ? "its MANIFEST is damaged" : "";
            return manifest;
        }
    }

    /// <summary>The whole file, its own checksum at the end.</summary>
    public byte[] ToBytes()
    {
        int extraAt = FixedBytes + (Shards.Count * ShardBytes);
        byte[] all = new byte[extraAt + (3 * sizeof(uint)) + Extra.Length + Bodies.Length];
        Span<byte> bytes = all;
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], Queue.IsEmpty ? Version : VersionWithQueue);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[12..], Shards.Count);
        _ = StoreId.TryWriteBytes(bytes[16..]);
        WritePoint(bytes[32..], Point);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[112..], UidFloor);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[120..], PreviousLsn);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[128..], CreatedMicros);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[QueueOffset..], Queue.Bytes);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[(QueueOffset + sizeof(long))..], Queue.Crc);
        for (int i = 0; i < Shards.Count; i++)
        {
            Shards[i].Write(bytes[(FixedBytes + (i * ShardBytes))..]);
        }

        BinaryPrimitives.WriteUInt32LittleEndian(bytes[extraAt..], ExtraVersion);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[(extraAt + sizeof(uint))..], Extra.Length);
        Extra.Span.CopyTo(bytes[(extraAt + (2 * sizeof(uint)))..]);
        BinaryPrimitives.WriteInt32LittleEndian(bytes[BodiesBytesOffset..], Bodies.Length);
        Bodies.Span.CopyTo(bytes[(extraAt + (2 * sizeof(uint)) + Extra.Length)..]);
        BinaryPrimitives.WriteUInt32LittleEndian(
            bytes[^sizeof(uint)..], Crc32C.Extend(0, bytes[..^sizeof(uint)]));
        return all;
    }

    private static LogPoint ReadPoint(ReadOnlySpan<byte> bytes)
    {
        return new LogPoint
        {
            Lsn = BinaryPrimitives.ReadUInt64LittleEndian(bytes),
            Seq = BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]),
            GroupNo = BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]),
            GroupLsn = BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..]),
            GroupSeq = BinaryPrimitives.ReadUInt64LittleEndian(bytes[32..]),
            TimestampMicros = BinaryPrimitives.ReadInt64LittleEndian(bytes[40..]),
            Seal = SealMeta.Read(bytes[48..]),
        };
    }

    private static void WritePoint(Span<byte> bytes, in LogPoint point)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, point.Lsn);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], point.Seq);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], point.GroupNo);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[24..], point.GroupLsn);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[32..], point.GroupSeq);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[40..], point.TimestampMicros);
        point.Seal.Write(bytes[48..]);
    }
}

/// <summary>
/// One shard file of a checkpoint. It may have been written for an earlier one and stand in its directory. A value.
/// </summary>
/// <param name="Number">0 to 255.</param>
/// <param name="TableCrc">CRC of the file's table of block CRCs, which covers all of it.</param>
/// <param name="Lsn">Checkpoint for which it was written: its directory.</param>
/// <param name="Bytes">Length of the file.</param>
internal readonly record struct ShardReference(int Number, uint TableCrc, ulong Lsn, long Bytes)
{
    public static ShardReference Read(ReadOnlySpan<byte> bytes)
    {
        return new ShardReference(
            BinaryPrimitives.ReadInt32LittleEndian(bytes),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]),
            BinaryPrimitives.ReadInt64LittleEndian(bytes[16..]));
    }

    public void Write(Span<byte> bytes)
    {
        BinaryPrimitives.WriteInt32LittleEndian(bytes, Number);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[4..], TableCrc);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], Lsn);
        BinaryPrimitives.WriteInt64LittleEndian(bytes[16..], Bytes);
    }
}
