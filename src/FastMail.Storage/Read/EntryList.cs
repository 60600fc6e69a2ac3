namespace FastMail.Storage;

/// <summary>
/// Entries in memory that only ever grow at their end, in pieces, so that growth never copies more than 32 KB however
/// long the list is. A value: a copy of it goes on to see what it saw, because nothing it can see is written again.
/// The original belongs to one maildrop and is added to under its table's lock.
/// </summary>
internal struct EntryList
{
    private const int PieceEntries = 1024;

    private MaildropEntry[][] _pieces;

    public int Count { get; private set; }

    public readonly ref readonly MaildropEntry this[int index] => ref _pieces[index / PieceEntries][index % PieceEntries];

    public void Add(in MaildropEntry entry)
    {
        int piece = Count / PieceEntries;
        int at = Count % PieceEntries;
        if (_pieces is null || piece == _pieces.Length)
        {
            GrowPieces();
        }

        MaildropEntry[]? place = _pieces![piece];
        if (place is null || at == place.Length)
        {
            place = GrowPiece(piece, at);
        }

        place[at] = entry;
        Count++;
    }

    /// <summary>Changes an entry in place: only while the log is opened, when nobody has a copy of this value.</summary>
    public readonly void Set(int index, in MaildropEntry entry)
    {
        _pieces[index / PieceEntries][index % PieceEntries] = entry;
    }

    /// <summary>Adds the entries from <paramref name="first"/> on.</summary>
    public void AddRange(in EntryList other, int first)
    {
        for (int i = first; i < other.Count; i++)
        {
            Add(other[i]);
        }
    }

    /// <summary>The entries in order, in as few spans as they are kept in.</summary>
    public readonly ReadOnlySpan<MaildropEntry> Piece(int first)
    {
        int at = first % PieceEntries;
        return _pieces[first / PieceEntries].AsSpan(at, Math.Min(PieceEntries - at, Count - first));
    }

    // A new outer array each time, never a changed one: copies of this value keep the old.
    private void GrowPieces()
    {
        MaildropEntry[][] larger = new MaildropEntry[Math.Max(1, (_pieces?.Length ?? 0) * 2)][];
        _pieces?.CopyTo(larger, 0);
        _pieces = larger;
    }

    /// <summary>The first piece begins small, for most maildrops are; all others have their full length at once.</summary>
    private readonly MaildropEntry[] GrowPiece(int piece, int used)
    {
        MaildropEntry[] larger = new MaildropEntry[piece > 0 ? PieceEntries : Math.Clamp(used * 2, 4, PieceEntries)];
        _pieces[piece]?.CopyTo(larger, 0);
        _pieces[piece] = larger; // the same entries at the same places: whoever sees this array sees no difference
        return larger;
    }
}
