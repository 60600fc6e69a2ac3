namespace FastMail.Protocol.Notifications;

/// <summary>
/// Collects small writes into runs for a sink, and counts. Owner of one buffer, which is reused; belongs to a
/// <see cref="NotificationWriter"/> and is entered by its thread.
/// </summary>
internal sealed class WireOutput
{
    private readonly byte[] _buffer = new byte[4096];
    private WireSink? _sink;
    private int _filled;
    private int _lineOctets;
    private bool _isEncoding;
    private QuotedPrintable _encoder;

    /// <summary>Octets so far, without stuffed dots.</summary>
    public long Octets { get; private set; }

    public bool Has8Bit { get; private set; }

    /// <summary>A line of more than 998 octets was written.</summary>
    public bool HasLongLine { get; private set; }

    public void Begin(WireSink sink)
    {
        _sink = sink;
        _filled = 0;
        _lineOctets = 0;
        _isEncoding = false;
        _encoder = default;
        Octets = 0;
        Has8Bit = false;
        HasLongLine = false;
    }

    /// <summary>
    /// Text whose lines do not begin with a dot, or content: whoever writes that puts <see cref="Stuff"/> before.
    /// </summary>
    public void Write(ReadOnlySpan<byte> text)
    {
        if (_isEncoding)
        {
            _encoder.Encode(text, this);
        }
        else
        {
            WritePlain(text);
        }
    }

    public void Write(byte octet) => Write([octet]);

    /// <summary>From here on everything is written as quoted-printable.</summary>
    public void BeginEncoding() => _isEncoding = true;

    public void EndEncoding()
    {
        if (_isEncoding)
        {
            _encoder.End(this);
            _isEncoding = false;
        }
    }

    /// <summary>As <see cref="Write(ReadOnlySpan{byte})"/>, never encoded.</summary>
    internal void WritePlain(ReadOnlySpan<byte> text)
    {
        Octets += text.Length;
        Has8Bit = Has8Bit || !System.Text.Ascii.IsValid(text);
        Measure(text);
        Put(text);
    }

    /// <summary>The dot before one that begins a line (RFC 5321 4.5.2); encoded text needs none.</summary>
    public void Stuff()
    {
        if (!_isEncoding)
        {
            Put("."u8);
        }
    }

    public void WriteLine(ReadOnlySpan<byte> text)
    {
        Write(text);
        WriteLine();
    }

    public void WriteLine() => Write("\r\n"u8);

    /// <summary>The end of the content; the sink has everything then.</summary>
    public void End()
    {
        Put(".\r\n"u8);
        Flush();
        _sink = null;
    }

    private void Put(ReadOnlySpan<byte> text)
    {
        if (text.Length > _buffer.Length - _filled)
        {
            Flush();
        }
        if (text.Length > _buffer.Length)
        {
            _sink!(text);
            return;
        }
        text.CopyTo(_buffer.AsSpan(_filled));
        _filled += text.Length;
    }

    private void Flush()
    {
        if (_filled > 0)
        {
            _sink!(_buffer.AsSpan(0, _filled));
            _filled = 0;
        }
    }

    private void Measure(ReadOnlySpan<byte> text)
    {
        for (int end; (end = text.IndexOf((byte)'\n')) >= 0; text = text[(end + 1)..])
        {
            HasLongLine |= _lineOctets + end - 1 > Limits.PlainContentLineBytes;
            _lineOctets = 0;
        }
        _lineOctets += text.Length;
    }
}
