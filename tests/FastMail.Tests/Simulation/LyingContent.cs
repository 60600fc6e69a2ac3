using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastMail.Tests.Simulation;

/// <summary>
/// What one name of a <see cref="LyingDisk"/> stands for: a directory, or a file with what the page cache holds, what
/// the platter holds, and every version of every block on the way from one to the other. Guarded by its disk's lock;
/// the cache's memory is read through maps without it, as the log orders its own reads and writes.
/// </summary>
internal sealed class LyingContent(int blockBytes, bool isDirectory)
{
    private const int SectorBytes = 512;

    // A file is made of zeros first, so most versions of most blocks are this one.
    private readonly byte[] _zeros = new byte[isDirectory ? 0 : blockBytes];
    private readonly List<long> _unflushedLengths = [];
    private BlockVersions[] _unflushed = [];
    private int _unflushedBlocks;
    private byte[] _cache = [];
    private byte[] _platter = [];
    private long _platterLength;

    private enum Loss
    {
        Everything,
        Nothing,
        AnyBlock,
    }

    public bool IsDirectory => isDirectory;

    public long Length { get; private set; }

    public bool HasUnflushed => _unflushedBlocks > 0 || _unflushedLengths.Count > 0;

    /// <summary>Octets of it that were given back to the disk.</summary>
    public long PunchedBytes { get; set; }

    /// <summary>Maps of it that are in use: its memory must stay where it is.</summary>
    public int Maps { get; set; }

    /// <summary>The process that holds the lock; null when nobody does.</summary>
    public object? LockedBy { get; set; }

