using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;

namespace FastMail.Server.Receive;

/// <summary>
/// Who of the recipients of an LMTP transaction gets the message, decided at the end of the content by the quotas.
/// Owned and reused by its <see cref="MailReceiver"/>; loop thread only.
/// </summary>
internal sealed class RecipientOutcomes
{
    private readonly List<ulong> _mailboxes = []; // of one recipient behind those of the other
    private readonly List<int> _ends = [];
    private readonly List<SmtpReply?> _refusals = [];
    private readonly HashSet<ulong> _kept = [];
    private readonly List<ulong> _dropped = [];

    /// <summary>Mailboxes that the message goes to.</summary>
    public int Kept => _kept.Count;

    /// <summary>Mailboxes that RCPT accepted and the message does not go to.</summary>
    public IReadOnlyList<ulong> Dropped => _dropped;

    /// <summary>A transaction begins.</summary>
    public void Clear()
    {
        _mailboxes.Clear();
        _ends.Clear();
        _refusals.Clear();
        _kept.Clear();
        _dropped.Clear();
    }

    /// <summary>RCPT was accepted for an address that is these mailboxes.</summary>
    public void Add(List<Account> mailboxes)
    {
        foreach (Account account in mailboxes)
        {
            _mailboxes.Add(account.MailboxId);
        }

        _ends.Add(_mailboxes.Count);
    }

    /// <summary>
    /// The size is certain. All mailboxes of an alias get the message or none, for its sender hears one reply; one that
    /// is also reached by another address gets it by that.
    /// </summary>
    public void Judge(TransactionQuota quota, long octets)
    {
        int start = 0;
        foreach (int end in _ends)
        {
            SmtpReply? refusal = null;
            for (int i = start; i < end; i++)
            {
                refusal ??= TransactionQuota.RefusalOf(quota.Judge(_mailboxes[i], octets));
            }

            _refusals.Add(refusal);
            for (int i = start; i < end && refusal is null; i++)
            {
                _kept.Add(_mailboxes[i]);
            }

            start = end;
        }

        quota.End(octets, _kept, _dropped);
    }

    /// <summary>What to say of one recipient; null when it shares the outcome of the commit.</summary>
    public SmtpReply? RefusalOf(int recipient) => recipient < _refusals.Count ? _refusals[recipient] : null;
}
