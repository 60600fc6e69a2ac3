namespace FastMail.Protocol.Smtp;

/// <summary>What is wrong with the parameters of MAIL or RCPT, if anything.</summary>
internal enum ParameterStatus
{
    Ok,
    Malformed,
    Unknown,
}

/// <summary>
/// The parameters of MAIL (RFC 5321 4.1.1.2): SIZE (RFC 1870), BODY (RFC 6152, RFC 3030), SMTPUTF8 (RFC 6531), AUTH (RFC 4954 5),
/// RET and ENVID (RFC 3461 4), BY (RFC 2852), MT-PRIORITY (RFC 6710), REQUIRETLS
/// (RFC 8689), HOLDFOR and HOLDUNTIL (RFC 4865). Parsed without opinion on their values; views that
/// die with the call.
/// </summary>
internal ref struct MailParameters
{
    private const int DeliverByDigits = 9;
    private const int HoldForDigits = 9;

    private Seen _seen;

    /// <summary>A parameter may stand once.</summary>
    [Flags]
    private enum Seen
    {
        None = 0,
        Size = 1 << 0,
        Body = 1 << 1,
        SmtpUtf8 = 1 << 2,
        Auth = 1 << 3,
        Ret = 1 << 4,
        EnvelopeId = 1 << 5,
        By = 1 << 6,
        Priority = 1 << 7,
        RequireTls = 1 << 8,
        Hold = 1 << 9, // one of the two
    }

    /// <summary>Octets, saturated; 0 when it was not given.</summary>
    public long Size { get; private set; }

    public bool Is8BitMime { get; private set; }

    public bool IsBinaryMime { get; private set; }

    public readonly bool RequiresTls => (_seen & Seen.RequireTls) != 0;

    public readonly bool IsSmtpUtf8 => (_seen & Seen.SmtpUtf8) != 0;

    public DsnReturn Return { get; private set; }

    /// <summary>ENVID as it was given, in xtext.</summary>
    public ReadOnlySpan<byte> EnvelopeId { get; private set; }

    /// <summary>AUTH as it was given, in xtext.</summary>
    public ReadOnlySpan<byte> AuthMailbox { get; private set; }

    public DeliverBy? DeliverBy { get; private set; }

    /// <summary>-9 to 9.</summary>
    public int? Priority { get; private set; }

    /// <summary>HOLDFOR or HOLDUNTIL; null when neither was given.</summary>
    public FutureRelease? Release { get; private set; }

    /// <summary>Its value as it was given; empty when neither was.</summary>
    public ReadOnlySpan<byte> ReleaseText { get; private set; }

    /// <summary><c>*( SP esmtp-param )</c>, starting right behind the path.</summary>
    public ParameterStatus Parse(ReadOnlySpan<byte> text, SmtpExtensions extensions, bool takesAuth)
    {
        while (!text.IsEmpty)
        {
            if (!EsmtpParameter.TryTake(ref text, takesUtf8: false, out var parameter))
            {
                return ParameterStatus.Malformed;
            }
            var status = TakeOne(parameter, extensions, takesAuth);
            if (status != ParameterStatus.Ok)
            {
                return status;
            }
        }
        return ParameterStatus.Ok;
    }

    private ParameterStatus TakeOne(EsmtpParameter parameter, SmtpExtensions extensions, bool takesAuth)
    {
        if (parameter.Is("SIZE"u8))
        {
            var isNumber = StrictDecimal.TryParse(parameter.Value, out var size);
            Size = size;
            return Judge(Seen.Size, isNumber);
        }
        if (parameter.Is("BODY"u8))
        {
            Is8BitMime = AsciiWord.Is(parameter.Value, "8BITMIME"u8);
            IsBinaryMime = AsciiWord.Is(parameter.Value, "BINARYMIME"u8);
            return Judge(Seen.Body, Is8BitMime || IsBinaryMime || AsciiWord.Is(parameter.Value, "7BIT"u8));
        }
        if (parameter.Is("SMTPUTF8"u8))
        {
            return Judge(Seen.SmtpUtf8, !parameter.HasValue);
        }
        return takesAuth && parameter.Is("AUTH"u8) ? TakeAuth(parameter.Value) : TakeRareSlow(parameter, extensions);
    }

    private ParameterStatus TakeRareSlow(EsmtpParameter parameter, SmtpExtensions extensions)
    {
        if ((extensions & SmtpExtensions.Dsn) != 0)
        {
            if (parameter.Is("RET"u8))
            {
                Return = AsciiWord.Is(parameter.Value, "FULL"u8) ? DsnReturn.Full
                    : AsciiWord.Is(parameter.Value, "HDRS"u8) ? DsnReturn.Headers
                    : DsnReturn.Unsaid;
                return Judge(Seen.Ret, Return != DsnReturn.Unsaid);
            }
            if (parameter.Is("ENVID"u8))
            {
                EnvelopeId = parameter.Value;
                var isRight = parameter.Value.Length is > 0 and <= Limits.EnvelopeIdBytes
                    && Xtext.IsPrintable(parameter.Value);
                return Judge(Seen.EnvelopeId, isRight);
            }
        }
        if ((extensions & SmtpExtensions.RequireTls) != 0 && parameter.Is("REQUIRETLS"u8))
        {
            return Judge(Seen.RequireTls, !parameter.HasValue);
        }
        if ((extensions & SmtpExtensions.DeliverBy) != 0 && parameter.Is("BY"u8))
        {
            DeliverBy = ParseDeliverBy(parameter.Value);
            return Judge(Seen.By, DeliverBy is not null);
        }
        if ((extensions & SmtpExtensions.MtPriority) != 0 && parameter.Is("MT-PRIORITY"u8))
        {
            Priority = ParsePriority(parameter.Value);
            return Judge(Seen.Priority, Priority is not null);
        }
        return (extensions & SmtpExtensions.FutureRelease) != 0 ? TakeHoldSlow(parameter) : ParameterStatus.Unknown;
    }

    private ParameterStatus TakeHoldSlow(EsmtpParameter parameter)
    {
        ReleaseText = parameter.Value;
        if (parameter.Is("HOLDFOR"u8))
        {
            Release = ParseHoldFor(parameter.Value);
            return Judge(Seen.Hold, Release is not null);
        }
        if (parameter.Is("HOLDUNTIL"u8))
        {
            var isDate = InternetDateTime.TryParse(parameter.Value, out var seconds);
            Release = new FutureRelease(seconds, IsUntil: true);
            return Judge(Seen.Hold, isDate);
        }
        return ParameterStatus.Unknown;
    }

    private ParameterStatus Judge(Seen parameter, bool isRight)
    {
        var isFirst = (_seen & parameter) == 0;
        _seen |= parameter;
        return isFirst && isRight ? ParameterStatus.Ok : ParameterStatus.Malformed;
    }

    /// <summary><c>"&lt;&gt;"</c> or a mailbox, as xtext.</summary>
    private ParameterStatus TakeAuth(ReadOnlySpan<byte> xtext)
    {
        AuthMailbox = xtext;
        Span<byte> mailbox = stackalloc byte[Limits.PathBytes];
        if (!Xtext.TryDecode(xtext, mailbox, out var length))
        {
            return ParameterStatus.Malformed;
        }
        mailbox = mailbox[..length];
        var isRight = mailbox.SequenceEqual("<>"u8)
            || (SmtpPath.TryParseMailbox(mailbox, out var whole, out _) && whole == mailbox.Length);
        return Judge(Seen.Auth, isRight);
    }

    /// <summary>
    /// <c>["-" / "+"] 1*9DIGIT ";" ("N" / "R") ["T"]</c>; what is to be returned must have some time left.
    /// </summary>
    private static DeliverBy? ParseDeliverBy(ReadOnlySpan<byte> value)
    {
        var semicolon = value.IndexOf((byte)';');
        if (semicolon < 0)
        {
            return null;
        }
        var number = value[..semicolon];
        var isNegative = number.StartsWith("-"u8);
        number = isNegative || number.StartsWith("+"u8) ? number[1..] : number;
        var mode = value[(semicolon + 1)..];
        var isTraced = mode.Length == 2 && AsciiWord.Is(mode[1..], "T"u8);
        var isReturn = !mode.IsEmpty && AsciiWord.Is(mode[..1], "R"u8);
        var isMode = mode.Length == (isTraced ? 2 : 1) && (isReturn || AsciiWord.Is(mode[..1], "N"u8));
        if (!isMode || number.Length > DeliverByDigits || !StrictDecimal.TryParse(number, out var seconds))
        {
            return null;
        }
        seconds = isNegative ? -seconds : seconds;
        return isReturn && seconds <= 0 ? null : new DeliverBy(seconds, isReturn, isTraced);
    }

    /// <summary><c>%x31-39 *8DIGIT</c></summary>
    private static FutureRelease? ParseHoldFor(ReadOnlySpan<byte> value) =>
        value.Length is >= 1 and <= HoldForDigits && value[0] != '0' && StrictDecimal.TryParse(value, out var seconds)
            ? new FutureRelease(seconds, IsUntil: false)
            : null;

    /// <summary><c>["-"] NZDIGIT / "0"</c></summary>
    private static int? ParsePriority(ReadOnlySpan<byte> value)
    {
        var isNegative = value.StartsWith("-"u8);
        var digit = isNegative ? value[1..] : value;
        return digit.Length == 1 && digit[0] is >= (byte)'0' and <= (byte)'9' && !(isNegative && digit[0] == '0')
            ? (digit[0] - '0') * (isNegative ? -1 : 1)
            : null;
    }
}
