using System.Buffers;

namespace FastMail.Protocol.Dkim;

/// <summary>Finds the address in a From field (RFC 5322 3.6.2). Stateless; any thread.</summary>
internal static class FromField
{
    private static readonly SearchValues<byte> NotInDomain = SearchValues.Create(" \t\r\n(\""u8);

    /// <summary>
    /// The <c>addr-spec</c> of a field that names exactly one mailbox, as it stands there; empty for a group, several
    /// mailboxes, or what is none.
    /// </summary>
    /// <param name="value">What stands behind the colon.</param>
    public static ReadOnlySpan<byte> AddressOf(ReadOnlySpan<byte> value)
    {
        var (start, end) = (-1, -1); // what is between angle brackets
        var (textStart, textEnd) = (-1, -1); // what is outside of comments, without blanks around it
        for (var i = 0; i < value.Length; i++)
        {
            var from = i;
            i = value[i] switch
            {
                (byte)'(' => EndOfComment(value, i),
                (byte)'"' => EndOfQuoted(value, i),
                _ => i,
            };
            if (i >= value.Length)
            {
                return default; // without its end
            }
            switch (value[from])
            {
                case (byte)'(' or (byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n':
                    continue;
                case (byte)'<' when start < 0:
                    start = i + 1;
                    break;
                case (byte)'>' when start >= 0 && end < 0:
                    end = i;
                    break;
                case (byte)',' or (byte)';' or (byte)':' or (byte)'<' or (byte)'>':
                    return default; // several, a group, or a source route
            }
            textStart = textStart < 0 ? from : textStart;
            textEnd = i + 1;
        }
        var address = start >= 0
            ? (end > start && end == textEnd - 1 ? value[start..end] : default)
            : textStart >= 0 ? value[textStart..textEnd] : default;
        address = address.Trim(" \t\r\n"u8);
        return address.LastIndexOf((byte)'@') is > 0 and var at && at < address.Length - 1
            && address[at..].IndexOfAny(NotInDomain) < 0 ? address : default;
    }

    /// <summary>Index of the parenthesis that closes the comment, or of the end.</summary>
    private static int EndOfComment(ReadOnlySpan<byte> value, int i)
    {
        for (var depth = 0; i < value.Length; i++)
        {
            if (value[i] == '\\')
            {
                i++;
            }
            else if (value[i] == '(')
            {
                depth++;
            }
            else if (value[i] == ')' && --depth == 0)
            {
                return i;
            }
        }
        return value.Length;
    }

    private static int EndOfQuoted(ReadOnlySpan<byte> value, int i)
    {
        for (i++; i < value.Length && value[i] != '"'; i++)
        {
            i += value[i] == '\\' ? 1 : 0;
        }
        return i;
    }
}
