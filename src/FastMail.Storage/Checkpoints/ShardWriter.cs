using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Writes shard files: in each the mailboxes of the old shard with those that have changed in their places. Several are
/// flushed together: one by one, every flush would be a commit of the file system's journal, on the disk that the log
/// is written to. Owned by the checkpointer and used by its thread.
/// </summary>
internal sealed class ShardWriter
{
    private const string TemporarySuffix = ".tmp";
    private const int FileTooBig = 27; // EFBIG

    private readonly byte[] _block = GC.AllocateArray<byte>(Shard.BlockBytes, pinned: true);
    private readonly List<uint> _crcs = [];
    private readonly List<CapturedMaildrop> _maildrops = [];
    private readonly List<(IDiskFile File, string Path)> _unflushed = [];
    private IDiskFile? _file;
    private int _used;
    private long _written;
    private int _errno;

    /// <summary>Writes the file under its temporary name; answers an errno. <see cref="Flush"/> is due.</summary>
    /// <param name="disk">Where.</param>
    /// <param name="directory">The directory of the checkpoint.</param>
    /// <param name="storeId">Whose.</param>
    /// <param name="number">Which shard.</param>
    /// <param name="old">The shard that it replaces, null when there is none.</param>
    /// <param name="changed">What differs from that; sorted here.</param>
    /// <param name="capture">The moment.</param>
    /// <param name="reference">What the manifest says of the file.</param>
    public int Write(
        IDisk disk, string directory, Guid storeId, int number, Shard? old, List<CapturedMaildrop> changed,
        in TableCapture capture, out ShardReference reference)
    {
        Merge(old, changed);
        string path = Path.Join(directory, Shard.FileName(number));
        reference = default;
        long entries = _maildrops.Sum(m => (long)m.State.Count);
        if (Shard.EntriesOffset(_maildrops.Count) + (entries * Shard.EntryBytes) > int.MaxValue / 2)
        {
            return FileTooBig;
        }

        int errno = disk.Open(path + TemporarySuffix, FileUse.CreateEmpty, out _file);
        if (errno != 0)
        {
            return errno;
        }

        _unflushed.Add((_file!, path));
        WriteContent(number, storeId, capture, entries);
        reference = Finish(number, capture.Point.Lsn);
        _file!.BeginFlush();
        _maildrops.Clear();
        return _errno;
    }

    /// <summary>
    /// Flushes what was written and gives each file its name. Answers an errno; the names are not durable before their
    /// directory is flushed.
    /// </summary>
    public int Flush(IDisk disk)
    {
        int errno = 0;
        foreach ((IDiskFile file, string path) in _unflushed)
        {
            errno = errno != 0 ? errno : file.Flush();
            errno = errno != 0 ? errno : disk.Rename(path + TemporarySuffix, path);
        }

        Abandon();
        return errno;
    }

    /// <summary>Closes what was written and will not be flushed.</summary>
    public void Abandon()
    {
        _unflushed.ForEach(f => f.File.Dispose());
        _unflushed.Clear();
    }

    private void Merge(Shard? old, List<CapturedMaildrop> changed)
    {
        _maildrops.Clear();
        changed.Sort(static (a, b) => a.MailboxId.CompareTo(b.MailboxId));
        int next = 0;
        for (int i = 0; i < (old?.Mailboxes.Length ?? 0); i++)
        {
            ulong mailboxId = old!.Mailboxes[i].MailboxId;
            for (; next < changed.Count && changed[next].MailboxId < mailboxId; next++)
            {
                _maildrops.Add(changed[next]);
            }

            if (next < changed.Count && changed[next].MailboxId == mailboxId)
            {
                _maildrops.Add(changed[next++]);
            }
            else
            {
                _maildrops.Add(new CapturedMaildrop(mailboxId, old.StateOf(i)));
            }
        }

        _maildrops.AddRange(changed.Skip(next));
    }

    private void WriteContent(int number, Guid storeId, in TableCapture capture, long entries)
    {
        _crcs.Clear();
        _used = 0;
        _written = 0;
        _errno = 0;
        Span<byte> header = stackalloc byte[Shard.HeaderBytes];
        Shard.WriteHeader(
            header, number, storeId, capture.Point.Lsn, capture.UidFloor, _maildrops.Count, entries);
        Put(header);
        long first = 0;
        foreach (CapturedMaildrop maildrop in _maildrops)
        {
            ShardMailbox mailbox = new()
            {
                MailboxId = maildrop.MailboxId,
                FirstEntry = first,
                Count = maildrop.State.Count,
                Octets = maildrop.State.Octets,
                NextUid = maildrop.State.NextUidAt(capture.UidFloor),
            };
            Put(MemoryMarshal.AsBytes(new ReadOnlySpan<ShardMailbox>(in mailbox)));
            first += mailbox.Count;
        }

        Span<byte> padding = stackalloc byte[Shard.EntryBytes];
        padding.Clear();
        Put(padding[..(int)(Shard.EntriesOffset(_maildrops.Count) - _written - _used)]);
        foreach (CapturedMaildrop maildrop in _maildrops)
        {
            PutEntries(maildrop.State);
        }
    }

    private void PutEntries(in MaildropState state)
    {
        int errno = state.Stored.Read(out MaildropEntry[] stored);
        _errno = _errno != 0 ? _errno : errno;
        Put(MemoryMarshal.AsBytes(stored.AsSpan()));
        for (int at = 0; at < state.Recent.Count;)
        {
            ReadOnlySpan<MaildropEntry> piece = state.Recent.Piece(at);
            Put(MemoryMarshal.AsBytes(piece));
            at += piece.Length;
        }
    }

    private void Put(ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty && _errno == 0)
        {
            int part = Math.Min(bytes.Length, _block.Length - _used);
            bytes[..part].CopyTo(_block.AsSpan(_used));
            bytes = bytes[part..];
            _used += part;
            if (_used == _block.Length)
            {
                EndBlock();
            }
        }
    }

    private void EndBlock()
    {
        ReadOnlySpan<byte> block = _block.AsSpan(0, _used);
        _crcs.Add(Crc32C.Extend(0, block));
        _errno = _file!.WriteAll(block, _written);
        _written += _used;
        _used = 0;
    }

    private ShardReference Finish(int number, ulong lsn)
    {
        if (_used > 0 && _errno == 0)
        {
            EndBlock();
        }

        ReadOnlySpan<byte> table = MemoryMarshal.AsBytes(CollectionsMarshal.AsSpan(_crcs));
        _errno = _errno != 0 ? _errno : _file!.WriteAll(table, _written);
        return new ShardReference(number, Crc32C.Extend(0, table), lsn, _written + table.Length);
    }
}
