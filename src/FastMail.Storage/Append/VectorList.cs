namespace FastMail.Storage;

/// <summary>
/// The pieces of memory of one gathered write, in order. Owned and used by the appender alone; reused.
/// </summary>
internal sealed class VectorList
{
    private IoVector[] _vectors = new IoVector[1024];

    public int Count { get; private set; }

    public Span<IoVector> All => _vectors.AsSpan(0, Count);

    public void Clear()
    {
        Count = 0;
    }

    /// <summary>Forgets those behind the first <paramref name="count"/>.</summary>
    public void CutTo(int count)
    {
        Count = count;
    }

    public void Add(byte[] pinned, int offset, int length)
    {
        if (Count == _vectors.Length)
        {
            Array.Resize(ref _vectors, Count * 2);
        }

        _vectors[Count++] = new IoVector(DiskWriting.AddressOf(pinned, offset), length);
    }
}
