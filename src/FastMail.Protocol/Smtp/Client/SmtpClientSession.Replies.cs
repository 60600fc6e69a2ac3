namespace FastMail.Protocol.Smtp.Client;

/// <summary>The replies to transactions, and how these end.</summary>
public sealed partial class SmtpClientSession
{
    /// <summary>The next reply belongs to the oldest transaction.</summary>
    private void TakeTransactionReply(in HostReply reply)
    {
        if (reply.Code == 421 || (_count == 0 && reply.Code is >= 400 and < 500))
        {
            Fail(reply); // the host closes (RFC 5321 3.8)
            return;
        }
        if (_count == 0)
        {
            Fail(ClientReplies.OutOfPlace);
            return;
        }
        var transaction = Oldest;
        transaction.PassOver();
        var isOfContent = transaction.Answered >= transaction.ContentNumber;
        if (transaction.Outstanding <= 0 || (isOfContent && transaction.ContentTurn == _turn))
        {
            TakeEarlyReply(transaction, reply);
            return;
        }
        var isInPlace = transaction.Answered switch
        {
            < 0 => TakeReset(transaction, reply),
            0 => TakeMail(transaction, reply),
            _ when transaction.Answered < transaction.DataNumber => TakeRcpt(transaction, reply),
            _ when transaction.Answered == transaction.DataNumber => TakeData(transaction, reply),
            _ => TakeEndOfData(transaction, reply),
        };
        if (!isInPlace)
        {
            Fail(ClientReplies.OutOfPlace);
            return;
        }
        transaction.PassOver();
        if (transaction.IsOver)
        {
            Drop(transaction, reply.Code);
        }
    }

    /// <summary>
    /// A reply in the midst of the content: a refusal counts, but what of the content is on its way would be read as
    /// commands. So the connection ends here.
    /// </summary>
    private void TakeEarlyReply(ClientTransaction transaction, in HostReply reply)
    {
        if (reply.Code >= 400 && transaction.IsContentBegun)
        {
            transaction.AnswerAll(new DeliveryReply(OutcomeOf(reply), ClientPhase.EndOfData, reply));
            Fail(ClientReplies.Lost);
        }
        else
        {
            Fail(ClientReplies.OutOfPlace);
        }
    }

    private static bool TakeReset(ClientTransaction transaction, in HostReply reply)
    {
        transaction.Answered++;
        return reply.Code is >= 200 and < 300;
    }

    private static bool TakeMail(ClientTransaction transaction, in HostReply reply)
    {
        transaction.Answered++;
        transaction.IsOpen = reply.Code < 300;
        transaction.IsRefused = reply.Code >= 400;
        if (transaction.IsRefused)
        {
            transaction.AnswerAll(new DeliveryReply(OutcomeOf(reply), ClientPhase.Mail, reply));
        }
        return transaction.IsOpen || transaction.IsRefused;
    }

    private static bool TakeRcpt(ClientTransaction transaction, in HostReply reply)
    {
        var recipient = transaction.Answered - 1;
        transaction.Answered++;
        if (reply.Code >= 400)
        {
            // 552 behind others that were accepted means too many of them, which is no fault of this one (RFC 5321
            // 4.5.3.1.10); 5.2.2 is a full mailbox.
            var isOneTooMany = reply.Code == 552 && transaction.Accepted > 0 && reply.Status.Subject != 2;
            var outcome = isOneTooMany ? DeliveryOutcome.Deferred : OutcomeOf(reply);
            transaction.Answer(recipient, new DeliveryReply(outcome, ClientPhase.Rcpt, reply));
        }
        else if (transaction.StateOf(recipient) == RecipientState.Open)
        {
            transaction.Accept(recipient);
        }
        return reply.Code is < 300 or >= 400;
    }

    private bool TakeData(ClientTransaction transaction, in HostReply reply)
    {
        transaction.Answered++;
        if (reply.Code >= 400)
        {
            transaction.AnswerAll(new DeliveryReply(OutcomeOf(reply), ClientPhase.Data, reply));
            return true;
        }
        transaction.IsAwaited = true;
        // Where MAIL was refused, or LMTP has nobody to answer for, content would be taken for another's.
        return reply.Code == 354 && !transaction.IsRefused && (transaction.Accepted > 0 || !_options.IsLmtp);
    }

    private bool TakeEndOfData(ClientTransaction transaction, in HostReply reply)
    {
        if (reply.Code is >= 300 and < 400)
        {
            return false;
        }
        var ended = new DeliveryReply(OutcomeOf(reply), ClientPhase.EndOfData, reply);
        if (!_options.IsLmtp)
        {
            transaction.Answered++;
            transaction.AnswerAll(ended);
            return true;
        }
        while (transaction.StateOf(transaction.NextReply) != RecipientState.Accepted)
        {
            transaction.NextReply++;
        }
        transaction.Answer(transaction.NextReply++, ended);
        transaction.Answered += transaction.Left == 0 ? 1 : 0;
        return true;
    }

    private static DeliveryOutcome OutcomeOf(in HostReply reply) =>
        reply.Code < 300 ? DeliveryOutcome.Delivered
        : reply.Code < 500 ? DeliveryOutcome.Deferred
        : DeliveryOutcome.Failed;

    /// <summary>The oldest transaction is over; the last reply tells whether the host has forgotten it too.</summary>
    private void Drop(ClientTransaction transaction, int code)
    {
        _first = (_first + 1) % _ring.Length;
        _count--;
        // Behind content the host forgets it whatever it says; a chunk it may have refused for want of recipients.
        var isForgotten = transaction.IsContentOut && (!transaction.UsesChunk || code < 300);
        _needsReset = _count == 0 && transaction.IsOpen && !isForgotten;
        transaction.End();
    }

    /// <summary>The session is over: what is under way is deferred, or refused where the host refuses everybody.</summary>
    private void EndTransactions()
    {
        // What the host has answered is not in doubt; whatever else had left is.
        var isAnswered = Failure!.IsRemote && Failure.Phase == ClientPhase.EndOfData && !_options.IsLmtp;
        while (_count > 0)
        {
            var transaction = Oldest;
            _first = (_first + 1) % _ring.Length;
            _count--;
            transaction.AnswerAll(new DeliveryReply(Failure, transaction.IsContentOut && !isAnswered));
            isAnswered = false;
            transaction.End();
        }
    }
}
