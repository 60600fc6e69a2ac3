using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text;

namespace FastMail.Server.Accounts;

/// <summary>
/// The one spelling under which an address is kept and looked up: local-part without quotes, all in lower case, UTF-8 in
/// NFC, the domain as A-labels. So <c>"Ann"@Example.ORG</c> is <c>ann@example.org</c>. Stateless; any thread.
/// </summary>
/// <remarks>
/// RFC 5321 2.4 leaves the case of a local-part to its host, and this host ignores it. The address was parsed before;
/// what is no address gets some key that nobody has.
/// </remarks>
internal static class AddressKey
{
    /// <summary>UTF-16 units of the longest key: a local-part of 64 octets, an at sign, a domain of 255.</summary>
    public const int MaxLength = 64 + 1 + 255;

    private const int LongestPathOctets = 256; // RFC 5321 4.5.3.1.3

    private static readonly IdnMapping Idn = new() { UseStd3AsciiRules = true };

    /// <summary>Writes the key; returns its length, or -1 when nobody can have this address.</summary>
    /// <param name="address">UTF-8, no angle brackets.</param>
    /// <param name="key">Room for <see cref="MaxLength"/>.</param>
    public static int Write(ReadOnlySpan<byte> address, Span<char> key)
    {
        if (address.Length > LongestPathOctets)
        {
            return -1;
        }

        if (address.IsEmpty || address[0] == '"' || !Ascii.IsValid(address))
        {
            return WriteSlow(address, key);
        }

        _ = Ascii.ToLower(address, key, out int length); // no domain in the clear is another one's A-label
        return length;
    }

    /// <summary>The key of an address or of a domain with an at sign in front; null when there can be none.</summary>
    public static string? Of(string address) => Of(Encoding.UTF8.GetBytes(address));

    /// <summary>The same for UTF-8.</summary>
    public static string? Of(ReadOnlySpan<byte> address)
    {
        Span<char> key = stackalloc char[MaxLength];
        int length = Write(address, key);
        return length < 0 ? null : key[..length].ToString();
    }

    /// <summary>The domain of a key with its at sign.</summary>
    public static ReadOnlySpan<char> DomainOf(ReadOnlySpan<char> key) => key[Math.Max(0, key.LastIndexOf('@'))..];

    private static int WriteSlow(ReadOnlySpan<byte> address, Span<char> key)
    {
        Span<char> text = stackalloc char[LongestPathOctets];
        if (!Encoding.UTF8.TryGetChars(address, text, out int length))
        {
            return -1;
        }

        ReadOnlySpan<char> whole = text[..length];
        int at = whole.LastIndexOf('@'); // a domain holds none
        ReadOnlySpan<char> localPart = at < 0 ? whole : whole[..at];
        Span<char> plain = stackalloc char[LongestPathOctets];
        localPart = Unquote(localPart, plain);
        if (localPart.IsEmpty && at != 0)
        {
            localPart = "\"\""; // a legal local-part, and not a domain's own key
        }

        if (!TryFold(localPart, out string? folded) || !TryFold(whole[(at + 1)..], out string? domain))
        {
            return -1;
        }

        domain = at < 0 ? "" : "@" + DomainLabels(domain);
        if (folded.Length + domain.Length > key.Length)
        {
            return -1;
        }

        folded.CopyTo(key);
        domain.CopyTo(key[folded.Length..]);
        return folded.Length + domain.Length;
    }

    private static ReadOnlySpan<char> Unquote(ReadOnlySpan<char> localPart, Span<char> plain)
    {
        if (localPart.Length < 2 || localPart[0] != '"' || localPart[^1] != '"')
        {
            return localPart;
        }

        int length = 0;
        ReadOnlySpan<char> quoted = localPart[1..^1];
        for (int i = 0; i < quoted.Length; i++)
        {
            i += quoted[i] == '\\' && i + 1 < quoted.Length ? 1 : 0;
            plain[length++] = quoted[i];
        }

        return plain[..length];
    }

    /// <summary>Lower case may take a string out of NFC and NFC never out of lower case, so NFC comes last.</summary>
    private static bool TryFold(ReadOnlySpan<char> text, [NotNullWhen(true)] out string? folded)
    {
        folded = null;
        return Nfc.TryNormalize(text.ToString(), out string? composed)
            && Nfc.TryNormalize(composed.ToLowerInvariant(), out folded);
    }

    private static string DomainLabels(string folded)
    {
        if (Ascii.IsValid(folded))
        {
            return folded;
        }

        try
        {
            return Idn.GetAscii(folded);
        }
        catch (ArgumentException)
        {
            return folded; // no domain that could be registered; nobody has it
        }
    }
}
