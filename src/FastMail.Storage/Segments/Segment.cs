using System.Buffers;
using System.Runtime.Intrinsics.X86;

namespace FastMail.Storage;

/// <summary>
/// One segment file: open, mapped read-only as a whole, of fixed length for life. Owned by the <see cref="MailLog"/>;
/// the appender alone writes to it, any thread reads what lies below <see cref="ReadableEnd"/>. Counted: the list holds
/// one reference, every <see cref="ReadLease"/> one more; map and descriptor close with the last.
/// </summary>
internal sealed class Segment : IDisposable
{
    private readonly IDiskFile _file;
    private readonly nint _address;
    private readonly MappedMemory _map;
    private long _readableEnd = SegmentHeader.Bytes;
    private int _references = 1;

    private Segment(IDiskFile file, in SegmentHeader header, string path, nint address, long length)
    {
        _file = file;
        _address = address;
        _map = new MappedMemory(address, (int)length);
        Header = header;
        Length = length;
        Path = path;
    }

    public SegmentHeader Header { get; }

    /// <summary>Made by compaction: complete since it has a name, never written again.</summary>
    public bool IsCold => Header.Generation != 0;

    /// <summary>What of it is still needed; guarded by <see cref="MaildropTable.Gate"/>.</summary>
    public SegmentLife Life { get; } = new();

    public string Path { get; }

    public IDiskFile File => _file;

    /// <summary>Bytes that can be read: all of the segment, or what is left of a file that was cut.</summary>
    public long Length { get; }

    /// <summary>
    /// Behind its records there may be octets of an earlier segment. Its records are told from them by their addresses.
    /// </summary>
    public bool IsReused => Header.IsReused;

    /// <summary>The file is shorter than it was made; recovery never lets anything be written into it again.</summary>
    public bool IsCut => Length < Header.SegmentBytes;

    public ulong BaseLsn => Header.BaseLsn;

    /// <summary>The LSN right behind the segment: the base of the next one.</summary>
    public ulong EndLsn => Header.BaseLsn + (ulong)Header.SegmentBytes;

    /// <summary>
    /// Offset below which records are durable and may be read; written by the appender, read by anyone.
    /// </summary>
    public long ReadableEnd
    {
        get => Volatile.Read(ref _readableEnd);
        set => Volatile.Write(ref _readableEnd, value);
    }

    /// <summary>The whole file. Populate a range before touching it.</summary>
    public ReadOnlyMemory<byte> Memory => _map.Memory;

    /// <summary>
    /// Maps a file of that many bytes whose header was just read or written. The file is the segment's from now on.
    /// </summary>
    public static int Open(
        IDiskFile file, in SegmentHeader header, long fileBytes, string path, out Segment? segment)
    {
        // Never beyond the end of the file: touching such a page would be a signal, and the end of the process.
        long length = Math.Min(header.SegmentBytes, fileBytes);
        segment = null;
        int errno = file.Map(length, out nint address);
        if (errno == 0)
        {
            segment = new Segment(file, header, path, address, length);
        }

        return errno;
    }

    /// <summary>Brings a range into memory, or says why it cannot be read.</summary>
    public int Populate(long offset, long length)
    {
        return _file.Populate(_address, offset, length);
    }

    /// <summary>
    /// A start reads much of a segment that nobody asks for afterwards. Whoever reads populates first, so this is safe
    /// at any time.
    /// </summary>
    public int Depopulate()
    {
        return _file.Depopulate(_address, Length);
    }

    /// <summary>
    /// Says that this place is looked at next: a start spends most of its time waiting for memory. Never an error.
    /// </summary>
    public unsafe void Prefetch(long offset)
    {
        const int LineBytes = 64;
        const int Lines = 5; // header, envelope and trace of most messages

        if (Sse.IsSupported && offset + (Lines * LineBytes) <= Length)
        {
            byte* place = (byte*)_address + offset;
            for (int line = 0; line < Lines; line++)
            {
                Sse.Prefetch0(place + (line * LineBytes));
            }
        }
    }

    /// <summary>Bytes of the map; only after <see cref="Populate"/> of the range.</summary>
    public unsafe ReadOnlySpan<byte> Span(long offset, int length)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset + length, Length);
        return new ReadOnlySpan<byte>((byte*)_address + offset, length);
    }

    /// <summary>Somebody besides the list holds it.</summary>
    public bool HasReaders => Volatile.Read(ref _references) > 1;

    /// <summary>One more holds it; false when it is closed already.</summary>
    public bool TryRetain()
    {
        int references = Volatile.Read(ref _references);
        while (references > 0)
        {
            int seen = Interlocked.CompareExchange(ref _references, references + 1, references);
            if (seen == references)
            {
                return true;
            }

            references = seen;
        }

        return false;
    }

    /// <summary>
    /// Gives one reference back; with the last it unmaps and closes. Whoever gives it back holds no slice any more:
    /// touching one would end the process.
    /// </summary>
    public void Dispose()
    {
        _ = Release();
    }

    /// <summary>The same; true when it was the last.</summary>
    public bool Release()
    {
        bool isLast = Interlocked.Decrement(ref _references) == 0;
        if (isLast)
        {
            _ = _file.Unmap(_address, Length);
            _file.Dispose();
        }

        return isLast;
    }

    /// <summary>
    /// Makes <see cref="Memory{T}"/> of the mapping, so that slices go to a socket without a copy. Owned by its
    /// segment; any thread; the slices are read-only by the protection of their pages.
    /// </summary>
    private sealed unsafe class MappedMemory(nint address, int length) : MemoryManager<byte>
    {
        public override Span<byte> GetSpan()
        {
            return new Span<byte>((byte*)address, length);
        }

        public override MemoryHandle Pin(int elementIndex = 0)
        {
            return new MemoryHandle((byte*)address + elementIndex); // a mapping never moves
        }

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }
}
