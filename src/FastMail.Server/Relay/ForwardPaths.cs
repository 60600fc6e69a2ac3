using System.Buffers.Binary;

namespace FastMail.Server.Relay;

/// <summary>
/// The recipients of one message that are to be relayed, in the order of their numbers. Owned and reused by whoever
/// builds the message; allocates only to grow. Loop thread only.
/// </summary>
internal sealed class ForwardPaths
{
    private const int LengthBytes = sizeof(ushort);

    private byte[] _octets = new byte[256];
    private int _used;

    public int Count { get; private set; }

    public void Clear()
    {
        _used = 0;
        Count = 0;
    }

    /// <summary>Copies it; false, and nothing changed, when the same path is in already.</summary>
    public bool TryAdd(ReadOnlySpan<byte> path)
    {
        int needed = LengthBytes + path.Length;
        if (_used + needed > _octets.Length)
        {
            Array.Resize(ref _octets, Math.Max(_octets.Length * 2, _used + needed));
        }

        Span<byte> entry = _octets.AsSpan(_used, needed);
        BinaryPrimitives.WriteUInt16LittleEndian(entry, checked((ushort)path.Length));
        path.CopyTo(entry[LengthBytes..]);
        if (Holds(entry))
        {
            return false;
        }

        _used += needed;
        Count++;
        return true;
    }

    public Enumerator GetEnumerator() => new(_octets.AsSpan(0, _used));

    private bool Holds(ReadOnlySpan<byte> entry)
    {
        // A length is no character of a path, but may look like two of them: what is found has to begin an entry.
        ReadOnlySpan<byte> rest = _octets.AsSpan(0, _used);
        if (rest.IndexOf(entry) < 0)
        {
            return false;
        }

        foreach (ReadOnlySpan<byte> path in this)
        {
            if (path.SequenceEqual(entry[LengthBytes..]))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>A walk over the paths; dies with them.</summary>
    public ref struct Enumerator(ReadOnlySpan<byte> octets)
    {
        private ReadOnlySpan<byte> _rest = octets;

        public ReadOnlySpan<byte> Current { get; private set; }

        public bool MoveNext()
        {
            if (_rest.IsEmpty)
            {
                return false;
            }

            int length = BinaryPrimitives.ReadUInt16LittleEndian(_rest);
            Current = _rest.Slice(LengthBytes, length);
            _rest = _rest[(LengthBytes + length)..];
            return true;
        }
    }
}
