using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using FastMail.Protocol;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// Address literals against RFC 5321 4.1.3 as patterns, with the value that the library finds. An address written out
/// is read as itself.
/// </summary>
internal sealed partial class LiteralTarget() : FuzzTarget(
    "literal",
    "192.0.2.1", "IPv6:", "ipv6:", "2001:db8::1", "::", ":", "::ffff:192.0.2.1", "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:1.2.3.4",
    "::1.2.3.4", "fe80::1%eth0", "0", "255", "256", "010", "0x7f", ".", "ffff", "FFFF", "0000", "00000", "g", "[",
    "]", "[]",
    "1::", "::1", "1::2:3:4:5:6:7", "1:2:3:4:5:6::", "-1", "+1", " ", "\0", "\xD9\xA1", "Tag:x", "127.1", "2130706433")
{
    public override int QuickRuns => 30_000;

    protected override int LongestInput => 80;

    /// <summary>With its brackets, as Latin-1.</summary>
    public static bool IsLiteral(string text) =>
        text.Length > 2 && text[0] == '[' && text[^1] == ']'
        && (text.StartsWith("[IPv6:", StringComparison.OrdinalIgnoreCase)
            ? IPv6(text[6..^1]) is not null
            : IPv4(text[1..^1]) is not null);

    public override string Run(byte[] input)
    {
        var text = Encoding.Latin1.GetString(input);
        Span<byte> address = stackalloc byte[16];
        var is4 = AddressLiteral.TryParseIPv4(input, address);
        Judge(is4, address[..4], IPv4(text), text);
        var is6 = AddressLiteral.TryParseIPv6(input, address);
        Judge(is6, address, IPv6(text), text);
        var literal = text.StartsWith('[') ? text : $"[{text}]";
        var isLiteral = AddressLiteral.IsValid(Encoding.Latin1.GetBytes(literal));
        Promise(isLiteral == IsLiteral(literal), $"{literal} is taken: {isLiteral}");
        WriteBack(ChanceOf(input));
        return $"{is4} {is6} {isLiteral} {text.Count(c => c == ':')} {text.Contains("::", StringComparison.Ordinal)}";
    }

    private static void Judge(bool isTaken, ReadOnlySpan<byte> found, IPAddress? expected, string text)
    {
        Promise(isTaken == expected is not null, $"{text} is taken: {isTaken}");
        Promise(!isTaken || found.SequenceEqual(expected!.GetAddressBytes()), $"{text} is read as another address");
    }

    /// <summary>Any address, with as many zeros as chance likes.</summary>
    private static void WriteBack(Random chance)
    {
        var octets = new byte[chance.Next(2) == 0 ? 4 : 16];
        chance.NextBytes(octets);
        for (var i = 0; i < octets.Length; i += 2)
        {
            octets.AsSpan(i, 2).Fill(chance.Next(2) == 0 ? octets[i] : (byte)0);
        }
        Span<byte> written = stackalloc byte[AddressLiteral.MaxBytes];
        written = written[..AddressLiteral.Write(octets, written)];
        var text = Encoding.Latin1.GetString(written);
        var address = new IPAddress(octets);
        address = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        var expected = octets.Length == 4 || address.GetAddressBytes().Length == 4 ? $"[{address}]" : $"[IPv6:{address}]";
        Promise(IsLiteral(text) && AddressLiteral.IsValid(written), $"{text} is written and not taken");
        // The library writes the old IPv4-compatible addresses with dots.
        Promise(text == expected || expected.LastIndexOf('.') > expected.LastIndexOf(':'), $"{text} for {expected}");
    }

    private static IPAddress? IPv4(string text) => FourNumbers().IsMatch(text) ? IPAddress.Parse(text) : null;

    private static IPAddress? IPv6(string text)
    {
        var v4 = text.LastIndexOf(':') is var colon and >= 0 && text.Contains('.', StringComparison.Ordinal)
            ? text[(colon + 1)..]
            : null;
        if (v4 is not null && IPv4(v4) is null)
        {
            return null;
        }
        var groups = v4 is null ? text : text[..^v4.Length] + "0:0";
        var halves = groups.Split("::");
        var count = halves.Sum(h => h.Length == 0 ? 0 : h.Split(':').Length);
        var isRight = halves.Length switch
        {
            1 => count == 8,
            2 => count <= 6,
            _ => false,
        };
        return isRight && Array.TrueForAll(halves, h => h.Length == 0 || Groups().IsMatch(h)) ? IPAddress.Parse(text) : null;
    }

    [GeneratedRegex(
        @"^(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])(\.(0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])){3}\z",
        RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex FourNumbers();

    [GeneratedRegex(
        @"^[0-9A-Fa-f]{1,4}(:[0-9A-Fa-f]{1,4})*\z",
        RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Groups();
}

/// <summary>Addresses in brackets.</summary>
public sealed class LiteralFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new LiteralTarget();
}
