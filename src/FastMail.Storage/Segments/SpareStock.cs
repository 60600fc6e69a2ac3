namespace FastMail.Storage;

/// <summary>
/// The files that are ready to become segments, in the order in which they will, and the names they lie under. Owned by
/// the <see cref="SpareMaker"/>; every call under its gate.
/// </summary>
internal sealed class SpareStock
{
    private readonly List<Spare> _ready = [];
    private readonly HashSet<string> _names = new(StringComparer.Ordinal);

    public int Count => _ready.Count;

    /// <summary>Names that are promised to files which are not ready yet.</summary>
    public int Promised { get; private set; }

    /// <summary>A name that no file has; taken from now on, until it is given back.</summary>
    public string PromiseName()
    {
        int number = 0;
        while (!_names.Add(SegmentFiles.SpareNameOf(number)))
        {
            number++;
        }

        Promised++;
        return SegmentFiles.SpareNameOf(number);
    }

    /// <summary>The file under a promised name is ready.</summary>
    /// <param name="file">Behind all others.</param>
    /// <param name="orderedBytes">How long it was to be; it is shorter when the disk had no more room.</param>
    public void Add(in PreparedFile file, long orderedBytes)
    {
        Promised--;
        _ready.Add(new Spare(file, orderedBytes));
    }

    /// <summary>A file that an earlier run left behind.</summary>
    public void AddFound(in PreparedFile file)
    {
        _ = _names.Add(file.FileName);
        _ready.Add(new Spare(file, file.Bytes));
    }

    /// <summary>Nothing came of a promised name.</summary>
    public void Withdraw(string name)
    {
        Promised--;
        GiveBack(name);
    }

    /// <summary>No file has the name any more.</summary>
    public void GiveBack(string name)
    {
        _ = _names.Remove(name);
    }

    /// <summary>
    /// The first with room for such a record; false when there is none. Its name is given back by whoever takes it.
    /// </summary>
    public bool TryTake(long recordBytes, out PreparedFile file)
    {
        int at = _ready.FindIndex(s => recordBytes <= GroupWriter.RoomIn(s.File.Bytes));
        file = at >= 0 ? _ready[at].File : default;
        if (at >= 0)
        {
            _ready.RemoveAt(at);
        }

        return at >= 0;
    }

    /// <summary>The one that would be used last; likewise. Never the only one.</summary>
    public bool TryTakeExtra(out PreparedFile file)
    {
        bool isThere = _ready.Count > 1;
        file = isThere ? _ready[^1].File : default;
        if (isThere)
        {
            _ready.RemoveAt(_ready.Count - 1);
        }

        return isThere;
    }

    /// <summary>The disk had no room for one of that size.</summary>
    public bool WasTried(long bytes)
    {
        return _ready.Exists(s => s.OrderedBytes >= bytes);
    }

    public void Dispose()
    {
        _ready.ForEach(static s => s.File.File.Dispose());
        _ready.Clear();
    }

    private readonly record struct Spare(PreparedFile File, long OrderedBytes);
}
