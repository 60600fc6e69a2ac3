using System.Net;
using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Relay;
using FastMail.Storage;

namespace FastMail.Server.Receive;

/// <summary>
/// Whom one transaction is for, RCPT by RCPT: maildrops here, within their quotas, and those whom the queue has. Owned and
/// reused by its <see cref="MailReceiver"/>; loop thread only.
/// </summary>
internal sealed class TransactionRecipients
{
    private const int MostMailboxes = 10_000; // of one message; keeps its record far below what a record may hold

    private readonly LiveAccounts _accounts;
    private readonly TransactionQuota _quota;
    private readonly List<Account> _mailboxes = []; // of one address, for the time of a call
    private readonly ForwardPaths _relayed = new();
    private readonly HashSet<ulong> _held = []; // mailboxes that the queue is to deliver to
    private OctetCopy _onlyRecipient;
    private int _recipients;
    private long _release; // not to be delivered before, microseconds since 1970 UTC; 0 for now
    private bool _hasSender;

    public TransactionRecipients(LiveAccounts accounts, Quotas quotas)
    {
        _accounts = accounts;
        _quota = new TransactionQuota(quotas);
    }

    /// <summary>The address at which the client has called; null when that is none.</summary>
    public Func<IPAddress?>? LocalAddress { get; set; }

    /// <summary>Takes mail for others, from those who may hand it in; null where nobody may.</summary>
    public RelayIntake? Relay { get; set; }

    /// <summary>Each recipient is told of itself (LMTP); null where one reply is for all.</summary>
    public RecipientOutcomes? Outcomes { get; set; }

    /// <summary>The operator has listed the client: it may hand in mail for others.</summary>
    public bool IsTrustedPeer { get; set; }

    /// <summary>Those whom the queue has, also when the transaction is over, up to the next one.</summary>
    public ForwardPaths Relayed => _relayed;

    /// <summary>The recipient when there is one only, else empty.</summary>
    public ReadOnlySpan<byte> OnlyRecipient => _recipients == 1 ? _onlyRecipient.Span : [];

    /// <summary>MAIL.</summary>
    /// <param name="declaredOctets">SIZE=; 0 when it was not declared.</param>
    /// <param name="release">As <see cref="SenderWishes.ReleaseOf"/> says.</param>
    /// <param name="hasSender">The reverse-path is not null: there is somebody to tell.</param>
    public void Begin(long declaredOctets, long release, bool hasSender)
    {
        _recipients = 0;
        _hasSender = hasSender;
        _release = release;
        _relayed.Clear();
        _held.Clear();
        _quota.Begin(declaredOctets, TraceFields.MaxBytes);
        Outcomes?.Clear();
    }

    /// <summary>Our user may send as the reverse-path (RFC 6409 6.1).</summary>
    public bool OwnsSender(in MailArguments mail) =>
        _accounts.Current.MaySendAs(mail.AuthIdentity, mail.ReversePath, _mailboxes);

    /// <summary>RCPT.</summary>
    public SmtpReply Add(PendingMessage message, in RcptArguments rcpt)
    {
        switch (_accounts.Current.Resolve(rcpt.ForwardPath, OwnLiteral(rcpt), _mailboxes))
        {
            case Residence.Mailbox when _release > 0:
                return AddHeld(message, rcpt);
            case Residence.Mailbox:
                break;
            case Residence.UnknownHere:
                return SmtpReply.NoSuchMailbox;
            case Residence.TooMany:
                return SmtpReply.AliasTooLarge;
            default:
                return AddRelayed(message, rcpt);
        }

        if (message.LocalRecipients + _mailboxes.Count + _relayed.Count > MostMailboxes)
        {
            return SmtpReply.TooManyRecipients; // aliases multiply, and all of them are in one record
        }

        int known = _quota.Count;
        foreach (Account account in _mailboxes)
        {
            QuotaVerdict verdict = _quota.Covers(account.MailboxId) ? QuotaVerdict.Fits : _quota.Add(account.MailboxId);
            if (verdict is not QuotaVerdict.Fits)
            {
                _quota.Forget(known); // all of an alias or none: nobody would hear of the one who got nothing
                return TransactionQuota.RefusalOf(verdict)!;
            }
        }

        foreach (Account account in _mailboxes)
        {
            if (message.TryAddLocalRecipient(account.MailboxId, rcpt.ForwardPath)) // one named twice gets it once
            {
                SenderWishes.Add(message, rcpt);
            }
        }

        if (_quota.Count > known)
        {
            Count(rcpt);
        }

        if (_hasSender && Relay is not null && (rcpt.Notify & DsnNotify.Success) != 0)
        {
            AddTold(message, rcpt);
        }

        Outcomes?.Add(_mailboxes);
        return SmtpReply.ForwardPathOk;
    }

