namespace FastMail.Protocol.Smtp.Client;

/// <summary>What <see cref="ReplyReader"/> found at the start of the input.</summary>
internal enum ReplyStatus
{
    /// <summary>The reply does not end yet; offer the same octets again with more behind them.</summary>
    Incomplete,
    Complete,

    /// <summary>Not a reply, or one whose lines do not agree: what follows it is anybody's guess.</summary>
    Malformed,

    /// <summary>A line, or the reply, is longer than any honest one.</summary>
    TooLong,
}

/// <summary>A reply of a host (RFC 5321 4.2): a view into the input that dies with the call.</summary>
/// <param name="code">200 to 599.</param>
/// <param name="status">What it says by itself, else x.0.0.</param>
/// <param name="wire">All of its lines with their CRLFs.</param>
internal readonly ref struct HostReply(int code, EnhancedStatus status, ReadOnlySpan<byte> wire)
{
    public int Code { get; } = code;

    public EnhancedStatus Status { get; } = status;

    public ReadOnlySpan<byte> Wire { get; } = wire;

    /// <summary>The text of the first line.</summary>
    public ReadOnlySpan<byte> Text
    {
        get
        {
            var line = Wire[..Wire.IndexOf("\r\n"u8)];
            return line.Length > 4 ? line[4..] : default;
        }
    }
}

/// <summary>
/// Cuts the replies of a host out of the input and trusts nothing in them. Owned by one session and entered by its
/// thread. What it answers depends on the octets and never on segment edges.
/// </summary>
/// <remarks>
/// <c>Reply-line = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF</c>, the same code on each
/// line. A line ends in CRLF and in nothing else, or two readers could disagree on how many replies there were. The
/// text may hold anything else, NUL as well: whoever shows it escapes it.
/// </remarks>
internal struct ReplyReader
{
    private int _lineStart; // of the first line that was not whole yet
    private int _lines;
    private int _code;

    /// <summary>Forgets a reply that was begun.</summary>
    public void Reset() => this = default;

    /// <param name="received">Input from the first octet that was not consumed; may be empty.</param>
    /// <param name="reply">Where it is complete.</param>
    /// <param name="consumed">Its octets; 0 where it is not complete.</param>
    public ReplyStatus Read(ReadOnlySpan<byte> received, out HostReply reply, out int consumed)
    {
        reply = default;
        consumed = 0;
        while (true)
        {
            var rest = received[_lineStart..];
            var end = rest[..Math.Min(rest.Length, Limits.HostReplyLineBytes)].IndexOf((byte)'\n');
            if (end < 0)
            {
                return rest.Length < Limits.HostReplyLineBytes ? ReplyStatus.Incomplete : ReplyStatus.TooLong;
            }
            if (!TryTakeLine(rest[..(end + 1)], out var isLast))
            {
                return ReplyStatus.Malformed;
            }
            _lineStart += end + 1;
            if (isLast)
            {
                consumed = _lineStart;
                reply = Whole(received[..consumed]);
                Reset();
                return ReplyStatus.Complete;
            }
            if (_lines == Limits.HostReplyLines || _lineStart >= Limits.HostReplyBytes)
            {
                return ReplyStatus.TooLong;
            }
        }
    }

    private bool TryTakeLine(ReadOnlySpan<byte> line, out bool isLast)
    {
        isLast = false;
        if (line.Length < 5 || line[..^1].IndexOf((byte)'\r') != line.Length - 2)
        {
            return false;
        }
        if (line[0] is < (byte)'2' or > (byte)'5' || line[1] is < (byte)'0' or > (byte)'9' || line[2] is < (byte)'0' or > (byte)'9')
        {
            return false;
        }
        var code = ((line[0] - '0') * 100) + ((line[1] - '0') * 10) + (line[2] - '0');
        isLast = line.Length == 5 || line[3] == ' ';
        if ((_lines > 0 && code != _code) || (!isLast && line[3] != '-'))
        {
            return false;
        }
        _code = code;
        _lines++;
        return true;
    }

    private readonly HostReply Whole(ReadOnlySpan<byte> wire)
    {
        var bare = new HostReply(_code, default, wire);
        var hasStatus = EnhancedStatus.TryParse(bare.Text, _code, out var status);
        return new HostReply(_code, hasStatus ? status : EnhancedStatus.Of(_code), wire);
    }
}
