using FastMail.Net;
using FastMail.Protocol.Smtp;

namespace FastMail.Server.Receive;

/// <summary>
/// A receiver and whom it serves at present; posted to the loop when the log has done its part. Rented by one handler
/// for one transaction at a time, pooled by <see cref="SmtpHandlers"/>; loop thread only.
/// </summary>
internal sealed class ReceiverSeat : ILoopWork
{
    public ReceiverSeat(SmtpHandlers home) => Receiver = new MailReceiver(
        home.Log, home.Accounts, home.Intake, home.Quotas, home.Policy.Stress, home.Options.Hostname, home.Clock,
        home.Loop.Post, this, () => home.Loop.Post(this))
    {
        Relay = home.Relay,
        LongestHold = home.Options.LongestHold,
        AnswersEachRecipient = home.Options.Role == SmtpRole.Lmtp,
        LocalAddress = () => Handler!.LocalAddress,
    };

    public MailReceiver Receiver { get; }

    /// <summary>Null in the pool.</summary>
    public SmtpHandler? Handler { get; set; }

    /// <summary>The log has something of it, whose end is still to be posted.</summary>
    public bool IsBusy => Receiver.IsCommitting || Receiver.IsSettling || Receiver.IsHeld;

    public void Run() => Handler!.Settled();
}
