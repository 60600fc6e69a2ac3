namespace FastMail.LoadTest.Messages;

/// <summary>
/// Reads a message in wire form, as it comes, to its lone dot (RFC 1939 section 3, RFC 5321 section 4.5.2), and counts its
/// octets without the stuffed dots. A mutable part of its connection.
/// </summary>
internal struct WireContent
{
    private bool _isLineStart;

    internal long Octets { get; private set; }

    internal void Begin()
    {
        _isLineStart = true;
        Octets = 0;
    }

    /// <summary>Takes what can be told by now; octets taken. What is left comes again, with more behind it.</summary>
    /// <param name="wire">What came.</param>
    /// <param name="longestLine">A line that is longer is taken in parts.</param>
    /// <param name="own">Who wants the content, or null.</param>
    /// <param name="isEnded">The lone dot was taken.</param>
    internal int Take(ReadOnlySpan<byte> wire, int longestLine, OwnPart? own, out bool isEnded)
    {
        isEnded = false;
        int at = 0;
        while (at < wire.Length)
        {
            ReadOnlySpan<byte> rest = wire[at..];
            if (_isLineStart && rest[0] == (byte)'.')
            {
                if (rest.Length < 3)
                {
                    break; // a stuffed dot, or the lone one
                }

                if (rest.StartsWith(".\r\n"u8))
                {
                    isEnded = true;
                    return at + 3;
                }

                at++;
                _isLineStart = false;
                continue;
            }

            int run = own is { WantsLines: true } ? LineOf(rest, longestLine) : RunOf(rest);
            if (run == 0)
            {
                break;
            }

            own?.Append(rest[..run]);
            Octets += run;
            at += run;
        }

        return at;
    }

    /// <summary>A line with its end; 0 when that is not there yet.</summary>
    private int LineOf(ReadOnlySpan<byte> rest, int longestLine)
    {
        int end = rest.IndexOf((byte)'\n');
        _isLineStart = end >= 0;
        return end >= 0 ? end + 1 : rest.Length >= longestLine ? rest.Length : 0;
    }

    /// <summary>All lines up to the next that begins with a dot; one search in vectors for each.</summary>
    private int RunOf(ReadOnlySpan<byte> rest)
    {
        int dot = rest.IndexOf("\r\n."u8);
        if (dot >= 0)
        {
            _isLineStart = true;
            return dot + 2;
        }

        _isLineStart = rest.EndsWith("\r\n"u8);
        return rest[^1] == (byte)'\r' ? rest.Length - 1 : rest.Length;
    }
}
