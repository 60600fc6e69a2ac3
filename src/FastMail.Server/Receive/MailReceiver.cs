using System.Net;
using FastMail.Net;
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
    private readonly MailLog _log;
    private readonly LiveAccounts _accounts;
    private readonly Intake _intake;
    private readonly TransactionRecipients _recipients;
    private readonly TransactionTrace _trace;
    private readonly Stress _stress;
    private readonly TimeProvider _clock;
    private readonly Action<ILoopWork> _post;
    private readonly ILoopWork _owner;
    private readonly Action _drained;
    private uint _sender; // for fairness between those whose mail is relayed
    private int _priority;
    private long _release; // not to be delivered before, microseconds since 1970 UTC; 0 for now
    private long _heldBytes;
    private PendingMessage? _message;
    private SmtpReply? _refusal; // of a message that turned out too large at its end
    private bool _isCrowdedOut; // there was no memory for all of its content

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
        _recipients = new TransactionRecipients(accounts, quotas);
        _trace = new TransactionTrace(hostname, clock);
        _stress = stress;
        _clock = clock;
        _post = post;
        _owner = owner;
    }

    /// <summary>The address at which the client has called; null when that is none.</summary>
    public Func<IPAddress?>? LocalAddress
    {
        get => _recipients.LocalAddress;
        init => _recipients.LocalAddress = value;
    }

    /// <summary>Takes mail for others, from those who may hand it in; null where nobody may.</summary>
    public RelayIntake? Relay
    {
        get => _recipients.Relay;
        init => _recipients.Relay = value;
    }

    /// <summary>A sender may have mail held back for so long.</summary>
    public TimeSpan LongestHold { get; init; }

    /// <summary>LMTP is spoken: at the end each recipient is told of itself.</summary>
    public bool AnswersEachRecipient
    {
        get => _recipients.Outcomes is not null;
        init => _recipients.Outcomes = value ? new RecipientOutcomes() : null;
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
        _recipients.IsTrustedPeer = client is not null && Relay is { } relay && relay.Trusts(client);
        _trace.Connect(client);
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
            && !_recipients.OwnsSender(mail))
        {
            return SmtpReply.SenderNotOwned; // RFC 6409 6.1
        }

        DateTimeOffset now = _clock.GetUtcNow();
        _release = SenderWishes.ReleaseOf(mail, now);
        if (SenderWishes.RefusalOf(mail, _release, LongestHold, now) is { } refusal)
        {
            return refusal;
        }

        _sender = _release > 0 ? DeliveryEngine.SubmitterOf(mail.AuthIdentity)
            : DeliveryEngine.SenderOf(mail.AuthIdentity.IsEmpty ? mail.ReversePath : mail.AuthIdentity);
        if (_release > 0 && MayHold() <= 0)
        {
            return SmtpReply.TooMuchHeld;
        }

        _message = _log.RentMessage();
        _message.SetReversePath(mail.ReversePath);
        SenderWishes.Add(_message, mail, _release, now);
        _trace.Begin(mail.ReversePath);
        _recipients.Begin(mail.DeclaredSize, _release, hasSender: !mail.ReversePath.IsEmpty);
        _priority = mail.Priority ?? 0;
        return SmtpReply.ReversePathOk;
    }

    public SmtpReply AddRecipient(in RcptArguments rcpt)
    {
        if (Inquiry is { Listing: { } zone } && rcpt.AuthIdentity.IsEmpty)
        {
            Inquiry.Refused();
            return zone.Refusal;
        }

        return _release > 0 && _recipients.Relayed.Count >= MayHold()
            ? SmtpReply.TooManyRecipients
            : _recipients.Add(_message!, rcpt);
    }

    /// <summary>Recipients that the submitter may have held back beside those of earlier transactions.</summary>
    private long MayHold() => Relay is { } relay ? relay.MostHeld - relay.Engine.HeldOf(_sender) : long.MaxValue;

    public SmtpReply? BeginContent(in TransactionFacts facts)
    {
        if (_intake.IsNearlyFull)
        {
            return SmtpReply.InsufficientStorage; // MAIL of many came while there was room
        }

        _isCrowdedOut = false;
        PendingMessage message = _message!;
        _trace.AddFacts(message, facts, _intake.NextTransactionId());
        if (_release > 0)
        {
            SenderWishes.AddHold(message, _release);
        }

        _trace.WriteFields(message, facts, _recipients.OnlyRecipient);
        return null;
    }

    public void Append(ReadOnlySpan<byte> wire)
    {
        if (_isCrowdedOut)
        {
            return;
        }

        if (!_message!.HasExternalBody && _intake.IsFull(wire.Length))
        {
            CrowdOut(); // DATA of many came while there was room
            return;
        }

        _message.AppendBody(wire);
        if (_message.HasExternalBody)
        {
            ReleaseMemory(); // its file has it
        }
        else
        {
            _heldBytes += wire.Length;
            _intake.Hold(wire.Length);
        }
    }

    public void Commit(in ContentFacts content)
    {
        PendingMessage message = _message!;
        IsCommitting = true;
        if (_isCrowdedOut)
        {
            _refusal = SmtpReply.InsufficientStorage;
            _post(_owner);
            return;
        }

        _trace.AddMissing(message, content);
        _refusal = _recipients.Settle(message, message.TraceBytes + content.Octets);
        if (_refusal is not null)
        {
            _post(_owner);
            return;
        }

        message.Seal(new BodyFacts
        {
            Octets = content.Octets,
            HeaderWireBytes = content.HeaderWireBytes,
            Flags = _trace.FlagsOf(content),
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
        if (refusal is null && outcome == AppendOutcome.Durable && _recipients.Relayed.Count > 0)
        {
            long wait = _release == 0 ? 0 : _release - Intake.Micros(_clock.GetUtcNow());
            Relay!.Engine.Enter(seq, _recipients.Relayed, _sender, _priority, TimeSpan.FromMicroseconds(Math.Max(0, wait)));
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

    public SmtpReply OutcomeOf(int recipient, SmtpReply commit) => _recipients.Outcomes!.RefusalOf(recipient) ?? commit;

    public void Abandon()
    {
        ReleaseMemory();
        _recipients.Release();
        _log.Return(_message!);
        _message = null;
    }

    public int WriteTransactionId(Span<byte> destination) => _trace.WriteId(destination);

    /// <summary>Gives back what it holds at once; the rest of the content is read and refused at its end.</summary>
    private void CrowdOut()
    {
        _isCrowdedOut = true;
        ReleaseMemory();
        _log.Return(_message!);
        _message = _log.RentMessage();
    }

    private void ReleaseMemory()
    {
        _intake.Release(_heldBytes);
        _heldBytes = 0;
    }
}
