using System.Buffers.Binary;
using System.Net;
using System.Text;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Defence;
using FastMail.Server.Relay;
using FastMail.Storage;

namespace FastMail.Server.Receive;

/// <summary>
/// The mail sink of one connection: builds the log record of a transaction as it arrives and hands it to the appender.
/// Owner of the record from MAIL to the commit, and again from its completion until it is given back. Loop thread only.
/// </summary>
internal sealed class MailReceiver : IMailSink
{
    private static readonly byte[] HeldText = "held back until then, as the sender wants it"u8.ToArray();

    private const int MostMailboxes = 10_000; // of one message; keeps its record far below what a record may hold

    private readonly MailLog _log;
    private readonly LiveAccounts _accounts;
    private readonly Intake _intake;
    private readonly TransactionQuota _quota;
    private readonly Stress _stress;
    private readonly ReadOnlyMemory<byte> _hostname;
    private readonly TimeProvider _clock;
    private readonly Action<ILoopWork> _post;
    private readonly ILoopWork _owner;
    private readonly Action _drained;
    private readonly byte[] _clientAddress = new byte[16];
    private readonly byte[] _clientText = new byte[65]; // the longest text of an IPv6 address with its scope
    private OctetCopy _reversePath;
    private OctetCopy _onlyRecipient;
    private readonly List<Account> _mailboxes = []; // of one address, for the time of a call
    private readonly RecipientOutcomes? _outcomes; // LMTP only
    private readonly ForwardPaths _relayed = new();
    private uint _sender; // for fairness between those whose mail is relayed
    private int _priority;
    private long _release; // not to be delivered before, microseconds since 1970 UTC; 0 for now
    private bool _isTrustedPeer;
    private int _clientAddressLength;
    private int _clientTextLength;
    private int _recipients;
    private bool _isSmtpUtf8;
    private bool _isSubmission;
    private long _transactionId;
    private long _heldBytes;
    private PendingMessage? _message;
    private SmtpReply? _refusal; // of a message that turned out too large at its end

    /// <param name="log">Where messages go.</param>
    /// <param name="accounts">Who lives here.</param>
    /// <param name="intake">Shared by all receivers of the loop.</param>
    /// <param name="quotas">Shared by all receivers of the loop.</param>
    /// <param name="stress">Whether a new transaction may begin.</param>
    /// <param name="hostname">This host's name in trace fields, ASCII.</param>
    /// <param name="clock">Dates the trace fields.</param>
    /// <param name="post">Brings the owner to the loop when a commit has ended before it began.</param>
    /// <param name="owner">Posted to the loop when a commit has ended.</param>
    /// <param name="drained">
    /// Called, on a thread of the log, when content can be taken again after <see cref="MustWait"/>.
    /// </param>
    public MailReceiver(
        MailLog log,
        LiveAccounts accounts,
        Intake intake,
        Quotas quotas,
        Stress stress,
        ReadOnlyMemory<byte> hostname,
        TimeProvider clock,
        Action<ILoopWork> post,
        ILoopWork owner,
        Action drained)
    {
        _drained = drained;
        _log = log;
        _accounts = accounts;
        _intake = intake;
        _quota = new TransactionQuota(quotas);
        _stress = stress;
        _hostname = hostname;
        _clock = clock;
        _post = post;
        _owner = owner;
    }

    /// <summary>The address at which the client has called; null when that is none.</summary>
    public Func<IPAddress?>? LocalAddress { get; init; }

    /// <summary>Takes mail for others, from those who may hand it in; null where nobody may.</summary>
    public RelayIntake? Relay { get; init; }

    /// <summary>A sender may have mail held back for so long.</summary>
    public TimeSpan LongestHold { get; init; }

    /// <summary>LMTP is spoken: at the end each recipient is told of itself.</summary>
    public bool AnswersEachRecipient
    {
        get => _outcomes is not null;
        init => _outcomes = value ? new RecipientOutcomes() : null;
    }

    /// <summary>A commit is under way.</summary>
    public bool IsCommitting { get; private set; }

    /// <summary>A commit was given up and is still in the log's hands.</summary>
    public bool IsSettling { get; private set; }

    /// <summary>The log cannot take more content just now, and will call when it can.</summary>
    public bool IsHeld { get; private set; }

