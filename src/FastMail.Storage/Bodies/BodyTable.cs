using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Which body files are still needed, and by how many maildrops: a fold over the log, like the maildrops. Owned by the
/// <see cref="MaildropTable"/> and guarded by its gate. The one place that decides when a body file may go.
/// </summary>
internal sealed class BodyTable
{
    private readonly Dictionary<ulong, Holding> _byLsn = [];
    private readonly List<ulong> _unused = [];

    /// <summary>Files that are in use.</summary>
    public int Count => _byLsn.Count;

    /// <summary>The highest id that any record named, also of messages that are gone.</summary>
    public ulong HighestId { get; private set; }

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

    /// <summary>Moves what became unused to the end of that list.</summary>
    public void TakeUnused(List<ulong> ids)
    {
        if (_unused.Count > 0)
        {
            ids.AddRange(_unused);
            _unused.Clear();
        }
    }

    private struct Holding(ulong id, int references)
    {
        public readonly ulong Id = id;
        public int References = references;
    }
}
