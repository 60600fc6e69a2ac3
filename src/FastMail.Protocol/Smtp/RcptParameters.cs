namespace FastMail.Protocol.Smtp;

/// <summary>
/// The parameters of RCPT: NOTIFY and ORCPT (RFC 3461 4, RFC 6533 3). Views that die with the call.
/// </summary>
internal ref struct RcptParameters
{
    private bool _hasNotify;
    private bool _hasOriginal;

    public DsnNotify Notify { get; private set; }

    /// <summary>ORCPT as it was given: <c>addr-type ";" address</c>, the address encoded.</summary>
    public ReadOnlySpan<byte> OriginalRecipient { get; private set; }

    /// <summary><c>*( SP esmtp-param )</c>, starting right behind the path.</summary>
    public ParameterStatus Parse(ReadOnlySpan<byte> text, SmtpExtensions extensions, bool isSmtpUtf8)
    {
        while (!text.IsEmpty)
        {
            if (!EsmtpParameter.TryTake(ref text, isSmtpUtf8, out var parameter))
            {
                return ParameterStatus.Malformed;
            }
            if ((extensions & SmtpExtensions.Dsn) == 0)
            {
                return ParameterStatus.Unknown;
            }
            bool isRight;
            if (parameter.Is("NOTIFY"u8))
            {
                isRight = TryParseNotify(parameter.Value, out var notify) && !_hasNotify;
                Notify = notify;
                _hasNotify = true;
            }
            else if (parameter.Is("ORCPT"u8))
            {
                isRight = !_hasOriginal && IsOriginalRecipient(parameter.Value, isSmtpUtf8);
                OriginalRecipient = parameter.Value;
                _hasOriginal = true;
            }
            else
            {
                return ParameterStatus.Unknown;
            }
            if (!isRight)
            {
                return ParameterStatus.Malformed;
            }
        }
        return ParameterStatus.Ok;
    }

    /// <summary><c>"NEVER" / ( "SUCCESS" / "FAILURE" / "DELAY" ) *( "," ...)</c></summary>
    private static bool TryParseNotify(ReadOnlySpan<byte> value, out DsnNotify notify)
    {
        notify = DsnNotify.Unsaid;
        if (AsciiWord.Is(value, "NEVER"u8))
        {
            notify = DsnNotify.Never;
            return true;
        }
        while (true)
        {
            var comma = value.IndexOf((byte)',');
            var word = comma < 0 ? value : value[..comma];
            var one = AsciiWord.Is(word, "SUCCESS"u8) ? DsnNotify.Success
                : AsciiWord.Is(word, "FAILURE"u8) ? DsnNotify.Failure
                : AsciiWord.Is(word, "DELAY"u8) ? DsnNotify.Delay
                : DsnNotify.Unsaid;
            if (one == DsnNotify.Unsaid || (notify & one) != 0)
            {
                return false;
            }
            notify |= one;
            if (comma < 0)
            {
                return true;
            }
            value = value[(comma + 1)..];
        }
    }

    private static bool IsOriginalRecipient(ReadOnlySpan<byte> value, bool isSmtpUtf8)
    {
        var semicolon = value.IndexOf((byte)';');
        if (semicolon <= 0 || semicolon == value.Length - 1 || value.Length > Limits.OriginalRecipientBytes)
        {
            return false;
        }
        var type = value[..semicolon];
        var address = value[(semicolon + 1)..];
        foreach (var octet in type)
        {
            if (!AsciiWord.IsLetterOrDigit(octet) && octet != '-')
            {
                return false;
            }
        }
        return AsciiWord.Is(type, "utf-8"u8)
            ? Xtext.IsUtf8Address(address, isSmtpUtf8)
            : Xtext.IsPrintable(address);
    }
}
