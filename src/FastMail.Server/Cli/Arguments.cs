using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace FastMail.Server.Cli;

/// <summary>Parsers of option values. Each throws <see cref="FormatException"/> with a text for the user.</summary>
internal static class Arguments
{
    private const string UnixPrefix = "unix:";
    private const int LongestUnixPath = 107; // sockaddr_un without its final NUL
    private const long LargestSegment = 1L << 30;
    private const long SmallestSegment = 1L << 20;
    private const long LargestMessage = (1L << 31) - (1 << 20); // clients count octets in 31 bits

    /// <summary>ADDR:PORT, [IPV6]:PORT or localhost:PORT; port 0 asks for a free one.</summary>
    public static IPEndPoint EndPoint(string text)
    {
        int colon = text.LastIndexOf(':');
        string host = colon < 0 ? text : text[..colon];
        if (colon <= 0 || !ushort.TryParse(text.AsSpan(colon + 1), NumberStyles.None, CultureInfo.InvariantCulture, out ushort port))
        {
            throw new FormatException($"'{text}' is not ADDR:PORT, e.g. 127.0.0.1:2525 or [::1]:2525, or none.");
        }

        if (host == "localhost")
        {
            return new IPEndPoint(IPAddress.Loopback, port);
        }

        bool isBracketed = host.StartsWith('[') && host.EndsWith(']');
        string bare = isBracketed ? host[1..^1] : host;
        if (!IPAddress.TryParse(bare, out IPAddress? address)
            || isBracketed != (address.AddressFamily == AddressFamily.InterNetworkV6)
            || (!isBracketed && address.ToString() != bare)) // 127.1 and 0177.0.0.1 are slips, not addresses
        {
            throw new FormatException($"'{host}' is not an IP address; write 127.0.0.1, [::1] or localhost.");
        }

        return new IPEndPoint(address, port);
    }

    /// <summary>Zero or more end points; <c>none</c> stands alone and turns the role off.</summary>
    public static IReadOnlyList<IPEndPoint> EndPoints(IReadOnlyList<string> texts) => EndPoints(texts, EndPoint);

    /// <summary>The same, and unix sockets as <c>unix:PATH</c>.</summary>
    public static IReadOnlyList<EndPoint> EndPointsOrPaths(IReadOnlyList<string> texts) => EndPoints<EndPoint>(
        texts, text => text.StartsWith(UnixPrefix, StringComparison.Ordinal) ? UnixSocket(text) : EndPoint(text));

    /// <summary>As it is written in settings.</summary>
    public static string TextOf(EndPoint endPoint) =>
        endPoint is UnixDomainSocketEndPoint ? UnixPrefix + endPoint : endPoint.ToString()!;

    private static IReadOnlyList<T> EndPoints<T>(IReadOnlyList<string> texts, Func<string, T> read)
    {
        if (texts.Contains("none", StringComparer.Ordinal))
        {
            return texts.Count == 1 ? [] : throw new FormatException("'none' turns the listener off and stands alone.");
        }

        return [.. texts.Select(read)];
    }

    /// <summary><c>unix:PATH</c>; a relative path is meant from the working directory.</summary>
    private static UnixDomainSocketEndPoint UnixSocket(string text)
    {
        string path = text[UnixPrefix.Length..];
        if (path.Length == 0 || path.EndsWith('/') || path.Contains('\0', StringComparison.Ordinal))
        {
            throw new FormatException($"'{text}' names no file, e.g. unix:/run/fastmail/lmtp.sock.");
        }

        path = Path.GetFullPath(path);
        int octets = System.Text.Encoding.UTF8.GetByteCount(path);
        return octets <= LongestUnixPath
            ? new UnixDomainSocketEndPoint(path)
            : throw new FormatException(
                $"'{path}' has {octets} octets; the path of a unix socket may have {LongestUnixPath}.");
    }

    /// <summary>The size of a segment, 1 MiB to 1 GiB, whole pages of 4 KiB.</summary>
    public static ByteSize SegmentBytes(string text)
    {
        ByteSize size = Bytes(text, SmallestSegment, LargestSegment);
        return size.Octets % 4096 == 0 ? size : throw new FormatException($"'{text}' is not a multiple of 4KiB.");
    }

    /// <summary>The largest message, 64 KiB (RFC 5321 4.5.3.1.7 wants no less) to 1 GiB.</summary>
    public static ByteSize MessageBytes(string text) => Bytes(text, 64 << 10, LargestMessage);

    /// <summary>A fully qualified or single-label host name (RFC 1123 2.1), ASCII.</summary>
    public static string Hostname(string text)
    {
        bool isValid = text.Length is > 0 and <= 253 && text.Split('.').All(label =>
            label.Length is > 0 and <= 63
            && label.All(c => char.IsAsciiLetterOrDigit(c) || c == '-')
            && label[0] != '-'
            && label[^1] != '-');
        return isValid ? text : throw new FormatException($"'{text}' is not a host name, e.g. mail.example.org.");
    }

    /// <summary>A position in the log: decimal, or 0x and hexadecimal as the tools print it.</summary>
    public static ulong Position(string text)
    {
        bool isHex = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase);
        return ulong.TryParse(
            text.AsSpan(isHex ? 2 : 0), isHex ? NumberStyles.AllowHexSpecifier : NumberStyles.None,
            CultureInfo.InvariantCulture, out ulong lsn)
            ? lsn
            : throw new FormatException($"'{text}' is not a position, e.g. 0x1000.");
    }

    public static ByteSize Bytes(string text, long least, long most)
    {
        (string Suffix, int Shift)[] units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)];
        (string suffix, int shift) = units.First(u => text.EndsWith(u.Suffix, StringComparison.OrdinalIgnoreCase));
        bool isNumber = long.TryParse(
            text.AsSpan(0, text.Length - suffix.Length), NumberStyles.None, CultureInfo.InvariantCulture, out long number);
        if (!isNumber || number > most >> shift || number << shift < least)
        {
            throw new FormatException($"'{text}' is not a size between {least >> 10}KiB and {most >> 20}MiB, e.g. 64MiB.");
        }

        return new ByteSize(number << shift);
    }
}
