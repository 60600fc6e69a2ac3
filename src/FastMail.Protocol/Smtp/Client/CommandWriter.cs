namespace FastMail.Protocol.Smtp.Client;

/// <summary>
/// Writes MAIL and RCPT with the parameters that the host offers to understand. Stateless; any thread. Paths were looked
/// at before; a parameter that could not stand on a command line is left out.
/// </summary>
internal static class CommandWriter
{
    public static void Mail(IOutgoingMail outgoing, bool needsUtf8, bool isAuthenticated, SmtpOffers offers, ref ReplyWriter output)
    {
        var mail = outgoing.Mail;
        output.Write("MAIL FROM:<"u8);
        output.Write(mail.ReversePath);
        output.Write(">"u8);
        if ((offers & SmtpOffers.Size) != 0)
        {
            output.Write(" SIZE="u8);
            output.WriteNumber(mail.DeclaredSize > 0 ? mail.DeclaredSize : outgoing.Content.WireBytes);
        }
        if (mail.Is8BitMime)
        {
            output.Write(" BODY=8BITMIME"u8);
        }
        if (needsUtf8)
        {
            output.Write(" SMTPUTF8"u8);
        }
        if ((offers & SmtpOffers.Dsn) != 0)
        {
            WriteReport(mail, ref output);
        }
        if (isAuthenticated && !mail.AuthMailbox.IsEmpty)
        {
            output.Write(" AUTH=<>"u8); // who it was with us is not for us to vouch for (RFC 4954 5)
        }
        if (mail.RequiresTls)
        {
            output.Write(" REQUIRETLS"u8);
        }
        WriteUrgency(mail, offers, ref output);
        output.WriteLineEnd();
    }

    /// <param name="rcpt">What is asked for.</param>
    /// <param name="isUtf8">The transaction has SMTPUTF8.</param>
    /// <param name="mustReportDelay">The host is to report a delay unless nothing at all is to be reported.</param>
    /// <param name="offers">Of the host.</param>
    /// <param name="output">Takes the line.</param>
    public static void Rcpt(
        in RcptArguments rcpt, bool isUtf8, bool mustReportDelay, SmtpOffers offers, ref ReplyWriter output)
    {
        output.Write("RCPT TO:<"u8);
        output.Write(rcpt.ForwardPath);
        output.Write(">"u8);
        if ((offers & SmtpOffers.Dsn) != 0)
        {
            WriteNotify(mustReportDelay ? WithDelay(rcpt.Notify) : rcpt.Notify, ref output);
            if (IsValue(rcpt.OriginalRecipient, isUtf8, Limits.OriginalRecipientBytes))
            {
                output.Write(" ORCPT="u8);
                output.Write(rcpt.OriginalRecipient);
            }
        }
        output.WriteLineEnd();
    }

    private static void WriteReport(in MailArguments mail, ref ReplyWriter output)
    {
        if (mail.Return != DsnReturn.Unsaid)
        {
            output.Write(mail.Return == DsnReturn.Full ? " RET=FULL"u8 : " RET=HDRS"u8);
        }
        if (IsValue(mail.EnvelopeId, isUtf8: false, Limits.EnvelopeIdBytes))
        {
            output.Write(" ENVID="u8);
            output.Write(mail.EnvelopeId);
        }
    }

    private static void WriteUrgency(in MailArguments mail, SmtpOffers offers, ref ReplyWriter output)
    {
        if (mail.Priority is { } priority && (offers & SmtpOffers.MtPriority) != 0)
        {
            output.Write(" MT-PRIORITY="u8);
            output.WriteNumber(priority);
        }
        if (mail.DeliverBy is { } by && (offers & SmtpOffers.DeliverBy) != 0)
        {
            output.Write(" BY="u8);
            output.WriteNumber(by.Seconds);
            output.Write(by.IsReturn ? ";R"u8 : ";N"u8);
            output.Write(by.IsTraced ? "T"u8 : default);
        }
    }

    private static DsnNotify WithDelay(DsnNotify notify) => notify switch
    {
        DsnNotify.Never => DsnNotify.Never,
        DsnNotify.Unsaid => DsnNotify.Failure | DsnNotify.Delay, // what it means when nothing is said
        _ => notify | DsnNotify.Delay,
    };

    private static void WriteNotify(DsnNotify notify, ref ReplyWriter output)
    {
        if (notify == DsnNotify.Unsaid)
        {
            return;
        }
        output.Write(" NOTIFY="u8);
        if (notify == DsnNotify.Never)
        {
            output.Write("NEVER"u8);
            return;
        }
        var separator = ""u8;
        WriteOne(DsnNotify.Success, "SUCCESS"u8, ref separator, ref output);
        WriteOne(DsnNotify.Failure, "FAILURE"u8, ref separator, ref output);
        WriteOne(DsnNotify.Delay, "DELAY"u8, ref separator, ref output);

        void WriteOne(DsnNotify one, ReadOnlySpan<byte> word, ref ReadOnlySpan<byte> before, ref ReplyWriter to)
        {
            if ((notify & one) != 0)
            {
                to.Write(before);
                to.Write(word);
                before = ","u8;
            }
        }
    }

    /// <summary><c>esmtp-value</c>: no blank, no control octet; UTF-8 only where the transaction says so.</summary>
    private static bool IsValue(ReadOnlySpan<byte> value, bool isUtf8, int longest) =>
        !value.IsEmpty && value.Length <= longest
        && !value.ContainsAnyInRange((byte)0, (byte)' ') && !value.Contains((byte)127)
        && (isUtf8 || System.Text.Ascii.IsValid(value));
}
