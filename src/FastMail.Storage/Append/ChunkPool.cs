namespace FastMail.Storage;

/// <summary>
/// Pinned 64 KiB chunks for message content beyond the first 4 KiB. Owned by the <see cref="MailLog"/>; any thread.
/// A chunk belongs to whoever rented it until it is returned.
/// </summary>
internal sealed class ChunkPool(int keptChunks)
{
    public const int ChunkBytes = 64 * 1024;

    private readonly Lock _gate = new();
    private readonly byte[][] _kept = new byte[keptChunks][];
    private int _count;

    public byte[] Rent()
    {
        lock (_gate)
        {
            if (_count > 0)
            {
                return _kept[--_count];
            }
        }

        return GC.AllocateUninitializedArray<byte>(ChunkBytes, pinned: true);
    }

    /// <summary>Keeps the chunk, or leaves it to the collector when enough are kept.</summary>
    public void Return(byte[] chunk)
    {
        lock (_gate)
        {
            if (_count < _kept.Length)
            {
                _kept[_count++] = chunk;
            }
        }
    }
}
