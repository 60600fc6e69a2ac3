using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>
/// A growing run of octets in pinned memory: 4 KiB of its own, then chunks of the pool. Owned by one
/// <see cref="PendingMessage"/>. Chunk sizes are multiples of the record alignment, so padding always fits the last.
/// </summary>
internal sealed class ChunkedBuffer(ChunkPool pool)
{
    public const int FirstChunkBytes = 4096;

    private readonly byte[] _first = GC.AllocateUninitializedArray<byte>(FirstChunkBytes, pinned: true);
    private byte[][] _more = new byte[4][];
    private int _moreCount;
    private byte[] _tail = [];
    private int _tailUsed;

    /// <summary>Octets written.</summary>
    public long Length { get; private set; }

    /// <summary>The first chunk: the header and usually the meta.</summary>
    public Span<byte> First => _first;

    /// <summary>
    /// Empties the buffer and returns the pool's chunks; the first <paramref name="length"/> octets stay.
    /// </summary>
    public void Reset(int length)
    {
        Truncate(length);
    }

    public void Write(ReadOnlySpan<byte> octets)
    {
        Length += octets.Length;
        while (!octets.IsEmpty)
        {
            if (_tailUsed == _tail.Length)
            {
                AddChunk();
            }

            ReadOnlySpan<byte> part = octets[..Math.Min(octets.Length, _tail.Length - _tailUsed)];
            part.CopyTo(_tail.AsSpan(_tailUsed));
            _tailUsed += part.Length;
            octets = octets[part.Length..];
        }
    }

    /// <summary>Overwrites octets written before.</summary>
    public void Patch(long position, ReadOnlySpan<byte> octets)
    {
        while (!octets.IsEmpty)
        {
            Span<byte> place = At(position);
            int part = Math.Min(place.Length, octets.Length);
            octets[..part].CopyTo(place);
            octets = octets[part..];
            position += part;
        }
    }

    public void Patch(long position, ulong value)
    {
        Span<byte> octets = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt64LittleEndian(octets, value);
        Patch(position, octets);
    }

    /// <summary>Copies octets written before.</summary>
    public void Copy(long position, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            ReadOnlySpan<byte> place = At(position);
            int part = Math.Min(place.Length, destination.Length);
            place[..part].CopyTo(destination);
            destination = destination[part..];
            position += part;
        }
    }

    /// <summary>CRC of a range.</summary>
    public uint Crc(long position, long length)
    {
        uint crc = 0;
        while (length > 0)
        {
            ReadOnlySpan<byte> place = At(position);
            place = place[..(int)Math.Min(place.Length, length)];
            crc = Crc32C.Extend(crc, place);
            position += place.Length;
            length -= place.Length;
        }

        return crc;
    }

    /// <summary>
    /// Moves everything from <paramref name="position"/> on into a body; whole chunks change hands without a copy.
    /// </summary>
    public void MoveTo(long position, PendingBody body)
    {
        if (position < FirstChunkBytes)
        {
            body.Append(_first.AsSpan((int)position, (int)Math.Min(FirstChunkBytes, Length) - (int)position));
        }

        for (int i = 0; i < _moreCount; i++)
        {
            long start = FirstChunkBytes + ((long)i * ChunkPool.ChunkBytes);
            int used = i == _moreCount - 1 ? _tailUsed : ChunkPool.ChunkBytes;
            if (start >= position)
            {
                body.Adopt(_more[i], used);
                _more[i] = null!;
            }
            else if (start + used > position)
            {
                body.Append(_more[i].AsSpan((int)(position - start), (int)(start + used - position)));
            }
        }

        Truncate(position);
    }

    /// <summary>Forgets everything from <paramref name="length"/> on; chunks that empties go back to the pool.</summary>
    public void Truncate(long length)
    {
        long behindFirst = Math.Max(0, length - FirstChunkBytes);
        int kept = (int)((behindFirst + ChunkPool.ChunkBytes - 1) / ChunkPool.ChunkBytes);
        for (int i = kept; i < _moreCount; i++)
        {
            if (_more[i] is { } chunk)
            {
                pool.Return(chunk);
                _more[i] = null!;
            }
        }

        _moreCount = kept;
        _tail = kept == 0 ? _first : _more[kept - 1];
        _tailUsed = (int)(kept == 0 ? length : behindFirst - ((long)(kept - 1) * ChunkPool.ChunkBytes));
        Length = length;
    }

    public void AddTo(VectorList vectors)
    {
        vectors.Add(_first, 0, _moreCount == 0 ? _tailUsed : FirstChunkBytes);
        for (int i = 0; i < _moreCount; i++)
        {
            vectors.Add(_more[i], 0, i == _moreCount - 1 ? _tailUsed : ChunkPool.ChunkBytes);
        }
    }

    /// <summary>The octets from <paramref name="position"/> to the end of the chunk they are in.</summary>
    private Span<byte> At(long position)
    {
        if (position < FirstChunkBytes)
        {
            return _first.AsSpan((int)position);
        }

        (long chunk, long offset) = Math.DivRem(position - FirstChunkBytes, ChunkPool.ChunkBytes);
        return _more[chunk].AsSpan((int)offset);
    }

    private void AddChunk()
    {
        if (_moreCount == _more.Length)
        {
            Array.Resize(ref _more, _moreCount * 2);
        }

        _tail = pool.Rent();
        _tailUsed = 0;
        _more[_moreCount++] = _tail;
    }
}