    /// <summary>What the blocklists say of the client; null where they are not asked.</summary>
    public BlocklistInquiry? Inquiry { get; set; }

    public bool IsJudgingClient => Inquiry is { IsPending: true };

    public bool MustWait => IsHeld = _message!.MustWait(_drained);

    /// <summary>After the log has called.</summary>
    public void EndHold() => IsHeld = false;

    /// <summary>A new connection: notes whose mail this will be.</summary>
    /// <param name="client">Its address; null for a process of this machine that came through a unix socket.</param>
    public void Connect(IPAddress? client)
    {
        _isTrustedPeer = client is not null && Relay is { } relay && relay.Trusts(client);
        if (client is null)
        {
            _clientAddressLength = 0;
            _clientTextLength = Encoding.ASCII.GetBytes("local", _clientText);
            return;
        }

        IPAddress plain = client.IsIPv4MappedToIPv6 ? client.MapToIPv4() : client;
        if (!plain.TryWriteBytes(_clientAddress, out _clientAddressLength)
            || !plain.TryFormat(_clientText, out _clientTextLength))
        {
            throw new ArgumentException("No address of a client.", nameof(client));
        }
    }

    public SmtpReply Begin(in MailArguments mail)
    {
        if (_log.HasFailed)
        {
            return SmtpReply.LocalError; // what came in now could never be acknowledged
        }

        bool isStressed = _stress.Look();
        if (IsSettling || _stress.IsDiskSlow)
        {
            return SmtpReply.SystemSlow; // at once, and not after the content: the client tries another host
        }

        bool isLarge = mail.DeclaredSize > _log.LargestRecordBytes; // then no more than that is held in memory
        if (_stress.IsDiskFull
            || _intake.IsFull(isLarge ? _log.LargestRecordBytes : mail.DeclaredSize)
            || (isLarge && !_log.HasRoomForBody))
        {
            return SmtpReply.InsufficientStorage;
        }

        if (isStressed)
        {
            return SmtpReply.Overloaded;
        }

        if (!mail.AuthIdentity.IsEmpty && !mail.ReversePath.IsEmpty && _accounts.Rules.RequiresOwnSender
            && !_accounts.Current.MaySendAs(mail.AuthIdentity, mail.ReversePath, _mailboxes))
        {
            return SmtpReply.SenderNotOwned; // RFC 6409 6.1
        }

        DateTimeOffset now = _clock.GetUtcNow();
        _release = ReleaseOf(mail, now);
        if (_release - Intake.Micros(now) > LongestHold.Ticks / TimeSpan.TicksPerMicrosecond)
        {
            return SmtpReply.HeldTooLong;
        }

        _message = _log.RentMessage();
        _message.SetReversePath(mail.ReversePath);
        AddWishes(_message, mail, now);
        _reversePath.Set(mail.ReversePath); // copied: the receive buffer is reused after this call
        _recipients = 0;
        _relayed.Clear();
        _sender = DeliveryEngine.SenderOf(mail.AuthIdentity.IsEmpty ? mail.ReversePath : mail.AuthIdentity);
        _priority = mail.Priority ?? 0;
        _quota.Begin(mail.DeclaredSize, TraceFields.MaxBytes);
        _outcomes?.Clear();
        return SmtpReply.ReversePathOk;
    }

