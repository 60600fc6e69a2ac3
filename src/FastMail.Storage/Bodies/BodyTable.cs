using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Which body files are still needed, and by how many maildrops: a fold over the log, like the maildrops. Owned by the
/// <see cref="MaildropTable"/> and guarded by its gate. The one place that decides when a body file may go.
/// </summary>
internal sealed class BodyTable
{
    /// <summary>Octets that <see cref="ToBytes"/> gives at least.</summary>
    public const int HeadBytes = 16;

    private const int SavedBytes = 20;

    private readonly Dictionary<ulong, Holding> _byLsn = [];
    private readonly List<ulong> _unused = [];

    /// <summary>Files that are in use.</summary>
    public int Count => _byLsn.Count;

    /// <summary>The highest id that any record named, also of messages that are gone.</summary>
    public ulong HighestId { get; private set; }

    /// <summary>
    /// Records are missing somewhere, which may have named files that are not here. A checkpoint carries it on: the
    /// starts after it do not read that part of the log again.
    /// </summary>
    public bool HasLostRecords { get; set; }

    /// <summary>Ids and addresses of what is in use.</summary>
    public IEnumerable<(ulong Id, ulong Lsn)> All => _byLsn.Select(h => (h.Value.Id, h.Key));

    /// <summary>The record at this address names that file and has so many recipients.</summary>
    public void Add(ulong lsn, ulong id, int references)
    {
        HighestId = Math.Max(HighestId, id);
        _byLsn[lsn] = new Holding(id, references);
    }

    /// <summary>Still named by a message of some maildrop.</summary>
    public bool Contains(ulong lsn)
    {
        return _byLsn.ContainsKey(lsn);
    }

    /// <summary>One maildrop has let go of the message at this address; with the last one its file is unused.</summary>
    public void Release(ulong lsn)
    {
        ref Holding holding = ref CollectionsMarshal.GetValueRefOrNullRef(_byLsn, lsn);
        if (!System.Runtime.CompilerServices.Unsafe.IsNullRef(ref holding) && --holding.References == 0)
        {
            _unused.Add(holding.Id);
            _ = _byLsn.Remove(lsn);
        }
    }

    /// <summary>The record that names a file has a new address.</summary>
    public void Move(ulong from, ulong to)
    {
        if (_byLsn.Remove(from, out Holding holding))
        {
            _byLsn[to] = holding;
        }
    }

    /// <summary>A copy of the record at this address does not count; another names the file.</summary>
    public void Forget(ulong lsn)
    {
        _ = _byLsn.Remove(lsn);
    }

    /// <summary>Moves what became unused to the end of that list.</summary>
    public void TakeUnused(List<ulong> ids)
    {
        if (_unused.Count > 0)
        {
            ids.AddRange(_unused);
            _unused.Clear();
        }
    }

    /// <summary>What the log said of files that are gone has been seen to: by the sweep of a start.</summary>
    public void ForgetUnused()
    {
        _unused.Clear();
    }

    /// <summary>As a checkpoint keeps it: highest id, lost records, then address, id and references of each file in use.</summary>
    public byte[] ToBytes()
    {
        byte[] bytes = new byte[HeadBytes + (_byLsn.Count * SavedBytes)];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, HighestId);
        bytes[sizeof(ulong)] = HasLostRecords ? (byte)1 : (byte)0;
        Span<byte> rest = bytes.AsSpan(HeadBytes);
        foreach ((ulong lsn, Holding holding) in _byLsn)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(rest, lsn);
            BinaryPrimitives.WriteUInt64LittleEndian(rest[8..], holding.Id);
            BinaryPrimitives.WriteInt32LittleEndian(rest[16..], holding.References);
            rest = rest[SavedBytes..];
        }

        return bytes;
    }

    /// <summary>Begins with what <see cref="ToBytes"/> gave; the manifest's CRC has been checked.</summary>
    public void Load(ReadOnlySpan<byte> bytes)
    {
        HighestId = BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        HasLostRecords = bytes[sizeof(ulong)] != 0;
        for (bytes = bytes[HeadBytes..]; bytes.Length >= SavedBytes; bytes = bytes[SavedBytes..])
        {
            Add(
                BinaryPrimitives.ReadUInt64LittleEndian(bytes),
                BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]),
                BinaryPrimitives.ReadInt32LittleEndian(bytes[16..]));
        }
    }

    private struct Holding(ulong id, int references)
    {
        public readonly ulong Id = id;
        public int References = references;
    }
}
