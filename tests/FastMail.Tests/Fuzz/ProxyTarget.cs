using System.Buffers;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using FastMail.Protocol;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// The PROXY header, against both versions of the protocol read the plain way. Octets that come later change nothing
/// that was decided, and nothing is decided late.
/// </summary>
internal sealed partial class ProxyTarget() : FuzzTarget(
    "proxy",
    "PROXY ", "TCP4 ", "TCP6 ", "UNKNOWN", "192.0.2.1 ", "198.51.100.1 ", "2001:db8::1 ", "::ffff:192.0.2.1 ", "::1 ",
    "56324 ", "443", "65536", "0 ", "007 ", "\r\n", "\r", "\n", " ", "\0", "{{90*x}}", "{{107*y}}",
    @"\r\n\r\n\x00\r\nQUIT\n", @"\x21\x11\x00\x0c", @"\x21\x21\x00\x24", @"\x20\x00\x00\x00", @"\x21\x12\x00\x0c",
    @"\xc0\x00\x02\x01", @"\xc6\x33\x64\x01", @"\x04\xd2\x00\x19", "{{32*z}}", "EHLO x\r\n",
    "PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n", "PROXY UNKNOWN\r\n")
{
    public override int QuickRuns => 20_000;

    protected override int LongestInput => 2300;

    public override string Run(byte[] input)
    {
        var expected = Expect(input);
        var found = Parse(input);
        Promise(found == expected, $"read {found}, should be {expected}");
        var step = input.Length < 300 ? 1 : 37;
        for (var length = 0; length < input.Length; length += step)
        {
            var early = Parse(input[..length]);
            Promise(
                early.Status == OperationStatus.NeedMoreData ? length < ProxyHeader.MaxBytes : early == found,
                $"{early} after {length} octets, {found} in the end");
        }
        return $"{found.Status} {found.Address.Contains(':', StringComparison.Ordinal)} {found.Consumed} {input.Length / 16}";
    }

    private static Header Parse(byte[] input)
    {
        Span<byte> address = stackalloc byte[16];
        var status = ProxyHeader.Parse(input, address, out var header, out var consumed);
        Promise(status == OperationStatus.Done || header.Address.IsEmpty, "an address although it is not done");
        Promise(consumed <= input.Length && consumed <= ProxyHeader.MaxBytes, $"{consumed} octets of {input.Length}");
        return status == OperationStatus.Done
            ? new Header(status, consumed, header.Address.IsEmpty ? "" : new IPAddress(header.Address).ToString(), header.Port)
            : new Header(status, 0, "", 0);
    }

    private static Header Expect(byte[] input)
    {
        var text = Encoding.Latin1.GetString(input);
        var more = new Header(OperationStatus.NeedMoreData, 0, "", 0);
        var bad = more with { Status = OperationStatus.InvalidData };
        if (text.Length == 0)
        {
            return more;
        }
        if (text[0] != 'P')
        {
            return ExpectBinary(input, more, bad);
        }
        if (!IsPrefix(text, "PROXY "))
        {
            return bad;
        }
        var line = text[..Math.Min(text.Length, 107)];
        var end = line.IndexOf("\r\n", StringComparison.Ordinal);
        if (end < 0)
        {
            return line.Length == 107 || Spoiled().IsMatch(line) ? bad : more;
        }
        if (Spoiled().IsMatch(line[..end]))
        {
            return bad;
        }
        if (Unknown().IsMatch(line[..end]))
        {
            return new Header(OperationStatus.Done, end + 2, "", 0);
        }
        var match = Known().Match(line[..end]);
        return match.Success
            && IsAddress(match.Groups["family"].Value, match.Groups["source"].Value)
            && IsAddress(match.Groups["family"].Value, match.Groups["destination"].Value)
            && IsPort(match.Groups["port"].Value) && IsPort(match.Groups["other"].Value)
            ? new Header(
                OperationStatus.Done, end + 2, IPAddress.Parse(match.Groups["source"].Value).ToString(),
                int.Parse(match.Groups["port"].Value, System.Globalization.CultureInfo.InvariantCulture))
            : bad;
    }

    private static Header ExpectBinary(byte[] input, Header more, Header bad)
    {
        if (!IsPrefix(Encoding.Latin1.GetString(input), "\r\n\r\n\0\r\nQUIT\n"))
        {
            return bad;
        }
        if (input.Length < 16)
        {
            // Known to be wrong as soon as it is there.
            return input.Length > 12 && input[12] is not (0x20 or 0x21) ? bad : more;
        }
        var length = (input[14] * 256) + input[15];
        if (input[12] is not (0x20 or 0x21) || length + 16 > ProxyHeader.MaxBytes)
        {
            return bad;
        }
        var octets = input[13] == 0x11 ? 4 : input[13] == 0x21 ? 16 : 0;
        var isSilent = input[12] == 0x20 || input[13] == 0;
        if (!isSilent && (octets == 0 || length < (2 * octets) + 4))
        {
            return bad;
        }
        if (input.Length < 16 + length)
        {
            return more;
        }
        return isSilent
            ? new Header(OperationStatus.Done, 16 + length, "", 0)
            : new Header(
                OperationStatus.Done, 16 + length, new IPAddress(input.AsSpan(16, octets)).ToString(),
                (input[16 + (2 * octets)] * 256) + input[17 + (2 * octets)]);
    }

    private static bool IsPrefix(string text, string opening) =>
        text.AsSpan(0, Math.Min(text.Length, opening.Length)).SequenceEqual(
            opening.AsSpan(0, Math.Min(text.Length, opening.Length)));

    private static bool IsAddress(string family, string text) =>
        LiteralTarget.IsLiteral(family == "TCP4" ? $"[{text}]" : $"[IPv6:{text}]");

    private static bool IsPort(string text) =>
        Decimal().IsMatch(text) && int.Parse(text, System.Globalization.CultureInfo.InvariantCulture) <= 65535;

    /// <summary>What the library says of a header. A value.</summary>
    private sealed record Header(OperationStatus Status, int Consumed, string Address, int Port);

    /// <summary>A NUL, or a LF that no CR precedes.</summary>
    [GeneratedRegex(
        @"\0|(?<!\r)\n",
        RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Spoiled();

    [GeneratedRegex(
        @"^PROXY UNKNOWN( |\z)",
        RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Unknown();

    [GeneratedRegex(
        @"^PROXY (?<family>TCP[46]) (?<source>[^ ]+) (?<destination>[^ ]+) (?<port>[^ ]+) (?<other>[^ ]+)\z",
        RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Known();

    [GeneratedRegex(@"^(0|[1-9][0-9]{0,4})\z", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Decimal();
}

/// <summary>What proxies say.</summary>
public sealed class ProxyFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new ProxyTarget();
}
