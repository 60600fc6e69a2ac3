using System.Buffers.Binary;

namespace FastMail.Server.Relay;

/// <summary>
/// The recipients of one message that are to be relayed, in the order of their numbers. Owned and reused by whoever
/// builds the message; allocates only to grow. Loop thread only.
/// </summary>
internal sealed class ForwardPaths
{
    private const int LengthBytes = sizeof(ushort);
    private const int HereBytes = 1;

    private byte[] _octets = new byte[256];
    private int _used;

    public int Count { get; private set; }

    public void Clear()
    {
        _used = 0;
        Count = 0;
    }

    /// <summary>Copies it; false, and nothing changed, when the same path is in already.</summary>
    /// <param name="path">UTF-8, no angle brackets.</param>
    /// <param name="isHere">The record says what maildrops of this server it means: no way is looked for.</param>
    public bool TryAdd(ReadOnlySpan<byte> path, bool isHere = false)
    {
        int needed = LengthBytes + HereBytes + path.Length;
        if (_used + needed > _octets.Length)
        {
            Array.Resize(ref _octets, Math.Max(_octets.Length * 2, _used + needed));
        }

        Span<byte> entry = _octets.AsSpan(_used, needed);
        BinaryPrimitives.WriteUInt16LittleEndian(entry, checked((ushort)path.Length));
        entry[LengthBytes] = isHere ? (byte)1 : (byte)0;
        path.CopyTo(entry[(LengthBytes + HereBytes)..]);
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
            if (path.SequenceEqual(entry[(LengthBytes + HereBytes)..]))
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

        /// <summary>Of the current one, as it was added.</summary>
        public bool IsHere { get; private set; }

        public bool MoveNext()
        {
            if (_rest.IsEmpty)
            {
                return false;
            }

            int length = BinaryPrimitives.ReadUInt16LittleEndian(_rest);
            IsHere = _rest[LengthBytes] != 0;
            Current = _rest.Slice(LengthBytes + HereBytes, length);
            _rest = _rest[(LengthBytes + HereBytes + length)..];
            return true;
        }
    }
}
