using System.Buffers;
using System.Buffers.Binary;

namespace FastMail.Protocol;

/// <summary>
/// The header that a proxy puts in front of a connection to tell whose it is: version 1 and 2 of the PROXY protocol. A
/// view that dies with the call. Whoever reads it must have checked that the peer is a proxy of ours.
/// </summary>
public readonly ref struct ProxyHeader
{
    /// <summary>Longest header taken, octets: version 1 needs 107, version 2 may carry more that nobody here reads.</summary>
    public const int MaxBytes = 2048;

    private const int TextBytes = 107;
    private const int BinaryBytes = 16; // before the addresses

    private ProxyHeader(ReadOnlySpan<byte> address, int port)
    {
        Address = address;
        Port = port;
    }

    /// <summary>
    /// The client's address, 4 or 16 octets; empty when the proxy speaks for itself (LOCAL, UNKNOWN).
    /// </summary>
    public ReadOnlySpan<byte> Address { get; }

    public int Port { get; }

    private static ReadOnlySpan<byte> Signature => "\r\n\r\n\0\r\nQUIT\n"u8;

    /// <summary>Reads the header at the start of a connection.</summary>
    /// <param name="received">Input from its first octet.</param>
    /// <param name="address">At least 16 octets; what <see cref="Address"/> views.</param>
    /// <param name="header">What it says.</param>
    /// <param name="consumed">Octets of the header; what follows is the client's.</param>
    /// <returns>
    /// <see cref="OperationStatus.Done"/>, <see cref="OperationStatus.NeedMoreData"/> or
    /// <see cref="OperationStatus.InvalidData"/>.
    /// </returns>
    public static OperationStatus Parse(
        ReadOnlySpan<byte> received, Span<byte> address, out ProxyHeader header, out int consumed)
    {
        header = default;
        consumed = 0;
        if (received.IsEmpty)
        {
            return OperationStatus.NeedMoreData;
        }
        return received[0] == 'P'
            ? ParseText(received, address, out header, out consumed)
            : ParseBinary(received, address, out header, out consumed);
    }

    /// <summary>
    /// <c>"PROXY" SP ( "TCP4" / "TCP6" ) SP source SP destination SP port SP port CRLF</c>, or <c>"PROXY UNKNOWN"</c>
    /// and anything up to CRLF.
    /// </summary>
    private static OperationStatus ParseText(
        ReadOnlySpan<byte> received, Span<byte> address, out ProxyHeader header, out int consumed)
    {
        header = default;
        consumed = 0;
        var opening = "PROXY "u8;
        var known = Math.Min(received.Length, opening.Length);
        if (!received[..known].SequenceEqual(opening[..known]))
        {
            return OperationStatus.InvalidData;
        }
        var window = received[..Math.Min(received.Length, TextBytes)];
        var lineEnd = window.IndexOfAny((byte)'\n', (byte)0);
        if (lineEnd < 0)
        {
            return window.Length == TextBytes ? OperationStatus.InvalidData : OperationStatus.NeedMoreData;
        }
        var end = lineEnd - 1;
        if (window[lineEnd] == 0 || window[end] != '\r') // the line begins with PROXY, so there is an octet before
        {
            return OperationStatus.InvalidData;
        }
        consumed = lineEnd + 1;
        var words = window[opening.Length..end];
        if (words.SequenceEqual("UNKNOWN"u8) || words.StartsWith("UNKNOWN "u8))
        {
            return OperationStatus.Done;
        }
        var family = TakeWord(ref words);
        var source = TakeWord(ref words);
        var destination = TakeWord(ref words);
        var sourcePort = TakeWord(ref words);
        Span<byte> unused = stackalloc byte[16];
        var isIPv4 = family.SequenceEqual("TCP4"u8);
        var areAddresses = isIPv4
            ? AddressLiteral.TryParseIPv4(source, address) && AddressLiteral.TryParseIPv4(destination, unused)
            : family.SequenceEqual("TCP6"u8)
                && AddressLiteral.TryParseIPv6(source, address) && AddressLiteral.TryParseIPv6(destination, unused);
        if (!areAddresses || !TryParsePort(sourcePort, out var port) || !TryParsePort(words, out _))
        {
            return OperationStatus.InvalidData;
        }
        header = new ProxyHeader(address[..(isIPv4 ? 4 : 16)], port);
        return OperationStatus.Done;
    }

    /// <summary>Signature, version and command, family, length u16, source, destination, ports, then extensions.</summary>
    private static OperationStatus ParseBinary(
        ReadOnlySpan<byte> received, Span<byte> address, out ProxyHeader header, out int consumed)
    {
        header = default;
        consumed = 0;
        var known = Math.Min(received.Length, Signature.Length);
        if (!received[..known].SequenceEqual(Signature[..known]))
        {
            return OperationStatus.InvalidData;
        }
        const byte local = 0x20;
        const byte proxy = 0x21;
        var command = received.Length > Signature.Length ? received[Signature.Length] : proxy;
        if (received.Length < BinaryBytes)
        {
            return command is local or proxy ? OperationStatus.NeedMoreData : OperationStatus.InvalidData;
        }
        var family = received[13];
        var length = BinaryPrimitives.ReadUInt16BigEndian(received[14..]);
        if (command is not (local or proxy) || BinaryBytes + length > MaxBytes)
        {
            return OperationStatus.InvalidData;
        }
        var isNameless = command == local || family == 0; // a health check of the proxy, or a client it cannot name
        var addressBytes = family == 0x11 ? 4 : family == 0x21 ? 16 : 0; // TCP over IPv4, over IPv6
        if (!isNameless && (addressBytes == 0 || length < (2 * addressBytes) + 4))
        {
            return OperationStatus.InvalidData;
        }
        if (received.Length < BinaryBytes + length)
        {
            return OperationStatus.NeedMoreData;
        }
        consumed = BinaryBytes + length;
        if (isNameless)
        {
            return OperationStatus.Done;
        }
        var body = received[BinaryBytes..];
        body[..addressBytes].CopyTo(address);
        var sourcePort = BinaryPrimitives.ReadUInt16BigEndian(body[(2 * addressBytes)..]);
        header = new ProxyHeader(address[..addressBytes], sourcePort);
        return OperationStatus.Done;
    }

    private static ReadOnlySpan<byte> TakeWord(scoped ref ReadOnlySpan<byte> words)
    {
        var space = words.IndexOf((byte)' ');
        var word = space < 0 ? words : words[..space];
        words = space < 0 ? default : words[(space + 1)..];
        return word;
    }

    private static bool TryParsePort(ReadOnlySpan<byte> text, out int port)
    {
        var isPort = StrictDecimal.TryParse(text, out var number) && number <= ushort.MaxValue
            && (text.Length == 1 || text[0] != '0');
        port = isPort ? (int)number : 0;
        return isPort;
    }
}
