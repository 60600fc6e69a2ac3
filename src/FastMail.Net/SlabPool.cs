namespace FastMail.Net;

/// <summary>
/// Free receive slabs: pinned arrays that the kernel writes into. Last in, first out, so a loop at work stays within a
/// few warm ones. Owned by the loop, touched on the loop thread only; a rented slab has one owner, its connection.
/// </summary>
internal sealed class SlabPool(int slabBytes, int kept)
{
    private readonly Stack<byte[]> _free = new();

    public int SlabBytes => slabBytes;

    /// <summary>Slabs that are out; 0 when every connection is idle.</summary>
    public int Rented { get; private set; }

    public byte[] Rent()
    {
        Rented++;
        return _free.TryPop(out byte[]? slab) ? slab : GC.AllocateUninitializedArray<byte>(slabBytes, pinned: true);
    }

    public void Return(byte[] slab)
    {
        Rented--;
        if (_free.Count < kept)
        {
            _free.Push(slab);
        }
    }
}
