namespace FastMail.Protocol;

/// <summary>What <see cref="CommandLine"/> found at the start of the input.</summary>
internal enum LineStatus
{
    /// <summary>No line end yet; offer the same octets again with more behind them.</summary>
    Incomplete,

    /// <summary>A whole line.</summary>
    Complete,

    /// <summary>No line end within the limit.</summary>
    TooLong,

    /// <summary>A bare CR, a bare LF or a NUL before the line end (strict reading only).</summary>
    Malformed,
}

/// <summary>
/// Cuts command lines out of the input of both protocols. Holds nothing, so the answer depends on the octets and never
/// on segment edges; any thread.
/// </summary>
internal static class CommandLine
{
    /// <summary>
    /// Reads a line that ends in CRLF and in nothing else (RFC 5321 2.3.8). A bare CR or LF would let two readers
    /// disagree on where a command ends, so it is never skipped over.
    /// </summary>
    /// <param name="received">Input from the first octet of the line.</param>
    /// <param name="limit">Longest line with its CRLF, octets.</param>
    /// <param name="line">The line without its CRLF.</param>
    /// <param name="consumed">Octets of the line with its CRLF.</param>
    public static LineStatus ReadStrict(
        ReadOnlySpan<byte> received, int limit, out ReadOnlySpan<byte> line, out int consumed)
    {
        line = default;
        consumed = 0;
        var window = received[..Math.Min(received.Length, limit)];
        var at = window.IndexOfAny((byte)'\r', (byte)'\n', (byte)0);
        if (at < 0)
        {
            return window.Length == limit ? LineStatus.TooLong : LineStatus.Incomplete;
        }
        if (window[at] != '\r')
        {
            return LineStatus.Malformed;
        }
        if (at + 1 == window.Length)
        {
            return window.Length == limit ? LineStatus.TooLong : LineStatus.Incomplete;
        }
        if (window[at + 1] != '\n')
        {
            return LineStatus.Malformed;
        }
        line = window[..at];
        consumed = at + 2;
        return LineStatus.Complete;
    }

    /// <summary>Reads a line that ends in LF, with or without CR before it: what POP3 clients type by hand.</summary>
    /// <inheritdoc cref="ReadStrict"/>
    public static LineStatus ReadTolerant(
        ReadOnlySpan<byte> received, int limit, out ReadOnlySpan<byte> line, out int consumed)
    {
        line = default;
        consumed = 0;
        var window = received[..Math.Min(received.Length, limit)];
        var at = window.IndexOf((byte)'\n');
        if (at < 0)
        {
            return window.Length == limit ? LineStatus.TooLong : LineStatus.Incomplete;
        }
        line = window[..(at > 0 && window[at - 1] == '\r' ? at - 1 : at)];
        consumed = at + 1;
        return LineStatus.Complete;
    }
}