    public unsafe nint Address => (nint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_cache));

    private bool IsSettled => !HasUnflushed && Length == _platterLength && _cache.AsSpan().SequenceEqual(_platter);

    public ReadOnlySpan<byte> Cache => _cache.AsSpan(0, (int)Length);

    public void SetLength(long bytes)
    {
        Reserve(bytes);
        if (bytes < Length)
        {
            _cache.AsSpan((int)bytes, (int)(Length - bytes)).Clear();
            Remember(bytes, Length - bytes);
        }

        Length = bytes;
        _unflushedLengths.Add(bytes);
    }

    public void Write(ReadOnlySpan<byte> bytes, long offset)
    {
        if (offset + bytes.Length > Length)
        {
            SetLength(offset + bytes.Length);
        }

        bytes.CopyTo(_cache.AsSpan((int)offset));
        Remember(offset, bytes.Length);
    }

    public void Flush()
    {
        for (int block = 0; _unflushedBlocks > 0; block++)
        {
            if (_unflushed[block].Count > 0)
            {
                Block(_cache, block).CopyTo(Block(_platter, block));
                Forget(block);
            }
        }

        _unflushedLengths.Clear();
        _platterLength = Length;
    }

    /// <summary>The same on another disk, where no process has it open.</summary>
    public LyingContent Copy()
    {
        LyingContent copy = new(blockBytes, isDirectory);
        copy.Reserve(_cache.Length);
        _cache.CopyTo(copy._cache, 0);
        _platter.CopyTo(copy._platter, 0);
        for (int block = 0; block < _unflushed.Length; block++)
        {
            copy._unflushed[block] = _unflushed[block].Copy();
        }

        copy._unflushedBlocks = _unflushedBlocks;
        copy._unflushedLengths.AddRange(_unflushedLengths);
        copy._platterLength = _platterLength;
        copy.PunchedBytes = PunchedBytes;
        copy.Length = Length;
        return copy;
    }

    /// <summary>No process, and no loss of power, could tell it from the other: nothing of either is unflushed.</summary>
    public bool IsSettledLike(LyingContent other)
    {
        return IsSettled && other.IsSettled && IsDirectory == other.IsDirectory && Cache.SequenceEqual(other.Cache);
    }

    /// <summary>
    /// What Linux does with a flush that failed: some blocks reached the platter, some did not, and the cache calls
    /// all of them clean, so that no later flush will write them.
    /// </summary>
    public void FailFlush(Random random)
    {
        Settle(random, (Loss)random.Next(3));
    }

    /// <summary>The cache forgets its clean blocks: from here on a reader sees what the platter has.</summary>
    public void Evict()
    {
        for (int block = 0; (long)block * blockBytes < _platter.Length; block++)
        {
            if (_unflushed[block].Count == 0)
            {
                Block(_platter, block).CopyTo(Block(_cache, block));
            }
        }
    }

    /// <summary>The cache is gone. Of the unflushed blocks any may have arrived, in any version, whole or torn.</summary>
    public void LosePower(Random random, bool keepsNothing)
    {
        Settle(random, keepsNothing ? Loss.Everything : (Loss)random.Next(3));
        if (!keepsNothing && _unflushedLengths.Count > 0 && random.Next(3) != 0)
        {
            _platterLength = _unflushedLengths[random.Next(_unflushedLengths.Count)];
        }

        _unflushedLengths.Clear();
        _platter.AsSpan((int)_platterLength).Clear();
        Length = _platterLength;
        _platter.CopyTo(_cache, 0);
        LockedBy = null;
        Maps = 0;
    }

    /// <summary>Bit rot: in the cache and on the platter.</summary>
    public void FlipBit(long offset, int bit)
    {
        _cache[offset] ^= (byte)(1 << bit);
        _platter[offset] ^= (byte)(1 << bit);
    }

    /// <summary>Decides of every unflushed block, in their order, what of it the platter has.</summary>
    private void Settle(Random random, Loss loss)
    {
        for (int block = 0; _unflushedBlocks > 0; block++)
        {
            ref readonly BlockVersions versions = ref _unflushed[block];
            if (versions.Count == 0)
            {
                continue;
            }

            Span<byte> place = Block(_platter, block);
            if (loss == Loss.Nothing)
            {
                versions.Last.CopyTo(place);
            }
            else if (loss == Loss.AnyBlock)
            {
                SettleBlock(random, versions, place);
            }

            Forget(block);
        }
    }

    private void SettleBlock(Random random, in BlockVersions versions, Span<byte> place)
    {
        switch (random.Next(4))
        {
            case 0:
                break; // never written
            case 1:
                versions.Last.CopyTo(place);
                break;
            case 2:
                versions[random.Next(versions.Count)].CopyTo(place); // an older one, overtaken by the loss
                break;
            default:
                // Torn: the start of one version and the end of another, or of what was there.
                int cut = random.Next(blockBytes);
                cut = random.Next(2) == 0 ? cut : cut & -SectorBytes;
                ReadOnlySpan<byte> version = versions[random.Next(versions.Count)];
                if (random.Next(2) == 0)
                {
                    version[..cut].CopyTo(place);
                }
                else
                {
                    version[cut..].CopyTo(place[cut..]);
                }

                break;
        }
    }

    private void Remember(long offset, long length)
    {
        for (long at = offset / blockBytes; at * blockBytes < offset + length; at++)
        {
            int block = (int)at;
            ReadOnlySpan<byte> now = Block(_cache, block);
            _unflushedBlocks += _unflushed[block].Count == 0 ? 1 : 0;
            _unflushed[block].Add(now.ContainsAnyExcept((byte)0) ? now.ToArray() : _zeros);
        }
    }

    private void Forget(int block)
    {
        _unflushed[block] = default;
        _unflushedBlocks--;
    }

    private Span<byte> Block(byte[] bytes, int block)
    {
        return bytes.AsSpan(block * blockBytes, blockBytes);
    }

    private void Reserve(long bytes)
    {
        int blocks = (int)((bytes + blockBytes - 1) / blockBytes);
        if (blocks * blockBytes <= _cache.Length)
        {
            return;
        }

        if (Maps > 0)
        {
            throw new InvalidOperationException("the log never grows a file that it has mapped");
        }

        byte[] cache = GC.AllocateArray<byte>(blocks * blockBytes, pinned: true);
        _cache.CopyTo(cache, 0);
        _cache = cache;
        Array.Resize(ref _platter, cache.Length);
        Array.Resize(ref _unflushed, blocks);
    }

    /// <summary>What one block was after each write since the last flush; mostly one. A value.</summary>
    private struct BlockVersions
    {
        private byte[]? _first;
        private List<byte[]>? _others;

        public readonly int Count => _first is null ? 0 : 1 + (_others?.Count ?? 0);

        public readonly ReadOnlySpan<byte> Last => this[Count - 1];

        public readonly ReadOnlySpan<byte> this[int index] => index == 0 ? _first! : _others![index - 1];

        public readonly BlockVersions Copy()
        {
            return new BlockVersions { _first = _first, _others = _others is null ? null : [.. _others] };
        }

        public void Add(byte[] version)
        {
            if (_first is null)
            {
                _first = version;
            }
            else
            {
                (_others ??= []).Add(version);
            }
        }
    }
}
