namespace FastMail.Protocol.Smtp;

/// <summary>
/// The parameters of MAIL (RFC 5321 4.1.1.2): SIZE (RFC 1870), BODY (RFC 6152), SMTPUTF8 (RFC 6531) and AUTH (RFC 4954
/// 5, checked and dropped). Parsed without opinion on their values; lives on the stack of one call.
/// </summary>
internal struct MailParameters
{
    /// <summary>What is wrong with the parameters, if anything.</summary>
    internal enum Status
    {
        Ok,
        Malformed,
        Unknown,
    }

    private bool _hasSize;
    private bool _hasBody;
    private bool _hasAuth;

    /// <summary>Octets, saturated; 0 when it was not given.</summary>
    public long Size { get; private set; }

    public bool Is8BitMime { get; private set; }

    public bool IsSmtpUtf8 { get; private set; }

    /// <summary><c>*( SP esmtp-param )</c>, starting right behind the path.</summary>
    public Status Parse(ReadOnlySpan<byte> text, bool takesAuth)
    {
        while (!text.IsEmpty)
        {
            if (text[0] != ' ')
            {
                return Status.Malformed;
            }
            text = text[1..];
            var end = text.IndexOf((byte)' ');
            var parameter = end < 0 ? text : text[..end];
            text = end < 0 ? default : text[end..];
            var status = TakeOne(parameter, takesAuth);
            if (status != Status.Ok)
            {
                return status;
            }
        }
        return Status.Ok;
    }

    /// <summary><c>esmtp-param = esmtp-keyword ["=" esmtp-value]</c></summary>
    public static bool TrySplit(
        ReadOnlySpan<byte> parameter, out ReadOnlySpan<byte> keyword, out ReadOnlySpan<byte> value, out bool hasValue)
    {
        var equals = parameter.IndexOf((byte)'=');
        hasValue = equals >= 0;
        keyword = hasValue ? parameter[..equals] : parameter;
        value = hasValue ? parameter[(equals + 1)..] : default;
        if (keyword.IsEmpty || keyword[0] == '-')
        {
            return false;
        }
        foreach (var octet in keyword)
        {
            if (!AsciiWord.IsLetterOrDigit(octet) && octet != '-')
            {
                return false;
            }
        }
        // esmtp-value = 1*(%d33-60 / %d62-126), or UTF-8 where the parameter says so; none of ours does.
        return !hasValue
            || (!value.IsEmpty && value.IndexOfAnyExceptInRange((byte)33, (byte)126) < 0 && !value.Contains((byte)'='));
    }

    private Status TakeOne(ReadOnlySpan<byte> parameter, bool takesAuth)
    {
        if (!TrySplit(parameter, out var keyword, out var value, out var hasValue))
        {
            return Status.Malformed;
        }
        if (AsciiWord.Is(keyword, "SIZE"u8))
        {
            var isFirst = !_hasSize;
            _hasSize = true;
            var isNumber = StrictDecimal.TryParse(value, out var size);
            Size = size;
            return isFirst && isNumber ? Status.Ok : Status.Malformed;
        }
        if (AsciiWord.Is(keyword, "BODY"u8))
        {
            var isFirst = !_hasBody;
            _hasBody = true;
            Is8BitMime = AsciiWord.Is(value, "8BITMIME"u8);
            return isFirst && (Is8BitMime || AsciiWord.Is(value, "7BIT"u8)) ? Status.Ok : Status.Malformed;
        }
        if (AsciiWord.Is(keyword, "SMTPUTF8"u8))
        {
            var isFirst = !IsSmtpUtf8;
            IsSmtpUtf8 = true;
            return isFirst && !hasValue ? Status.Ok : Status.Malformed;
        }
        if (takesAuth && AsciiWord.Is(keyword, "AUTH"u8))
        {
            var isFirst = !_hasAuth;
            _hasAuth = true;
            return isFirst && IsAuthValue(value) ? Status.Ok : Status.Malformed;
        }
        return Status.Unknown;
    }

    /// <summary><c>"&lt;&gt;"</c> or a mailbox, as xtext (RFC 3461 4).</summary>
    private static bool IsAuthValue(ReadOnlySpan<byte> xtext)
    {
        Span<byte> mailbox = stackalloc byte[Limits.PathBytes];
        var length = 0;
        for (var i = 0; i < xtext.Length; i++, length++)
        {
            if (length == mailbox.Length)
            {
                return false;
            }
            mailbox[length] = xtext[i];
            if (xtext[i] != '+')
            {
                continue;
            }
            if (xtext.Length - i < 3 || !TryHex(xtext[i + 1], out var high) || !TryHex(xtext[i + 2], out var low))
            {
                return false;
            }
            mailbox[length] = (byte)((high << 4) | low);
            i += 2;
        }
        mailbox = mailbox[..length];
        return mailbox.SequenceEqual("<>"u8)
            || (SmtpPath.TryParseMailbox(mailbox, out var whole, out _) && whole == mailbox.Length);
    }

    private static bool TryHex(byte octet, out int value)
    {
        value = octet <= '9' ? octet - '0' : octet - 'A' + 10;
        return char.IsAsciiHexDigitUpper((char)octet);
    }
}
