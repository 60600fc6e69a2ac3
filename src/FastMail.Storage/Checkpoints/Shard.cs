using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// The maildrops of 1/256 of the mailboxes at one checkpoint: an immutable file. Its directory is held in memory, its
/// entries are copied out of a read-only map, each block populated and checked before it is touched. Counted: whoever
/// reads without holding the table's lock retains it meanwhile; it is unmapped and closed with the last
/// <see cref="Release"/>. Any thread.
/// </summary>
/// <remarks>
/// File: header of 64 octets, directory (48 octets a mailbox, ascending ids), entries (32 octets), then a CRC-32C for
/// each 64 KiB of all that. The manifest has the CRC of that table, so that one number stands for the whole file.
/// </remarks>
internal sealed unsafe class Shard
{
    public const int HeaderBytes = 64;
    public const int MailboxBytes = 48;
    public const int EntryBytes = 32;
    public const int BlockBytes = 64 * 1024;

    private const uint Version = 1;

    private readonly IDiskFile _file;
    private readonly nint _address;
    private readonly long _contentBytes;
    private readonly uint[] _blockCrcs;
    private readonly ShardMailbox[] _mailboxes;
    private int _references = 1;

    private Shard(
        IDiskFile file, nint address, in ShardReference reference, long contentBytes, uint[] blockCrcs,
        ShardMailbox[] mailboxes, ulong uidFloor)
    {
        _file = file;
        _address = address;
        _contentBytes = contentBytes;
        _blockCrcs = blockCrcs;
        _mailboxes = mailboxes;
        Reference = reference;
        UidFloor = uidFloor;
    }

    private static ReadOnlySpan<byte> Magic => "FMSHARD\u0001"u8;

    /// <summary>What a manifest says of it.</summary>
    public ShardReference Reference { get; }

    /// <summary>The floor to which the next unique-ids of its mailboxes belong.</summary>
    public ulong UidFloor { get; }

    /// <summary>Ascending by id.</summary>
    public ReadOnlySpan<ShardMailbox> Mailboxes => _mailboxes;

    /// <summary>Messages of all mailboxes together.</summary>
    public long Entries => (_contentBytes - EntriesAt) / EntryBytes;

    private long EntriesAt => EntriesOffset(_mailboxes.Length);

    public static string FileName(int number)
    {
        return $"shard-{number:x2}.fmx";
    }

    public static long EntriesOffset(int mailboxes)
    {
        return (HeaderBytes + ((long)mailboxes * MailboxBytes) + EntryBytes - 1) & -EntryBytes;
    }

