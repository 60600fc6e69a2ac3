namespace FastMail.Protocol;

/// <summary>
/// Address literals of RFC 5321 4.1.3, read and written. Stateless; any thread. Own and strict, because the library's
/// parser takes octal, hexadecimal, single numbers and scope ids, and two readings of one address are an open relay.
/// </summary>
internal static class AddressLiteral
{
    private const int GroupCount = 8;

    /// <summary>Most octets <see cref="Write"/> needs: brackets, tag and eight groups.</summary>
    public const int MaxBytes = 2 + 5 + 39;

    /// <summary>
    /// <c>"[" ( IPv4-address-literal / IPv6-address-literal ) "]"</c>; tags other than IPv6 are refused.
    /// </summary>
    public static bool IsValid(ReadOnlySpan<byte> literal)
    {
        if (literal.Length < 2 || literal[0] != '[' || literal[^1] != ']')
        {
            return false;
        }
        var inner = literal[1..^1];
        Span<byte> address = stackalloc byte[16];
        return AsciiWord.StartsWith(inner, "IPv6:"u8)
            ? TryParseIPv6(inner[5..], address)
            : TryParseIPv4(inner, address);
    }

    /// <summary><c>Snum 3("." Snum)</c>, decimal 0 to 255 without leading zeros; writes 4 octets.</summary>
    public static bool TryParseIPv4(ReadOnlySpan<byte> text, Span<byte> address)
    {
        var part = 0;
        var digits = 0;
        var value = 0;
        foreach (var octet in text)
        {
            if (octet == '.')
            {
                if (digits == 0 || part == 3)
                {
                    return false;
                }
                address[part++] = (byte)value;
                digits = 0;
                value = 0;
                continue;
            }
            var digit = octet - '0';
            if ((uint)digit > 9 || (digits > 0 && value == 0)) // 010 is 8 to some and 10 to others
            {
                return false;
            }
            value = (value * 10) + digit;
            digits++;
            if (value > 255)
            {
                return false;
            }
        }
        if (part != 3 || digits == 0)
        {
            return false;
        }
        address[3] = (byte)value;
        return true;
    }

    /// <summary>
    /// IPv6-full, IPv6-comp, IPv6v4-full and IPv6v4-comp: eight groups, or at most six and one <c>::</c> that stands
    /// for at least two. Writes 16 octets.
    /// </summary>
    public static bool TryParseIPv6(ReadOnlySpan<byte> text, Span<byte> address)
    {
        Span<ushort> groups = stackalloc ushort[GroupCount];
        var count = 0;
        var gap = -1; // groups before "::"
        if (text.StartsWith("::"u8))
        {
            gap = 0;
            text = text[2..];
        }
        while (!text.IsEmpty)
        {
            var colon = text.IndexOf((byte)':');
            var group = colon < 0 ? text : text[..colon];
            if (colon < 0 && group.Contains((byte)'.'))
            {
                return TryTakeIPv4Tail(group, groups, ref count) && TryJoin(groups[..count], gap, address);
            }
            if (count == GroupCount || !TryParseGroup(group, out groups[count]))
            {
                return false;
            }
            count++;
            if (colon < 0)
            {
                break;
            }
            text = text[(colon + 1)..];
            if (text.IsEmpty)
            {
                return false; // a single colon at the end
            }
            if (text[0] == ':')
            {
                if (gap >= 0)
                {
                    return false;
                }
                gap = count;
                text = text[1..];
            }
        }
        return TryJoin(groups[..count], gap, address);
    }

    /// <summary>
    /// Writes <c>[192.0.2.1]</c> or <c>[IPv6:2001:db8::1]</c> (RFC 5952 text) for 4 or 16 octets; an IPv4 address
    /// mapped into IPv6 is written as what it is. Returns the length.
    /// </summary>
    public static int Write(ReadOnlySpan<byte> address, Span<byte> destination)
    {
        if (address.Length == 16 && address[..10].IndexOfAnyExcept((byte)0) < 0 && address[10] == 0xFF
            && address[11] == 0xFF)
        {
            address = address[12..];
        }
        var writer = new ReplyWriter(destination);
        writer.Write((byte)'[');
        if (address.Length == 4)
        {
            WriteIPv4(address, ref writer);
        }
        else
        {
            writer.Write("IPv6:"u8);
            WriteIPv6(address, ref writer);
        }
        writer.Write((byte)']');
        return writer.Written;
    }

    private static bool TryTakeIPv4Tail(ReadOnlySpan<byte> tail, Span<ushort> groups, ref int count)
    {
        Span<byte> octets = stackalloc byte[4];
        if (count > GroupCount - 2 || !TryParseIPv4(tail, octets))
        {
            return false;
        }
        groups[count++] = (ushort)((octets[0] << 8) | octets[1]);
        groups[count++] = (ushort)((octets[2] << 8) | octets[3]);
        return true;
    }

    private static bool TryParseGroup(ReadOnlySpan<byte> text, out ushort value)
    {
        value = 0;
        if (text.Length is 0 or > 4)
        {
            return false;
        }
        foreach (var octet in text)
        {
            if (!char.IsAsciiHexDigit((char)octet))
            {
                return false;
            }
            value = (ushort)((value << 4) | (octet <= '9' ? octet - '0' : (octet | 0x20) - 'a' + 10));
        }
        return true;
    }

    private static bool TryJoin(ReadOnlySpan<ushort> groups, int gap, Span<byte> address)
    {
        if (gap < 0 ? groups.Length != GroupCount : groups.Length > GroupCount - 2)
        {
            return false;
        }
        address[..16].Clear();
        for (var i = 0; i < groups.Length; i++)
        {
            var place = gap >= 0 && i >= gap ? GroupCount - groups.Length + i : i;
            address[place * 2] = (byte)(groups[i] >> 8);
            address[(place * 2) + 1] = (byte)groups[i];
        }
        return true;
    }

    private static void WriteIPv4(ReadOnlySpan<byte> address, ref ReplyWriter writer)
    {
        for (var i = 0; i < 4; i++)
        {
            if (i > 0)
            {
                writer.Write((byte)'.');
            }
            writer.WriteNumber(address[i]);
        }
    }

    private static void WriteIPv6(ReadOnlySpan<byte> address, ref ReplyWriter writer)
    {
        var (gapStart, gapLength) = LongestZeros(address);
        for (var group = 0; group < GroupCount; group++)
        {
            if (group == gapStart)
            {
                writer.Write("::"u8);
                group += gapLength - 1;
                continue;
            }
            if (group > 0 && group != gapStart + gapLength)
            {
                writer.Write((byte)':');
            }
            WriteGroup((address[group * 2] << 8) | address[(group * 2) + 1], ref writer);
        }
    }

    private static void WriteGroup(int value, ref ReplyWriter writer)
    {
        var shift = value > 0xFFF ? 12 : value > 0xFF ? 8 : value > 0xF ? 4 : 0;
        for (; shift >= 0; shift -= 4)
        {
            writer.Write("0123456789abcdef"u8[(value >> shift) & 15]);
        }
    }

    private static (int Start, int Length) LongestZeros(ReadOnlySpan<byte> address)
    {
        var (start, length) = (-1, 1); // one group alone is not shortened (RFC 5952 4.2.2)
        var run = 0;
        for (var group = 0; group < GroupCount; group++)
        {
            run = address[group * 2] == 0 && address[(group * 2) + 1] == 0 ? run + 1 : 0;
            if (run > length)
            {
                (start, length) = (group - run + 1, run);
            }
        }
        return start < 0 ? (-1, 0) : (start, length);
    }
}