    /// <summary>The size is certain: null when at least one mailbox gets the message.</summary>
    public SmtpReply? Settle(PendingMessage message, long octets)
    {
        if (Outcomes is null)
        {
            return TransactionQuota.RefusalOf(_quota.End(octets));
        }

        Outcomes.Judge(_quota, octets);
        if (Outcomes.Kept == 0)
        {
            return SmtpReply.MailboxFull; // each of them hears its own
        }

        foreach (ulong mailboxId in Outcomes.Dropped)
        {
            message.DropLocalRecipient(mailboxId);
        }

        return null;
    }

    /// <summary>What is reserved is given back, or is counted by now.</summary>
    public void Release() => _quota.Release();

    /// <summary>Somebody elsewhere: from who has logged in, or from a peer that the operator has listed.</summary>
    private SmtpReply AddRelayed(PendingMessage message, in RcptArguments rcpt)
    {
        bool isAllowed = Relay is not null && (IsTrustedPeer || !rcpt.AuthIdentity.IsEmpty);
        if (!isAllowed || rcpt.AtSign < 0)
        {
            return SmtpReply.RelayDenied;
        }

        if (Relay!.Routes.Refuses(rcpt.ForwardPath))
        {
            return SmtpReply.RouteRefused;
        }

        if (message.LocalRecipients + _relayed.Count >= MostMailboxes)
        {
            return SmtpReply.TooManyRecipients;
        }

        if (TryQueue(message, rcpt.ForwardPath, rcpt))
        {
            Count(rcpt);
        }

        return SmtpReply.ForwardPathOk;
    }

    /// <summary>
    /// Somebody here who is to get it later: the queue holds it for the address as it was said, for of that the sender
    /// hears, and with it stand the maildrops: an alias, <c>postmaster</c> or a literal means what it means now, and nobody
    /// gets it twice. Whether there is room is seen then.
    /// </summary>
    private SmtpReply AddHeld(PendingMessage message, in RcptArguments rcpt)
    {
        if (_relayed.Count + _held.Count + _mailboxes.Count > MostMailboxes)
        {
            return SmtpReply.TooManyRecipients;
        }

        _mailboxes.RemoveAll(account => _held.Contains(account.MailboxId));
        if (_mailboxes.Count == 0 || !TryQueue(message, rcpt.ForwardPath, rcpt, isHere: true))
        {
            return SmtpReply.ForwardPathOk;
        }

        Span<byte> address = stackalloc byte[AddressKey.MaxLength * 3];
        foreach (Account account in _mailboxes)
        {
            _held.Add(account.MailboxId);
            message.AddMeta(MetaType.Maildrop, address[..Encoding.UTF8.GetBytes(account.Address, address)]);
        }

        Count(rcpt);
        return SmtpReply.ForwardPathOk;
    }

    /// <summary>
    /// Somebody here whose maildrops have it with this very record, and of whom the sender wants to hear just that: the
    /// queue has the address as it was said, for the word alone. An alias is one address, whatever is behind it.
    /// </summary>
    private void AddTold(PendingMessage message, in RcptArguments rcpt)
    {
        if (TryQueue(message, rcpt.ForwardPath, rcpt, isHere: true))
        {
            SenderWishes.AddStored(message);
        }
    }

    /// <summary>False when it is in the queue already: one named twice gets it once.</summary>
    private bool TryQueue(PendingMessage message, ReadOnlySpan<byte> path, in RcptArguments rcpt, bool isHere = false)
    {
        bool isNew = _relayed.TryAdd(path, isHere);
        if (isNew)
        {
            message.AddRelayRecipient(path);
            SenderWishes.Add(message, rcpt);
        }

        return isNew;
    }

    private void Count(in RcptArguments rcpt)
    {
        _recipients++;
        _onlyRecipient.Set(rcpt.ForwardPath); // copied: the receive buffer is reused after this call
    }

    private static bool HasLiteral(in RcptArguments rcpt) =>
        rcpt.AtSign >= 0 && rcpt.ForwardPath[rcpt.AtSign + 1] == '[';

    /// <summary>The literal that means this host, asked for only when the recipient has one.</summary>
    private string OwnLiteral(in RcptArguments rcpt)
    {
        if (!HasLiteral(rcpt) || LocalAddress?.Invoke() is not { } local)
        {
            return "";
        }

        local = local.IsIPv4MappedToIPv6 ? local.MapToIPv4() : local;
        return local.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? $"[{local}]" : $"[IPv6:{local}]";
    }
}
