namespace FastMail.Storage;

/// <summary>
/// A file seen through one aligned buffer of 256 KiB. Where the disk cannot read, the pages around it still come: what
/// is unreadable is found to the page. Owned by whoever looks through it; one thread at a time; what it returns is
/// valid until the next call.
/// </summary>
internal sealed class ScrubWindow(ScrubPace pace)
{
    public const int PageBytes = 4096;

    private const int Bytes = 256 * 1024;

    private readonly byte[] _memory = GC.AllocateUninitializedArray<byte>(Bytes + PageBytes, pinned: true);
    private readonly bool[] _isBad = new bool[Bytes / PageBytes];
    private IDiskFile? _file;
    private CancellationToken _cancellation;
    private long _fileBytes;
    private long _start;
    private int _length;

    /// <summary>Octets read from disks so far.</summary>
    public long ReadBytes { get; private set; }

    /// <summary>What the disk said last when it could not read; 0 when it always could in this file.</summary>
    public int Error { get; private set; }

    // Direct reads need memory at a multiple of the sector's length.
    private int First => (int)(-(long)DiskWriting.AddressOf(_memory, 0) & (PageBytes - 1));

    /// <summary>Looks at another file from now on.</summary>
    public void Open(IDiskFile file, long fileBytes, CancellationToken cancellation)
    {
        _file = file;
        _fileBytes = fileBytes;
        _cancellation = cancellation;
        _length = 0;
        Error = 0;
    }

    /// <summary>All of a range of at most a page; false when any of it cannot be read or is not there.</summary>
    public bool TryGet(long offset, int length, out ReadOnlySpan<byte> bytes)
    {
        bytes = default;
        if (offset + length > _fileBytes)
        {
            return false;
        }

        if (offset < _start || offset + length > _start + _length)
        {
            Fill(offset);
        }

        int at = (int)(offset - _start);
        if (at + length > _length || _isBad[at / PageBytes] || _isBad[(at + length - 1) / PageBytes])
        {
            return false;
        }

        bytes = _memory.AsSpan(First + at, length);
        return true;
    }

    /// <summary>
    /// As much of a range as one look gives, one octet at least; empty when that cannot be read or is not there.
    /// </summary>
    public ReadOnlySpan<byte> Run(long offset, long most)
    {
        if (offset >= _fileBytes)
        {
            return default;
        }

        if (offset < _start || offset >= _start + _length)
        {
            Fill(offset);
        }

        int at = (int)(offset - _start);
        int end = at;
        while (end < _length && end - at < most && !_isBad[end / PageBytes])
        {
            end = Math.Min((end & -PageBytes) + PageBytes, _length);
        }

        return _memory.AsSpan(First + at, (int)Math.Min(end - at, most));
    }

    private void Fill(long offset)
    {
        _start = offset & -PageBytes;
        _isBad.AsSpan().Clear();
        int errno = _file!.Read(_memory.AsSpan(First, Bytes), _start, out _length);
        if (errno != 0)
        {
            FillByPage(errno);
        }

        ReadBytes += _length;
        pace.Spend(_length, _cancellation);
    }

    private void FillByPage(int errno)
    {
        Error = errno;
        _length = (int)Math.Min(Bytes, _fileBytes - _start);
        for (int at = 0; at < _length; at += PageBytes)
        {
            int expected = Math.Min(PageBytes, _length - at);
            errno = _file!.Read(_memory.AsSpan(First + at, PageBytes), _start + at, out int read);
            _isBad[at / PageBytes] = errno != 0 || read < expected;
        }
    }
}
