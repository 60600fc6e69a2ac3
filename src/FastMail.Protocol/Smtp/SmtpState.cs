namespace FastMail.Protocol.Smtp;

/// <summary>Where an SMTP dialog stands (RFC 5321 4.1.4).</summary>
internal enum SmtpState
{
    /// <summary>Nothing said yet.</summary>
    Connected,

    /// <summary>220 sent, EHLO or HELO awaited.</summary>
    Greeted,

    /// <summary>Introduced; no transaction.</summary>
    Ready,

    /// <summary>MAIL accepted, no recipient yet.</summary>
    AfterMail,

    /// <summary>At least one recipient accepted.</summary>
    AfterRcpt,

    /// <summary>At least one BDAT chunk accepted, the last one not yet.</summary>
    AfterBdat,

    /// <summary>Behind 354: content up to the end of data.</summary>
    InData,

    /// <summary>Behind BDAT: a counted chunk.</summary>
    InChunk,

    /// <summary>The commit is under way.</summary>
    Committing,

    /// <summary>334 sent: the next line belongs to the SASL exchange.</summary>
    SaslResponse,

    /// <summary>The check of credentials is under way.</summary>
    Authenticating,

    /// <summary>220 sent for STARTTLS: the handshake is awaited, and nothing in the clear is heard any more.</summary>
    StartingTls,

    /// <summary>Nothing more is said or heard.</summary>
    Closed,
}

/// <summary>The table of what each state admits; anything else is a 503. Stateless; any thread.</summary>
internal static class SmtpStates
{
    private const SmtpVerb Always =
        SmtpVerb.Ehlo | SmtpVerb.Helo | SmtpVerb.Rset | SmtpVerb.Vrfy | SmtpVerb.Expn | SmtpVerb.Help | SmtpVerb.Noop
        | SmtpVerb.Quit | SmtpVerb.Lhlo | SmtpVerb.Etrn;

    private static readonly SmtpVerb[] Admitted = MakeTable();

    /// <summary>
    /// BDAT is judged here like every verb, but its method runs in any case: a refused chunk must still be swallowed.
    /// </summary>
    public static bool Admits(this SmtpState state, SmtpVerb verb) => (Admitted[(int)state] & verb) != 0;

    private static SmtpVerb[] MakeTable()
    {
        var table = new SmtpVerb[(int)SmtpState.Closed + 1];
        table[(int)SmtpState.Greeted] = Always | SmtpVerb.StartTls | SmtpVerb.Xclient;
        table[(int)SmtpState.Ready] =
            Always | SmtpVerb.StartTls | SmtpVerb.Auth | SmtpVerb.Mail | SmtpVerb.Xclient;
        table[(int)SmtpState.AfterMail] = Always | SmtpVerb.Rcpt;
        table[(int)SmtpState.AfterRcpt] = Always | SmtpVerb.Rcpt | SmtpVerb.Data | SmtpVerb.Bdat;
        table[(int)SmtpState.AfterBdat] = Always | SmtpVerb.Bdat;
        return table;
    }
}
