namespace FastMail.Protocol.Smtp;

/// <summary>
/// The attributes of XCLIENT, as Postfix defines it: <c>1*( SP name "=" value )</c>, values in xtext. A value; the octets
/// it counts lie in the caller's buffers.
/// </summary>
internal readonly record struct XclientAttributes
{
    /// <summary>Octets of the client's address, 4 or 16; 0 when it is not told.</summary>
    public int AddressLength { get; private init; }

    /// <summary>The client's port; 0 when it is not told.</summary>
    public int Port { get; private init; }

    /// <summary>Octets of what the client said in EHLO or HELO; 0 when it is not told.</summary>
    public int HeloLength { get; private init; }

    private static ReadOnlySpan<byte> Unknown => "[UNAVAILABLE]"u8;

    private static ReadOnlySpan<byte> UnknownForNow => "[TEMPUNAVAIL]"u8;

    [Flags]
    private enum Name
    {
        None = 0,
        ClientName = 1 << 0,
        Addr = 1 << 1,
        Port = 1 << 2,
        Proto = 1 << 3,
        Helo = 1 << 4,
        Login = 1 << 5,
        DestAddr = 1 << 6,
        DestPort = 1 << 7,
    }

    /// <summary>
    /// False on any flaw: an attribute that is unknown, malformed, empty or told twice, or none at all. All are checked;
    /// what nothing here asks for (NAME, PROTO, LOGIN, DESTADDR, DESTPORT) is then forgotten.
    /// </summary>
    /// <param name="argument">What follows the verb.</param>
    /// <param name="address">Room for 16 octets.</param>
    /// <param name="helo">Room for <see cref="Limits.DomainBytes"/>.</param>
    /// <param name="attributes">What was told.</param>
    public static bool TryParse(
        ReadOnlySpan<byte> argument, Span<byte> address, Span<byte> helo, out XclientAttributes attributes)
    {
        attributes = default;
        Span<byte> value = stackalloc byte[Limits.DomainBytes];
        var seen = Name.None;
        while (true)
        {
            var space = argument.IndexOf((byte)' ');
            var word = space < 0 ? argument : argument[..space];
            var equals = word.IndexOf((byte)'=');
            var name = equals < 0 ? Name.None : Recognise(word[..equals]);
            if (name == Name.None || (seen & name) != 0
                || !Xtext.TryDecode(word[(equals + 1)..], value, out var length) || length == 0
                || !TryTake(name, value[..length], address, helo, ref attributes))
            {
                return false;
            }
            seen |= name;
            if (space < 0)
            {
                return true;
            }
            argument = argument[(space + 1)..];
        }
    }

    private static Name Recognise(ReadOnlySpan<byte> word) =>
        AsciiWord.Is(word, "NAME"u8) ? Name.ClientName
        : AsciiWord.Is(word, "ADDR"u8) ? Name.Addr
        : AsciiWord.Is(word, "PORT"u8) ? Name.Port
        : AsciiWord.Is(word, "PROTO"u8) ? Name.Proto
        : AsciiWord.Is(word, "HELO"u8) ? Name.Helo
        : AsciiWord.Is(word, "LOGIN"u8) ? Name.Login
        : AsciiWord.Is(word, "DESTADDR"u8) ? Name.DestAddr
        : AsciiWord.Is(word, "DESTPORT"u8) ? Name.DestPort
        : Name.None;

    private static bool TryTake(
        Name name, ReadOnlySpan<byte> value, Span<byte> address, Span<byte> helo, ref XclientAttributes attributes)
    {
        if (name == Name.Proto)
        {
            return AsciiWord.Is(value, "SMTP"u8) || AsciiWord.Is(value, "ESMTP"u8);
        }
        if (AsciiWord.Is(value, Unknown) || AsciiWord.Is(value, UnknownForNow))
        {
            return true;
        }
        Span<byte> unused = stackalloc byte[16];
        switch (name)
        {
            case Name.Addr:
                attributes = attributes with { AddressLength = ParseAddress(value, address) };
                return attributes.AddressLength > 0;
            case Name.Port when TryParsePort(value, out var port):
                attributes = attributes with { Port = port };
                return true;
            case Name.Helo when SmtpSession.IsHeloArgument(value):
                value.CopyTo(helo);
                attributes = attributes with { HeloLength = value.Length };
                return true;
            case Name.DestAddr:
                return ParseAddress(value, unused) > 0;
            case Name.DestPort:
                return TryParsePort(value, out _);
            case Name.ClientName or Name.Login:
                return value.IndexOfAnyInRange((byte)0, (byte)32) < 0 && !value.Contains((byte)127);
            default:
                return false;
        }
    }

    /// <summary>An IPv4 address, or an IPv6 address with <c>IPV6:</c> in front; its octets, 0 when it is neither.</summary>
    private static int ParseAddress(ReadOnlySpan<byte> text, Span<byte> address)
    {
        if (AsciiWord.StartsWith(text, "IPV6:"u8))
        {
            return AddressLiteral.TryParseIPv6(text[5..], address) ? 16 : 0;
        }
        return AddressLiteral.TryParseIPv4(text, address) ? 4 : 0;
    }

    private static bool TryParsePort(ReadOnlySpan<byte> text, out int port)
    {
        var isPort = StrictDecimal.TryParse(text, out var number) && number <= ushort.MaxValue;
        port = isPort ? (int)number : 0;
        return isPort;
    }
}
