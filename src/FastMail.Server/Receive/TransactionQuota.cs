using FastMail.Protocol.Smtp;

namespace FastMail.Server.Receive;

/// <summary>
/// The reservations of one transaction. Owned by its <see cref="MailReceiver"/>, which also ends them; loop thread only.
/// </summary>
internal sealed class TransactionQuota
{
    private readonly Quotas _quotas;
    private readonly List<ulong> _mailboxes = [];
    private long _octets; // reserved in each of them

    public TransactionQuota(Quotas quotas) => _quotas = quotas;

    /// <summary>MAIL: what each recipient will be charged with, as far as SIZE= tells; 0 when it does not.</summary>
    public void Begin(long declaredOctets, int traceOctets) =>
        _octets = declaredOctets == 0 ? 0 : declaredOctets + traceOctets;

    /// <summary>Mailboxes that have room reserved.</summary>
    public int Count => _mailboxes.Count;

    /// <summary>Gives back what was reserved after there were so many.</summary>
    public void Forget(int count)
    {
        for (int i = count; i < _mailboxes.Count; i++)
        {
            _quotas.Release(_mailboxes[i], _octets);
        }

        _mailboxes.RemoveRange(count, _mailboxes.Count - count);
    }

    /// <summary>That mailbox is a recipient already.</summary>
    public bool Covers(ulong mailboxId) => _mailboxes.Contains(mailboxId);

    /// <summary>RCPT of a mailbox that is not a recipient yet.</summary>
    public QuotaVerdict Add(ulong mailboxId)
    {
        QuotaVerdict verdict = _quotas.Reserve(mailboxId, _octets);
        if (verdict is QuotaVerdict.Fits)
        {
            _mailboxes.Add(mailboxId);
        }

        return verdict;
    }

    /// <summary>
    /// End of data, when the size is certain. One reply must do for all recipients, so a message that is larger than
    /// was declared goes to all of them although some maildrop is too small for it, if others have the room and that
    /// maildrop was not full before: it is over its quota by this one message at most. If it was full, all are told to
    /// come again, and RCPT will refuse it alone.
    /// </summary>
    public QuotaVerdict End(long octets)
    {
        int over = 0;
        int never = 0;
        bool isFull = false;
        foreach (ulong mailboxId in _mailboxes)
        {
            QuotaVerdict verdict = _quotas.Judge(mailboxId, octets, _octets);
            over += verdict is QuotaVerdict.Fits ? 0 : 1;
            never += verdict is QuotaVerdict.NeverFits or QuotaVerdict.NeverFitsAndFull ? 1 : 0;
            isFull |= verdict is QuotaVerdict.Full or QuotaVerdict.NeverFitsAndFull;
        }

        if (over > 0 && over == _mailboxes.Count)
        {
            return never == over ? QuotaVerdict.NeverFits : QuotaVerdict.Full;
        }

        if (isFull)
        {
            return QuotaVerdict.Full;
        }

        foreach (ulong mailboxId in _mailboxes)
        {
            _quotas.Resize(mailboxId, _octets, octets);
        }

        _octets = octets;
        return QuotaVerdict.Fits;
    }

    /// <summary>Whether that mailbox, a recipient, has room for the message, now that its size is certain.</summary>
    public QuotaVerdict Judge(ulong mailboxId, long octets) => _quotas.Judge(mailboxId, octets, _octets);

    /// <summary>
    /// End of data where each recipient hears of itself: only those that are kept are charged, the others are told to
    /// <paramref name="dropped"/>.
    /// </summary>
    public void End(long octets, IReadOnlySet<ulong> kept, List<ulong> dropped)
    {
        int count = 0;
        for (int i = 0; i < _mailboxes.Count; i++)
        {
            ulong mailboxId = _mailboxes[i];
            if (kept.Contains(mailboxId))
            {
                _quotas.Resize(mailboxId, _octets, octets);
                _mailboxes[count++] = mailboxId;
            }
            else
            {
                _quotas.Release(mailboxId, _octets);
                dropped.Add(mailboxId);
            }
        }

        _mailboxes.RemoveRange(count, _mailboxes.Count - count);
        _octets = octets;
    }

    /// <summary>The transaction is over, one way or the other.</summary>
    public void Release()
    {
        foreach (ulong mailboxId in _mailboxes)
        {
            _quotas.Release(mailboxId, _octets);
        }

        _mailboxes.Clear();
    }

    /// <summary>Null when it fits.</summary>
    public static SmtpReply? RefusalOf(QuotaVerdict verdict) => verdict switch
    {
        QuotaVerdict.Fits => null,
        QuotaVerdict.NeverFits or QuotaVerdict.NeverFitsAndFull => SmtpReply.ExceedsMailbox,
        _ => SmtpReply.MailboxFull,
    };
}
