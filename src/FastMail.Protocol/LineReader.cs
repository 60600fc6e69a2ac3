namespace FastMail.Protocol;

/// <summary>What <see cref="LineReader"/> found at the start of the input.</summary>
internal enum LineStatus
{
    /// <summary>No line end yet; offer the same octets again with more behind them.</summary>
    Incomplete,

    /// <summary>A whole line.</summary>
    Complete,

    /// <summary>No line end within the limit: nothing of the line is taken, and the next calls skip it.</summary>
    TooLong,

    /// <summary>A part of an over-long line is used up; go on.</summary>
    Skipped,

    /// <summary>A bare CR, a bare LF or a NUL before the line end: where the command ends is anybody's guess.</summary>
    Malformed,

    /// <summary>An over-long line that does not end either.</summary>
    Endless,
}

/// <summary>
/// Cuts lines out of the input: the only reader of command lines and replies there is. Owned by one session and entered
/// by its thread. What it answers depends on the octets and never on segment edges.
/// </summary>
/// <param name="takesBareLf">
/// A line may end in LF alone: what people type at POP3 by hand. Else it ends in CRLF and in nothing else (RFC 5321
/// 2.3.8), because a bare CR or LF would let two readers disagree on where a command ends.
/// </param>
internal struct LineReader(bool takesBareLf)
{
    private const long NotSkipping = -1;

    private long _skippedBytes = NotSkipping;

    /// <summary>Forgets an over-long line.</summary>
    public void Reset() => _skippedBytes = NotSkipping;

    /// <summary>Reads the next line.</summary>
    /// <param name="received">Input from the first octet that was not consumed; at least one.</param>
    /// <param name="limit">Longest line with its line end, octets.</param>
    /// <param name="line">The line without its line end.</param>
    /// <param name="consumed">Octets used up.</param>
    public LineStatus Read(ReadOnlySpan<byte> received, int limit, out ReadOnlySpan<byte> line, out int consumed)
    {
        if (_skippedBytes >= 0)
        {
            line = default;
            return Skip(received, out consumed);
        }
        var status = Find(received[..Math.Min(received.Length, limit)], out line, out consumed);
        if (status == LineStatus.Incomplete && received.Length >= limit)
        {
            _skippedBytes = 0;
            return LineStatus.TooLong;
        }
        return status;
    }

    private readonly LineStatus Find(ReadOnlySpan<byte> window, out ReadOnlySpan<byte> line, out int consumed)
    {
        line = default;
        consumed = 0;
        var at = takesBareLf ? window.IndexOf((byte)'\n') : window.IndexOfAny((byte)'\r', (byte)'\n', (byte)0);
        if (at < 0)
        {
            return LineStatus.Incomplete;
        }
        if (takesBareLf)
        {
            line = window[..(at > 0 && window[at - 1] == '\r' ? at - 1 : at)];
            consumed = at + 1;
            return LineStatus.Complete;
        }
        if (window[at] != '\r')
        {
            return LineStatus.Malformed;
        }
        if (at + 1 == window.Length)
        {
            return LineStatus.Incomplete;
        }
        if (window[at + 1] != '\n')
        {
            return LineStatus.Malformed;
        }
        line = window[..at];
        consumed = at + 2;
        return LineStatus.Complete;
    }

    private LineStatus Skip(ReadOnlySpan<byte> received, out int consumed)
    {
        var status = Find(received, out _, out consumed);
        if (status == LineStatus.Incomplete)
        {
            consumed = received.Length - (!takesBareLf && received[^1] == '\r' ? 1 : 0); // its LF may follow
        }
        _skippedBytes += consumed;
        if (status == LineStatus.Malformed || _skippedBytes > Limits.SkippedLineBytes)
        {
            return LineStatus.Endless;
        }
        if (status == LineStatus.Complete)
        {
            _skippedBytes = NotSkipping;
        }
        return consumed == 0 ? LineStatus.Incomplete : LineStatus.Skipped;
    }
}
