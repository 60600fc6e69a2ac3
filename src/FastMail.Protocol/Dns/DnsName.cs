namespace FastMail.Protocol.Dns;

/// <summary>
/// Domain names as they stand in messages (RFC 1035 3.1): labels with their lengths, and a zero. Names are lower-cased
/// on the way in, so that two are the same when their octets are. Static; any thread.
/// </summary>
public static class DnsName
{
    /// <summary>Longest name with its lengths and its zero, octets.</summary>
    public const int MaxBytes = 255;

    private const int MaxLabelBytes = 63;
    private const byte Pointer = 0xc0;

    /// <summary>Writes a name given with dots, without or with the last one.</summary>
    /// <param name="text">ASCII, e.g. <c>2.0.0.127.bl.example</c>.</param>
    /// <param name="name">At least <see cref="MaxBytes"/>.</param>
    /// <param name="length">Octets written.</param>
    /// <returns>False for an empty label, one of more than 63 octets, a name of more than 255, or no ASCII.</returns>
    public static bool TryWrite(ReadOnlySpan<char> text, Span<byte> name, out int length)
    {
        length = 0;
        if (text.EndsWith('.'))
        {
            text = text[..^1];
        }
        while (!text.IsEmpty)
        {
            var dot = text.IndexOf('.');
            var label = dot < 0 ? text : text[..dot];
            if (label.Length is 0 or > MaxLabelBytes || length + label.Length + 2 > MaxBytes || dot == text.Length - 1)
            {
                return false;
            }
            name[length++] = (byte)label.Length;
            foreach (var character in label)
            {
                if (!char.IsAscii(character))
                {
                    return false;
                }
                name[length++] = Lower((byte)character);
            }
            text = dot < 0 ? default : text[(dot + 1)..];
        }
        name[length++] = 0;
        return true;
    }

    /// <summary>
    /// Reads a name with its compression undone (RFC 1035 4.1.4). A pointer leads to a place before the one it was
    /// reached from, as honest ones do: so no message can send the reader in circles.
    /// </summary>
    /// <param name="message">The whole message.</param>
    /// <param name="at">Where the name begins.</param>
    /// <param name="name">At least <see cref="MaxBytes"/>.</param>
    /// <param name="length">Octets written to <paramref name="name"/>.</param>
    /// <param name="next">The place behind the name in the message.</param>
    /// <returns>False when it is none.</returns>
    public static bool TryRead(ReadOnlySpan<byte> message, int at, Span<byte> name, out int length, out int next)
    {
        length = 0;
        next = -1;
        var floor = at; // pointers lead below the start of the part they stand in
        while ((uint)at < (uint)message.Length)
        {
            int octet = message[at];
            if (octet >= Pointer)
            {
                if (at + 1 >= message.Length)
                {
                    return false;
                }
                next = next < 0 ? at + 2 : next;
                at = ((octet & ~Pointer) << 8) | message[at + 1];
                if (at >= floor)
                {
                    return false;
                }
                floor = at;
                continue;
            }
            if (octet > MaxLabelBytes || at + 1 + octet > message.Length || length + octet + 2 > MaxBytes + (octet == 0 ? 1 : 0))
            {
                return false;
            }
            name[length++] = (byte)octet;
            foreach (var character in message.Slice(at + 1, octet))
            {
                name[length++] = Lower(character);
            }
            at += 1 + octet;
            if (octet == 0)
            {
                next = next < 0 ? at : next;
                return true;
            }
        }
        return false;
    }

    /// <summary>
    /// The text of a name that may be a host's: letters, digits, hyphens and underscores between the dots. What stands
    /// in answers ends in replies and logs, so nothing else gets through.
    /// </summary>
    /// <param name="name">As <see cref="TryRead"/> writes it.</param>
    /// <param name="host">Empty for the root.</param>
    public static bool TryGetHost(ReadOnlySpan<byte> name, out string host)
    {
        Span<char> text = stackalloc char[MaxBytes];
        var length = 0;
        host = "";
        for (var at = 0; name[at] != 0; at += name[at] + 1)
        {
            if (length > 0)
            {
                text[length++] = '.';
            }
            foreach (var octet in name.Slice(at + 1, name[at]))
            {
                if (!char.IsAsciiLetterOrDigit((char)octet) && octet is not ((byte)'-' or (byte)'_'))
                {
                    return false;
                }
                text[length++] = (char)octet;
            }
        }
        host = text[..length].ToString();
        return true;
    }

    private static byte Lower(byte octet) => octet is >= (byte)'A' and <= (byte)'Z' ? (byte)(octet | 0x20) : octet;
}
