namespace FastMail.Protocol.Smtp;

/// <summary>
/// Whether content begins with a header field (<c>1*ftext ":"</c>, RFC 5322 2.2): only then has it a header section
/// that could be too long; other content is all body. Looks at the first octets and no further. Owned by one session.
/// </summary>
internal struct HeaderStart
{
    private const int LongestName = 78; // a name is one word on a line (RFC 5322 2.1.1)

    private int _nameBytes;
    private bool _isDecided;

    /// <summary>The first line is a header field, as far as it has been seen.</summary>
    public bool IsField { get; private set; }

    public void Take(ReadOnlySpan<byte> wire)
    {
        for (var at = 0; !_isDecided && at < wire.Length; at++)
        {
            var octet = wire[at];
            IsField = octet == ':' && _nameBytes > 0;
            _isDecided = octet is <= (byte)' ' or > 126 or (byte)':' || ++_nameBytes > LongestName;
        }
    }
}
