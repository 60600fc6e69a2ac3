using System.Net;
using FastMail.Protocol.Smtp;
using FastMail.Server.Defence;

namespace FastMail.Server.Receive;

/// <content>
/// The session's sink: hands a transaction on to a receiver that is rented from MAIL until everything is said, because
/// most connections of a server are between two transactions, or have none.
/// </content>
internal sealed partial class SmtpHandler : IMailSink
{
    private ReceiverSeat? _seat;
    private BlocklistInquiry? _inquiry; // null where the blocklists are not asked

    bool IMailSink.IsJudgingClient => _inquiry is { IsPending: true };

    bool IMailSink.MustWait => _seat!.Receiver.MustWait;

    /// <summary>The address at which the client has called; null when that is none.</summary>
    public IPAddress? LocalAddress => _connection!.LocalEndPoint?.Address;

    SmtpReply IMailSink.Begin(in MailArguments mail)
    {
        if (_account is not null && !_home.Logins.Accounts.Holds(_account))
        {
            return SmtpReply.LoginRevoked;
        }

        _seat ??= _home.RentSeat(this);
        MailReceiver receiver = _seat.Receiver;
        receiver.Connect(_connection!.IsLocal ? null : _connection.RemoteEndPoint.Address); // XCLIENT may have changed it
        receiver.Inquiry = _inquiry;
        return receiver.Begin(mail);
    }

    SmtpReply IMailSink.AddRecipient(in RcptArguments rcpt) => _seat!.Receiver.AddRecipient(rcpt);

    SmtpReply? IMailSink.BeginContent(in TransactionFacts facts) => _seat!.Receiver.BeginContent(facts);

    void IMailSink.Append(ReadOnlySpan<byte> wire) => _seat!.Receiver.Append(wire);

    void IMailSink.Commit(in ContentFacts content) => _seat!.Receiver.Commit(content);

    SmtpReply IMailSink.OutcomeOf(int recipient, SmtpReply commit) => _seat!.Receiver.OutcomeOf(recipient, commit);

    /// <summary>Outside a transaction, so without a seat.</summary>
    SmtpReply IMailSink.StartQueueRun(ReadOnlySpan<byte> domain, bool isWithSubdomains) =>
        _home.Relay?.Runs.Start(domain, isWithSubdomains) ?? SmtpReply.QueueRunRefused;

    void IMailSink.Abandon() => _seat!.Receiver.Abandon();

    int IMailSink.WriteTransactionId(Span<byte> destination) => _seat!.Receiver.WriteTransactionId(destination);

    /// <summary>Gives the receiver back, unless the session or the log still has to do with it.</summary>
    private void LeaveSeat()
    {
        if (_seat is { IsBusy: false } && !_session.NeedsSink)
        {
            _seat.Receiver.Inquiry = null;
            _home.ReturnSeat(_seat);
            _seat = null;
        }
    }
}
