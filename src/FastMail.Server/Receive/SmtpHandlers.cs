using FastMail.Net;
using FastMail.Protocol.Smtp;
using FastMail.Server.Accounts;
using FastMail.Server.Defence;
using FastMail.Storage;

namespace FastMail.Server.Receive;

/// <summary>The pool of SMTP handlers of one kind of listener, and of the receivers of their mail. Loop thread only.</summary>
internal sealed class SmtpHandlers : HandlerPool<SmtpHandler>
{
    private readonly Stack<ReceiverSeat> _seats = new();

    public required EventLoop Loop { get; init; }

    public required MailLog Log { get; init; }

    public required CommitWatch Commits { get; init; }

    public required LiveAccounts Accounts { get; init; }

    public required Logins Logins { get; init; }

    public required Intake Intake { get; init; }

    public required Quotas Quotas { get; init; }

    public required SessionPolicy Policy { get; init; }

    /// <summary>Who may name the client by XCLIENT.</summary>
    public required Exemptions Xclient { get; init; }

    public required TimeProvider Clock { get; init; }

    /// <summary>Null where clients are not looked up.</summary>
    public Blocklists? Blocklists { get; init; }

    /// <summary>Null where no mail for others is taken.</summary>
    public Relay.RelayIntake? Relay { get; init; }

    public required SmtpSessionOptions Options { get; init; }

    public override ReadOnlyMemory<byte> Refusal { get; } = "421 4.3.2 Too many connections, try again later\r\n"u8.ToArray();

    public override ReadOnlyMemory<byte> ClientRefusal { get; } =
        "421 4.7.0 Too many connections from your address, try again later\r\n"u8.ToArray();

    /// <summary>A receiver for one transaction of this handler.</summary>
    public ReceiverSeat RentSeat(SmtpHandler handler)
    {
        ReceiverSeat seat = _seats.TryPop(out ReceiverSeat? idle) ? idle : new ReceiverSeat(this);
        seat.Handler = handler;
        return seat;
    }

    public void ReturnSeat(ReceiverSeat seat)
    {
        seat.Handler = null;
        _seats.Push(seat);
    }

    protected override SmtpHandler Make() => new(this);
}
