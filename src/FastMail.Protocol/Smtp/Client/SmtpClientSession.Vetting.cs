namespace FastMail.Protocol.Smtp.Client;

/// <summary>What a host cannot be asked for, found out before it is asked.</summary>
public sealed partial class SmtpClientSession
{
    /// <summary>False when nothing of the transaction can be said to this host; it is over then.</summary>
    private bool Vet(ClientTransaction transaction)
    {
        transaction.IsVetted = true;
        var mail = transaction.Mail.Mail;
        var content = transaction.Mail.Content;
        if (FindObstacle(mail, content) is { } words)
        {
            transaction.AnswerAll(new DeliveryReply(ClientPhase.Mail, words));
        }
        transaction.NeedsUtf8 = mail.IsSmtpUtf8 || !System.Text.Ascii.IsValid(mail.ReversePath);
        for (var i = 0; i < transaction.Recipients && transaction.Left > 0; i++)
        {
            VetRecipient(transaction, i);
        }
        if (transaction.Left > 0)
        {
            var dots = content.WireBytes - NoContent.Length - content.Octets;
            transaction.ChunkLeft = content.Octets;
            transaction.UsesChunk = _options.UsesChunking && !_options.IsLmtp && _offers.Has(SmtpOffers.Chunking)
                && content.Octets >= 0 && dots <= Limits.ChunkedContentDots
                && content.WireBytes <= Limits.ChunkedContentBytes;
            return true;
        }
        _needsReset |= transaction.Said < 0;
        _begun--;
        _count--; // it is the newest, and of the older ones nothing changes
        transaction.End();
        return false;
    }

    private SmtpReply? FindObstacle(in MailArguments mail, OutgoingContent content)
    {
        var size = mail.DeclaredSize > 0 ? mail.DeclaredSize : content.WireBytes;
        return !mail.ReversePath.IsEmpty && !Mailbox.IsValid(mail.ReversePath) ? ClientReplies.BadPath
            : mail.Is8BitMime && !_offers.Has(SmtpOffers.EightBitMime) ? ClientReplies.NoEightBit
            : (mail.IsSmtpUtf8 || !System.Text.Ascii.IsValid(mail.ReversePath)) && !_offers.Has(SmtpOffers.SmtpUtf8)
                ? ClientReplies.NoSmtpUtf8
            : mail.RequiresTls && !(_isVerified && _offers.Has(SmtpOffers.RequireTls)) ? ClientReplies.NoRequireTls
            : mail.DeliverBy is { IsReturn: true } by && !_options.IsLmtp && FindObstacle(by) is { } words ? words
            : MaxSize > 0 && size > MaxSize ? ClientReplies.TooLarge
            : null;
    }

    /// <summary>RFC 2852 4.1.4.1: what must not be late is relayed to a host that keeps such a time only. LMTP delivers.</summary>
    private SmtpReply? FindObstacle(DeliverBy by) => !_offers.Has(SmtpOffers.DeliverBy) ? ClientReplies.NoDeliverBy
        : by.Seconds < _offers.LeastByTime ? ClientReplies.ByTimeTooShort
        : null;

    /// <summary>
    /// RFC 2852 4.1.4.2: the time to deliver it in is not over, and the host does not know of it. It can tell the sender
    /// of a delay of its own at least. Nobody is told of mail without a sender.
    /// </summary>
    private bool MustReportDelay(in MailArguments mail) =>
        mail.DeliverBy is { IsReturn: false, Seconds: >= 0 } && !mail.ReversePath.IsEmpty
        && !_options.IsLmtp && !_offers.Has(SmtpOffers.DeliverBy);

    /// <summary>A path that is none could say anything to the host, CRLF and a command of its own included.</summary>
    private void VetRecipient(ClientTransaction transaction, int number)
    {
        var path = transaction.Mail.Recipient(number).ForwardPath;
        if (!Mailbox.IsValid(path) && !AsciiWord.Is(path, "postmaster"u8))
        {
            transaction.Skip(number, new DeliveryReply(ClientPhase.Rcpt, ClientReplies.BadPath));
        }
        else if (System.Text.Ascii.IsValid(path))
        {
            return;
        }
        else if (_offers.Has(SmtpOffers.SmtpUtf8))
        {
            transaction.NeedsUtf8 = true;
        }
        else
        {
            transaction.Skip(number, new DeliveryReply(ClientPhase.Rcpt, ClientReplies.NoSmtpUtf8));
        }
    }
}
