using System.Globalization;

namespace FastMail.Protocol.Smtp;

/// <summary>
/// The encodings of parameter values: xtext (RFC 3461 4) and the two for addresses in UTF-8 (RFC 6533 3). Stateless; any
/// thread.
/// </summary>
internal static class Xtext
{
    /// <summary>
    /// Decodes <c>*( xchar / "+" 2HEXDIG )</c>, digits in upper case. False on any flaw, and when the destination is too
    /// small.
    /// </summary>
    public static bool TryDecode(ReadOnlySpan<byte> xtext, Span<byte> destination, out int length)
    {
        length = 0;
        for (var i = 0; i < xtext.Length; i++)
        {
            if (length == destination.Length || xtext[i] is < 33 or > 126 or (byte)'=')
            {
                return false;
            }
            destination[length] = xtext[i];
            if (xtext[i] == '+')
            {
                if (xtext.Length - i < 3 || !TryHex(xtext[i + 1], out var high) || !TryHex(xtext[i + 2], out var low))
                {
                    return false;
                }
                destination[length] = (byte)((high << 4) | low);
                i += 2;
            }
            length++;
        }
        return true;
    }

    /// <summary>Xtext that stands for printable US-ASCII only, so that a report can show it as it was given.</summary>
    public static bool IsPrintable(ReadOnlySpan<byte> xtext)
    {
        Span<byte> text = stackalloc byte[Limits.OriginalRecipientBytes];
        return TryDecode(xtext, text, out var length)
            && text[..length].IndexOfAnyExceptInRange((byte)' ', (byte)'~') < 0;
    }

    /// <summary>
    /// <c>utf-8-addr-xtext</c>: printable ASCII but <c>+</c>, <c>=</c> and <c>\</c>, and <c>\x{HEXPOINT}</c> for the
    /// others; with <paramref name="takesUtf8"/> also <c>utf-8-addr-unitext</c>, where UTF-8 stands for itself.
    /// </summary>
    public static bool IsUtf8Address(ReadOnlySpan<byte> text, bool takesUtf8)
    {
        while (!text.IsEmpty)
        {
            var length = text[0] == '\\' ? EmbeddedCharacter(text) : 1;
            var isPlain = text[0] is > 32 and < 127 and not ((byte)'+' or (byte)'=') || (takesUtf8 && text[0] > 127);
            if (!isPlain || length == 0)
            {
                return false;
            }
            text = text[length..];
        }
        return true;
    }

    /// <summary><c>"\x{" HEXPOINT "}"</c>; its length, 0 when it is malformed or names no character.</summary>
    private static int EmbeddedCharacter(ReadOnlySpan<byte> text)
    {
        var end = text.IndexOf((byte)'}');
        if (!text.StartsWith(@"\x{"u8) || end is < 5 or > 9)
        {
            return 0;
        }
        var value = 0;
        foreach (var octet in text[3..end])
        {
            if (!TryHex(octet, out var digit))
            {
                return 0;
            }
            value = (value << 4) | digit;
        }
        return IsCharacter(value) ? end + 1 : 0;
    }

    // Control characters would break the lines of a report.
    private static bool IsCharacter(int value) =>
        System.Text.Rune.IsValid(value)
        && System.Text.Rune.GetUnicodeCategory(new System.Text.Rune(value)) != UnicodeCategory.Control;

    private static bool TryHex(byte octet, out int value)
    {
        value = octet <= '9' ? octet - '0' : octet - 'A' + 10;
        return char.IsAsciiHexDigitUpper((char)octet);
    }
}
