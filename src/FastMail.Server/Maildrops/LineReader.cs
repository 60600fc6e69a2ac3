namespace FastMail.Server.Maildrops;

/// <summary>Lines of a file of any length, as octets. Owned by one reader; one thread.</summary>
internal sealed class LineReader
{
    private readonly Stream _stream;
    private byte[] _buffer = new byte[1 << 16];
    private int _start;
    private int _end;
    private int _lineLength;

    public LineReader(Stream stream) => _stream = stream;

    /// <summary>Number of the line read last, from 1.</summary>
    public long Number { get; private set; }

    /// <summary>The line read last, without its end; valid until the next is read.</summary>
    public ReadOnlySpan<byte> Line => _buffer.AsSpan(_lineStart, _lineLength);

    private int _lineStart;

    /// <summary>False at the end of the file. Both views die with the next call.</summary>
    public bool TryRead(out ReadOnlySpan<byte> line, out ReadOnlySpan<byte> lineEnd)
    {
        line = lineEnd = default;
        int searched = 0;
        int feed;
        while ((feed = _buffer.AsSpan(_start + searched, _end - _start - searched).IndexOf((byte)'\n')) < 0)
        {
            searched = _end - _start;
            if (!Fill())
            {
                break;
            }
        }

        if (_start == _end)
        {
            return false;
        }

        int length = feed < 0 ? _end - _start : searched + feed;
        int next = feed < 0 ? _end : _start + length + 1;
        bool hasCr = feed >= 0 && length > 0 && _buffer[_start + length - 1] == '\r';
        _lineStart = _start;
        _lineLength = hasCr ? length - 1 : length;
        line = Line;
        lineEnd = _buffer.AsSpan(_start + _lineLength, next - _start - _lineLength);
        _start = next;
        Number++;
        return true;
    }

    private bool Fill()
    {
        if (_start > 0)
        {
            _buffer.AsSpan(_start, _end - _start).CopyTo(_buffer);
            _end -= _start;
            _start = 0;
        }

        if (_end == _buffer.Length)
        {
            Array.Resize(ref _buffer, _buffer.Length * 2);
        }

        int read = _stream.Read(_buffer, _end, _buffer.Length - _end);
        _end += read;
        return read > 0;
    }
}
