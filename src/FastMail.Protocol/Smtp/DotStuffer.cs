namespace FastMail.Protocol.Smtp;

/// <summary>
/// Cuts raw content of BDAT (RFC 3030) into runs such that a dot must be put before exactly those runs that begin with
/// a dot at a line start (RFC 5321 4.5.2). Keeps two octets of history, so chunk and segment edges do not matter. Owned
/// by one session and entered by its thread.
/// </summary>
internal struct DotStuffer
{
    private bool _isAfterCr;
    private bool _isAfterText; // negated, so that the start of content is a line start

    /// <summary>The octets so far end in CRLF, or there are none.</summary>
    public readonly bool IsAtLineStart => !_isAfterText;

    /// <summary>Returns the length of the next run of a span that is not empty.</summary>
    public int Next(ReadOnlySpan<byte> raw, out bool needsDot)
    {
        needsDot = IsAtLineStart && raw[0] == '.';
        if (_isAfterCr && raw.Length > 1 && raw[0] == '\n' && raw[1] == '.')
        {
            Follow(raw[..1]);
            return 1;
        }
        var at = raw.IndexOf("\r\n."u8);
        var length = at < 0 ? raw.Length : at + 2;
        Follow(raw[..length]);
        return length;
    }

    private void Follow(ReadOnlySpan<byte> run)
    {
        var isAfterCr = run.Length > 1 ? run[^2] == '\r' : _isAfterCr;
        _isAfterText = !(isAfterCr && run[^1] == '\n');
        _isAfterCr = run[^1] == '\r';
    }
}