    public SmtpReply AddRecipient(in RcptArguments rcpt)
    {
        if (Inquiry is { Listing: { } zone } && rcpt.AuthIdentity.IsEmpty)
        {
            Inquiry.Refused();
            return zone.Refusal;
        }

        switch (_accounts.Current.Resolve(rcpt.ForwardPath, OwnLiteral(rcpt), _mailboxes))
        {
            case Residence.Mailbox when _release > 0:
                return AddHeld(rcpt);
            case Residence.Mailbox:
                break;
            case Residence.UnknownHere:
                return SmtpReply.NoSuchMailbox;
            default:
                return AddRelayed(rcpt);
        }

        if (_message!.LocalRecipients + _mailboxes.Count > MostMailboxes)
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
                return RefusalOf(verdict)!;
            }
        }

        foreach (Account account in _mailboxes)
        {
            if (_message.TryAddLocalRecipient(account.MailboxId, rcpt.ForwardPath)) // one named twice gets it once
            {
                AddWishes(_message, rcpt);
            }
        }

        if (_quota.Count > known)
        {
            _recipients++;
            _onlyRecipient.Set(rcpt.ForwardPath); // copied: the receive buffer is reused after this call
        }

        _outcomes?.Add(_mailboxes);
        return SmtpReply.ForwardPathOk;
    }

    /// <summary>Somebody elsewhere: from who has logged in, or from a peer that the operator has listed.</summary>
    private SmtpReply AddRelayed(in RcptArguments rcpt)
    {
        bool isAllowed = Relay is not null && (_isTrustedPeer || !rcpt.AuthIdentity.IsEmpty);
        if (!isAllowed || rcpt.AtSign < 0)
        {
            return SmtpReply.RelayDenied;
        }

        if (_message!.LocalRecipients + _relayed.Count >= MostMailboxes)
        {
            return SmtpReply.TooManyRecipients;
        }

        if (TryQueue(rcpt.ForwardPath, rcpt))
        {
            _recipients++;
            _onlyRecipient.Set(rcpt.ForwardPath); // copied: the receive buffer is reused after this call
        }

        return SmtpReply.ForwardPathOk;
    }

    /// <summary>
    /// Somebody here who is to get it later: the queue holds it for each of the mailboxes. They are named by their own
    /// addresses: an alias, <c>postmaster</c> or a literal means now what it means, and nobody gets it twice. Whether
    /// there is room is seen then.
    /// </summary>
    private SmtpReply AddHeld(in RcptArguments rcpt)
    {
        if (_relayed.Count + _mailboxes.Count > MostMailboxes)
        {
            return SmtpReply.TooManyRecipients;
        }

        bool isNew = false;
        Span<byte> address = stackalloc byte[AddressKey.MaxLength * 3];
        foreach (Account account in _mailboxes)
        {
            isNew |= TryQueue(address[..Encoding.UTF8.GetBytes(account.Address, address)], rcpt);
        }

        if (isNew)
        {
            _recipients++;
            _onlyRecipient.Set(rcpt.ForwardPath); // copied: the receive buffer is reused after this call
        }

        return SmtpReply.ForwardPathOk;
    }

    /// <summary>False when it is in the queue already: one named twice gets it once.</summary>
    private bool TryQueue(ReadOnlySpan<byte> path, in RcptArguments rcpt)
    {
        bool isNew = _relayed.TryAdd(path);
        if (isNew)
        {
            _message!.AddRelayRecipient(path);
            AddWishes(_message, rcpt);
        }

        return isNew;
    }

    public SmtpReply? BeginContent(in TransactionFacts facts)
    {
        _transactionId = _intake.NextTransactionId();
        PendingMessage message = _message!;
        Span<byte> id = stackalloc byte[32];
        id = id[..WriteTransactionId(id)];
        message.AddMeta(MetaType.TransactionId, id);
        message.AddMeta(MetaType.ClientAddress, _clientText.AsSpan(0, _clientTextLength));
        message.AddMeta(MetaType.Helo, facts.Helo);
        if (!facts.AuthIdentity.IsEmpty)
        {
            message.AddMeta(MetaType.AuthIdentity, facts.AuthIdentity);
        }

        if (!facts.Tls.IsEmpty)
        {
            message.AddMeta(MetaType.Tls, facts.Tls);
        }

        _isSmtpUtf8 = facts.IsSmtpUtf8;
        Span<byte> trace = stackalloc byte[TraceFields.MaxBytes];
        int length = TraceFields.Write(
            trace,
            new TraceArguments
            {
                ReversePath = _reversePath.Span,
                Helo = facts.Helo,
                ClientAddress = _clientAddress.AsSpan(0, _clientAddressLength),
                Hostname = _hostname.Span,
                TransactionId = id,
                OnlyRecipient = _recipients == 1 ? _onlyRecipient.Span : [],
                Tls = facts.Tls,
                IsExtended = facts.IsExtended,
                IsAuthenticated = !facts.AuthIdentity.IsEmpty,
                IsSmtpUtf8 = facts.IsSmtpUtf8,
                IsLmtp = facts.IsLmtp,
                ReceivedAt = _clock.GetUtcNow(),
            },
            out int returnPathBytes);
        _isSubmission = facts.IsSubmission;
        if (_release > 0)
        {
            message.AddQueueChange(new QueueChange
            {
                Seq = 0, // this very message: it is never in the log without its hold
                Recipient = QueueChange.AllRecipients,
                State = QueueState.Deferred,
                DueMicros = _release,
                Text = HeldText,
            });
        }

        message.SetTrace(trace[..length], returnPathBytes, _isSubmission ? TraceFields.MaxMissingBytes : 0);
        return null;
    }

    public void Append(ReadOnlySpan<byte> wire)
    {
        _message!.AppendBody(wire);
        if (!_message.HasExternalBody)
        {
            _heldBytes += wire.Length;
            _intake.Hold(wire.Length);
        }
    }

    public void Commit(in ContentFacts content)
    {
        PendingMessage message = _message!;
        IsCommitting = true;
        if (_isSubmission)
        {
            AddMissing(message, content);
        }

        _refusal = EndQuota(message, message.TraceBytes + content.Octets);
        if (_refusal is not null)
        {
            _post(_owner);
            return;
        }

        message.Seal(new BodyFacts
        {
            Octets = content.Octets,
            HeaderWireBytes = content.HeaderWireBytes,
            Flags = FlagsOf(content),
        });
        message.Owner = _owner;
        _log.Append(message);
    }

    /// <summary>
    /// The commit has taken too long. True: say <see cref="SmtpReply.CommitTimedOut"/>; the message is being unwound,
    /// and the owner is still posted when that is settled. False: its outcome is on its way to the owner.
    /// </summary>
    public bool TryGiveUp()
    {
        if (_refusal is not null || !_log.GiveUp(_message!))
        {
            return false;
        }

        IsCommitting = false;
        IsSettling = true;
        return true;
    }

    /// <summary>After the owner was posted for a commit that was given up.</summary>
    public void EndSettling()
    {
        IsSettling = false;
        Abandon();
    }

    /// <summary>After the owner was posted: what to say. The record goes back to the log's pool.</summary>
    public SmtpReply EndCommit()
    {
        AppendOutcome outcome = _message!.Outcome;
        SmtpReply? refusal = _refusal;
        _refusal = null;
        IsCommitting = false;
        ulong seq = _message.Seq;
        Abandon();
        if (refusal is null && outcome == AppendOutcome.Durable && _relayed.Count > 0)
        {
            long wait = _release == 0 ? 0 : _release - Intake.Micros(_clock.GetUtcNow());
            Relay!.Engine.Enter(seq, _relayed, _sender, _priority, TimeSpan.FromMicroseconds(Math.Max(0, wait)));
        }

        return refusal ?? outcome switch
        {
            AppendOutcome.Durable => SmtpReply.Accepted,
            AppendOutcome.NoSpace => SmtpReply.InsufficientStorage,
            _ => SmtpReply.LocalError,
        };
    }

    public SmtpReply StartQueueRun(ReadOnlySpan<byte> domain, bool isWithSubdomains) =>
        Relay?.Runs.Start(domain, isWithSubdomains) ?? SmtpReply.QueueRunRefused;

    public SmtpReply OutcomeOf(int recipient, SmtpReply commit) => _outcomes!.RefusalOf(recipient) ?? commit;

    public void Abandon()
    {
        _intake.Release(_heldBytes);
        _heldBytes = 0;
        _quota.Release();
        _log.Return(_message!);
        _message = null;
    }

    public int WriteTransactionId(Span<byte> destination) => Intake.WriteId(_transactionId, destination);

    /// <summary>Null when at least one mailbox gets the message.</summary>
    private SmtpReply? EndQuota(PendingMessage message, long octets)
    {
        if (_outcomes is null)
        {
            return RefusalOf(_quota.End(octets));
        }

        _outcomes.Judge(_quota, octets);
        if (_outcomes.Kept == 0)
        {
            return SmtpReply.MailboxFull; // each of them hears its own
        }

        foreach (ulong mailboxId in _outcomes.Dropped)
        {
            message.DropLocalRecipient(mailboxId);
        }

        return null;
    }

    /// <summary>The literal that means this host, asked for only when the recipient has one.</summary>
    private string OwnLiteral(in RcptArguments rcpt)
    {
        if (rcpt.AtSign < 0 || rcpt.ForwardPath[rcpt.AtSign + 1] != '[' || LocalAddress?.Invoke() is not { } local)
        {
            return "";
        }

        local = local.IsIPv4MappedToIPv6 ? local.MapToIPv4() : local;
        return local.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork ? $"[{local}]" : $"[IPv6:{local}]";
    }

    private void AddMissing(PendingMessage message, in ContentFacts content)
    {
        Span<byte> id = stackalloc byte[32];
        Span<byte> fields = stackalloc byte[TraceFields.MaxMissingBytes];
        int length = TraceFields.WriteMissing(
            fields, content, _clock.GetUtcNow(), id[..WriteTransactionId(id)], _hostname.Span);
        message.ExtendTrace(fields[..length]);
    }

    /// <summary>When the sender wants it delivered at the earliest, as <see cref="_release"/>.</summary>
    private static long ReleaseOf(in MailArguments mail, DateTimeOffset now)
    {
        if (mail.Release is not { } release)
        {
            return 0;
        }

        long micros = Intake.Micros(now);
        long until = release.IsUntil ? release.Seconds * 1_000_000 : micros + (release.Seconds * 1_000_000);
        return until > micros ? until : 0;
    }

    /// <summary>What the sender asked for beyond delivery: kept for reports and relay.</summary>
    private void AddWishes(PendingMessage message, in MailArguments mail, DateTimeOffset now)
    {
        Span<byte> value = stackalloc byte[sizeof(long) + sizeof(uint)];
        if (!mail.EnvelopeId.IsEmpty)
        {
            message.AddMeta(MetaType.EnvelopeId, mail.EnvelopeId);
        }

        if (mail.Return != DsnReturn.Unsaid)
        {
            value[0] = (byte)(mail.Return == DsnReturn.Full ? 1 : 2);
            message.AddMeta(MetaType.Return, value[..1]);
        }

        if (mail.RequiresTls)
        {
            message.AddMeta(MetaType.RequireTls, default);
        }

        if (mail.DeliverBy is { } by)
        {
            // What is held back begins its way at its release.
            long deadline = Math.Max(_release, Intake.Micros(now)) + (by.Seconds * 1_000_000);
            BinaryPrimitives.WriteInt64LittleEndian(value, deadline);
            value[sizeof(long)] = (byte)((by.IsReturn ? 1 : 0) | (by.IsTraced ? 2 : 0));
            message.AddMeta(MetaType.DeliverBy, value[..(sizeof(long) + 1)]);
        }

        if (mail.Priority is { } priority)
        {
            value[0] = (byte)(sbyte)priority;
            message.AddMeta(MetaType.Priority, value[..1]);
        }

        if (_release > 0)
        {
            BinaryPrimitives.WriteInt64LittleEndian(value, _release);
            uint seconds = mail.Release is { IsUntil: false } hold ? (uint)hold.Seconds : 0;
            BinaryPrimitives.WriteUInt32LittleEndian(value[sizeof(long)..], seconds);
            message.AddMeta(MetaType.FutureRelease, value);
        }

        if (!mail.AuthMailbox.IsEmpty)
        {
            message.AddMeta(MetaType.AuthMailbox, mail.AuthMailbox);
        }
    }

    private static void AddWishes(PendingMessage message, in RcptArguments rcpt)
    {
        if (!rcpt.OriginalRecipient.IsEmpty)
        {
            message.AddMeta(MetaType.OriginalRecipient, rcpt.OriginalRecipient);
        }

        if (rcpt.Notify != DsnNotify.Unsaid)
        {
            message.AddMeta(MetaType.Notify, [(byte)rcpt.Notify]);
        }
    }

    /// <summary>Null when it fits.</summary>
    internal static SmtpReply? RefusalOf(QuotaVerdict verdict) => verdict switch
    {
        QuotaVerdict.Fits => null,
        QuotaVerdict.NeverFits or QuotaVerdict.NeverFitsAndFull => SmtpReply.ExceedsMailbox,
        _ => SmtpReply.MailboxFull,
    };

    private MessageFlags FlagsOf(in ContentFacts content) =>
        (content.Has8Bit ? MessageFlags.Has8Bit : MessageFlags.None)
        | (content.HasLongLine ? MessageFlags.LongLine : MessageFlags.None)
        | (content.HasEndOfHeader ? MessageFlags.None : MessageFlags.NoEndOfHeader)
        | (_isSmtpUtf8 ? MessageFlags.SmtpUtf8 : MessageFlags.None);
}
