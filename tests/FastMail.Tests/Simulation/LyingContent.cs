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

    private readonly SortedDictionary<int, List<byte[]>> _unflushed = [];
    private readonly List<long> _unflushedLengths = [];
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

    public bool HasUnflushed => _unflushed.Count > 0 || _unflushedLengths.Count > 0;

    /// <summary>Maps of it that are in use: its memory must stay where it is.</summary>
    public int Maps { get; set; }

    /// <summary>The process that holds the lock; null when nobody does.</summary>
    public object? LockedBy { get; set; }

    public unsafe nint Address => (nint)Unsafe.AsPointer(ref MemoryMarshal.GetArrayDataReference(_cache));

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
        foreach (int block in _unflushed.Keys)
        {
            Block(_cache, block).CopyTo(Block(_platter, block));
        }

        _unflushed.Clear();
        _unflushedLengths.Clear();
        _platterLength = Length;
    }

    /// <summary>
    /// What Linux does with a flush that failed: some blocks reached the platter, some did not, and the cache calls
    /// all of them clean, so that no later flush will write them.
    /// </summary>
    public void FailFlush(Random random)
    {
        Settle(random, (Loss)random.Next(3));
        _unflushed.Clear();
    }

    /// <summary>The cache forgets its clean blocks: from here on a reader sees what the platter has.</summary>
    public void Evict()
    {
        for (int block = 0; (long)block * blockBytes < _platter.Length; block++)
        {
            if (!_unflushed.ContainsKey(block))
            {
                Block(_platter, block).CopyTo(Block(_cache, block));
            }
        }
    }

    /// <summary>The cache is gone. Of the unflushed blocks any may have arrived, in any version, whole or torn.</summary>
    public void LosePower(Random random, bool keepsNothing)
    {
        Settle(random, keepsNothing ? Loss.Everything : (Loss)random.Next(3));
        _unflushed.Clear();
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

    private void Settle(Random random, Loss loss)
    {
        foreach ((int block, List<byte[]> versions) in _unflushed)
        {
            Span<byte> place = Block(_platter, block);
            if (loss == Loss.Nothing)
            {
                versions[^1].CopyTo(place);
            }
            else if (loss == Loss.AnyBlock)
            {
                SettleBlock(random, versions, place);
            }
        }
    }

    private void SettleBlock(Random random, List<byte[]> versions, Span<byte> place)
    {
        switch (random.Next(4))
        {
            case 0:
                break; // never written
            case 1:
                versions[^1].CopyTo(place);
                break;
            case 2:
                versions[random.Next(versions.Count)].CopyTo(place); // an older one, overtaken by the loss
                break;
            default:
                // Torn: the start of one version and the end of another, or of what was there.
                int cut = random.Next(blockBytes);
                cut = random.Next(2) == 0 ? cut : cut & -SectorBytes;
                byte[] version = versions[random.Next(versions.Count)];
                if (random.Next(2) == 0)
                {
                    version.AsSpan(0, cut).CopyTo(place);
                }
                else
                {
                    version.AsSpan(cut).CopyTo(place[cut..]);
                }

                break;
        }
    }

    private void Remember(long offset, long length)
    {
        for (long at = offset / blockBytes; at * blockBytes < offset + length; at++)
        {
            int block = (int)at;
            if (!_unflushed.TryGetValue(block, out List<byte[]>? versions))
            {
                _unflushed.Add(block, versions = []);
            }

            versions.Add(Block(_cache, block).ToArray());
        }
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
    }
}
