namespace FastMail.Protocol.Smtp;

/// <summary>
/// Verbs in the order of RFC 5321 4.1.1, then the extensions'; as bits, so that a state admits a set.
/// </summary>
[Flags]
internal enum SmtpVerb
{
    Unknown = 0,
    Ehlo = 1 << 0,
    Helo = 1 << 1,
    Mail = 1 << 2,
    Rcpt = 1 << 3,
    Data = 1 << 4,
    Rset = 1 << 5,
    Vrfy = 1 << 6,
    Expn = 1 << 7,
    Help = 1 << 8,
    Noop = 1 << 9,
    Quit = 1 << 10,
    Bdat = 1 << 11,
    Auth = 1 << 12,
    StartTls = 1 << 13,
    Lhlo = 1 << 14,
    Etrn = 1 << 15,
    Xclient = 1 << 16,
}

/// <summary>Recognises the verb of a command line. Stateless; any thread.</summary>
internal static class SmtpVerbs
{
    private static readonly uint Ehlo = AsciiWord.Pack("EHLO"u8);
    private static readonly uint Helo = AsciiWord.Pack("HELO"u8);
    private static readonly uint Mail = AsciiWord.Pack("MAIL"u8);
    private static readonly uint Rcpt = AsciiWord.Pack("RCPT"u8);
    private static readonly uint Data = AsciiWord.Pack("DATA"u8);
    private static readonly uint Rset = AsciiWord.Pack("RSET"u8);
    private static readonly uint Vrfy = AsciiWord.Pack("VRFY"u8);
    private static readonly uint Expn = AsciiWord.Pack("EXPN"u8);
    private static readonly uint Help = AsciiWord.Pack("HELP"u8);
    private static readonly uint Noop = AsciiWord.Pack("NOOP"u8);
    private static readonly uint Quit = AsciiWord.Pack("QUIT"u8);
    private static readonly uint Bdat = AsciiWord.Pack("BDAT"u8);
    private static readonly uint Auth = AsciiWord.Pack("AUTH"u8);
    private static readonly uint Lhlo = AsciiWord.Pack("LHLO"u8);
    private static readonly uint Etrn = AsciiWord.Pack("ETRN"u8);
    private static readonly uint Xcli = AsciiWord.Pack("XCLI"u8);
    private static readonly uint Star = AsciiWord.Pack("STAR"u8);

    /// <summary>
    /// The verb is followed by one space or by nothing; <paramref name="argument"/> is the rest without blanks at its
    /// end.
    /// </summary>
    public static SmtpVerb Parse(ReadOnlySpan<byte> line, out ReadOnlySpan<byte> argument)
    {
        var verb = Recognise(AsciiWord.Fold(line));
        var length = 4;
        if (verb == SmtpVerb.StartTls)
        {
            length = 8;
            verb = AsciiWord.StartsWith(line, "STARTTLS"u8) ? verb : SmtpVerb.Unknown;
        }
        else if (verb == SmtpVerb.Xclient)
        {
            length = 7;
            verb = AsciiWord.StartsWith(line, "XCLIENT"u8) ? verb : SmtpVerb.Unknown;
        }
        argument = default;
        if (verb == SmtpVerb.Unknown || line.Length == length)
        {
            return verb;
        }
        if (line[length] != ' ')
        {
            return SmtpVerb.Unknown;
        }
        argument = AsciiWord.TrimEnd(line[(length + 1)..]);
        return verb;
    }

    /// <summary>AUTH lines may be longer than others; known before the line is complete.</summary>
    public static bool IsAuth(ReadOnlySpan<byte> line) => AsciiWord.Fold(line) == Auth;

    private static SmtpVerb Recognise(uint word)
    {
        // The common ones first: static readonly fields are constants to the second-tier compiler.
        if (word == Mail)
        {
            return SmtpVerb.Mail;
        }
        if (word == Rcpt)
        {
            return SmtpVerb.Rcpt;
        }
        if (word == Data)
        {
            return SmtpVerb.Data;
        }
        return RecogniseSlow(word);
    }

    private static SmtpVerb RecogniseSlow(uint word) =>
        word == Ehlo ? SmtpVerb.Ehlo
        : word == Helo ? SmtpVerb.Helo
        : word == Rset ? SmtpVerb.Rset
        : word == Vrfy ? SmtpVerb.Vrfy
        : word == Expn ? SmtpVerb.Expn
        : word == Help ? SmtpVerb.Help
        : word == Noop ? SmtpVerb.Noop
        : word == Quit ? SmtpVerb.Quit
        : word == Bdat ? SmtpVerb.Bdat
        : word == Auth ? SmtpVerb.Auth
        : word == Lhlo ? SmtpVerb.Lhlo
        : word == Etrn ? SmtpVerb.Etrn
        : word == Star ? SmtpVerb.StartTls
        : word == Xcli ? SmtpVerb.Xclient
        : SmtpVerb.Unknown;
}