    public static void WriteHeader(
        Span<byte> header, int number, Guid storeId, ulong lsn, ulong uidFloor, int mailboxes, long entries)
    {
        header[..HeaderBytes].Clear();
        Magic.CopyTo(header);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], Version);
        BinaryPrimitives.WriteInt32LittleEndian(header[12..], number);
        _ = storeId.TryWriteBytes(header[16..]);
        BinaryPrimitives.WriteUInt64LittleEndian(header[32..], lsn);
        BinaryPrimitives.WriteUInt64LittleEndian(header[40..], uidFloor);
        BinaryPrimitives.WriteInt64LittleEndian(header[48..], entries);
        BinaryPrimitives.WriteInt32LittleEndian(header[56..], mailboxes);
    }

    /// <summary>Opens, maps and checks all of a file; null, with the reason, when it is not what was written.</summary>
    public static Shard? Open(IDisk disk, string path, Guid storeId, in ShardReference reference, out string why)
    {
        int errno = disk.Open(path, FileUse.Existing, out IDiskFile? file);
        if (errno != 0)
        {
            why = $"{path}: {Errno.Text(errno)}";
            return null;
        }

        errno = file!.Length(out long length);
        nint address = 0;
        bool isWhole = errno == 0 && length == reference.Bytes && length is > HeaderBytes and <= int.MaxValue;
        if (isWhole)
        {
            errno = file.Map(length, out address);
            errno = errno != 0 ? errno : file.Populate(address, 0, length);
        }

        Shard? shard = errno == 0 && isWhole ? TryRead(file, address, storeId, reference) : null;
        why = errno != 0 ? $"{path}: {Errno.Text(errno)}" : shard is null ? $"{path} is damaged" : "";
        if (shard is null)
        {
            if (address is not 0 and not -1)
            {
                _ = file.Unmap(address, length);
            }

            file.Dispose();
        }

        return shard;
    }

    /// <summary>Where a mailbox is in <see cref="Mailboxes"/>; negative when it is not there.</summary>
    public int Find(ulong mailboxId)
    {
        int low = 0;
        int high = _mailboxes.Length - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            ulong id = _mailboxes[middle].MailboxId;
            if (id == mailboxId)
            {
                return middle;
            }

            (low, high) = id < mailboxId ? (middle + 1, high) : (low, middle - 1);
        }

        return -1;
    }

    /// <summary>The entries of the mailbox at that place of <see cref="Mailboxes"/>.</summary>
    public ShardSlice SliceOf(int at)
    {
        ref readonly ShardMailbox mailbox = ref _mailboxes[at];
        return mailbox.Count == 0 ? default : new ShardSlice(this, mailbox.FirstEntry, (int)mailbox.Count);
    }

    /// <summary>All that the shard says of the mailbox at that place of <see cref="Mailboxes"/>.</summary>
    public MaildropState StateOf(int at)
    {
        ref readonly ShardMailbox mailbox = ref _mailboxes[at];
        return new MaildropState
        {
            Stored = SliceOf(at),
            Octets = mailbox.Octets,
            NextUid = mailbox.NextUid,
            UidFloor = UidFloor,
        };
    }

    /// <summary>
    /// Copies entries out of the map. Checked again, although all of it was checked when it was opened: a medium may
    /// decay at any time, and a wrong entry would name another's message.
    /// </summary>
    /// <returns>An errno; <c>EIO</c> also when a block is not what was written.</returns>
    public int Read(long first, Span<MaildropEntry> entries)
    {
        if (entries.IsEmpty)
        {
            return 0;
        }

        long start = EntriesAt + (first * EntryBytes);
        long end = start + ((long)entries.Length * EntryBytes);
        long blockStart = start & -BlockBytes;
        int errno = _file.Populate(_address, blockStart, Math.Min(_contentBytes, end + BlockBytes) - blockStart);
        if (errno != 0)
        {
            return errno;
        }

        for (long at = blockStart; at < end; at += BlockBytes)
        {
            if (!IsIntact(_address, (int)(at / BlockBytes), _contentBytes, _blockCrcs))
            {
                return Errno.InputOutput;
            }
        }

        new ReadOnlySpan<MaildropEntry>((byte*)_address + start, entries.Length).CopyTo(entries);
        return 0;
    }

    /// <summary>The caller holds the table's lock, or retains it already.</summary>
    public void Retain()
    {
        _ = Interlocked.Increment(ref _references);
    }

    public void Release()
    {
        if (Interlocked.Decrement(ref _references) == 0)
        {
            _ = _file.Unmap(_address, Reference.Bytes);
            _file.Dispose();
        }
    }

    private static Shard? TryRead(IDiskFile file, nint address, Guid storeId, in ShardReference reference)
    {
        ReadOnlySpan<byte> all = new((void*)address, checked((int)reference.Bytes));
        int mailboxes = BinaryPrimitives.ReadInt32LittleEndian(all[56..]);
        long entries = BinaryPrimitives.ReadInt64LittleEndian(all[48..]);
        long content = EntriesOffset(Math.Max(0, mailboxes)) + (entries * EntryBytes);
        long blocks = (content + BlockBytes - 1) / BlockBytes;
        if (!all.StartsWith(Magic) || BinaryPrimitives.ReadUInt32LittleEndian(all[8..]) != Version
            || mailboxes < 0 || entries < 0 || content + (blocks * sizeof(uint)) != reference.Bytes
            || new Guid(all.Slice(16, 16)) != storeId
            || BinaryPrimitives.ReadInt32LittleEndian(all[12..]) != reference.Number)
        {
            return null;
        }

        ReadOnlySpan<byte> table = all[(int)content..];
        uint[] crcs = MemoryMarshal.Cast<byte, uint>(table).ToArray();
        bool isIntact = Crc32C.Extend(0, table) == reference.TableCrc;
        for (int block = 0; block < blocks && isIntact; block++)
        {
            isIntact = IsIntact(address, block, content, crcs);
        }

        if (!isIntact)
        {
            return null;
        }

        ShardMailbox[] directory =
            MemoryMarshal.Cast<byte, ShardMailbox>(all.Slice(HeaderBytes, mailboxes * MailboxBytes)).ToArray();
        ulong floor = BinaryPrimitives.ReadUInt64LittleEndian(all[40..]);
        return new Shard(file, address, reference, content, crcs, directory, floor);
    }

    private static bool IsIntact(nint address, int block, long contentBytes, uint[] crcs)
    {
        long at = (long)block * BlockBytes;
        ReadOnlySpan<byte> bytes = new((byte*)address + at, (int)Math.Min(BlockBytes, contentBytes - at));
        return Crc32C.Extend(0, bytes) == crcs[block];
    }
}

/// <summary>A mailbox in the directory of a shard file, 48 octets as on disk. A value.</summary>
[StructLayout(LayoutKind.Sequential, Size = Shard.MailboxBytes)]
internal readonly record struct ShardMailbox
{
    public ulong MailboxId { get; init; }

    /// <summary>Where its entries begin, counted in entries.</summary>
    public long FirstEntry { get; init; }

    public long Count { get; init; }

    public long Octets { get; init; }

    public ulong NextUid { get; init; }
}

/// <summary>Entries in a shard file; none when there is no shard. A value.</summary>
internal readonly record struct ShardSlice(Shard? Shard, long First, int Count)
{
    /// <summary>A copy of the entries. The shard is retained, or the caller is the one who replaces it.</summary>
    public int Read(out MaildropEntry[] entries)
    {
        entries = Count == 0 ? [] : GC.AllocateUninitializedArray<MaildropEntry>(Count);
        return Shard is null ? 0 : Shard.Read(First, entries);
    }
}
