using FastMail.Protocol.Notifications;
using FastMail.Server.Accounts;
using FastMail.Server.Receive;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Relay;

/// <content>Word to the senders, and mail that stays here after all.</content>
internal sealed partial class DeliveryEngine
{
    private const long NoticeAgainMicros = 60_000_000;

    private readonly List<Account> _mailboxes = []; // for the time of a call
    private int _notices; // on their way into the log
    private int _told; // recipients whom the mail has left for, and whose end is in one of those
    private long _noticesSent;

    public ReadOnlyMemory<byte> Hostname => _parts.Hostname;

    public DateTimeOffset Now => _parts.Clock.GetUtcNow();

    public long MostReturnedBytes => _parts.Options.MostReturnedBytes;

    public long NextTransactionId() => _parts.Intake.NextTransactionId();

    /// <summary>What the log says of a recipient; good until the next call.</summary>
    public ReadOnlyMemory<byte> TextFor(Delivery delivery, int recipient) => TextOf(delivery, recipient);

    /// <summary>Where it was to go, as the log says it; good until the next call.</summary>
    public ReadOnlyMemory<byte> RouteFor(Delivery delivery, int recipient) => RouteOf(delivery, recipient);

    /// <summary>
    /// Makes an address the only recipient of a message of ours: the maildrops that it names here, or somebody elsewhere.
    /// False when it is an address of ours that nobody has.
    /// </summary>
    public bool AddReader(PendingMessage message, ReadOnlySpan<byte> address, ForwardPaths paths)
    {
        switch (_parts.Accounts.Current.Resolve(address, "", _mailboxes))
        {
            case Residence.Mailbox:
                foreach (Account account in _mailboxes)
                {
                    _ = message.TryAddLocalRecipient(account.MailboxId, address);
                }

                return true;
            case Residence.Elsewhere:
                message.AddRelayRecipient(address);
                return paths.TryAdd(address);
            case Residence.TooMany:
                _parts.Logger.LogWarning("a notification has no reader: the sender's address is an alias of too many");
                return false;
            default:
                _parts.Logger.LogWarning("a notification has no reader: nobody here has the sender's address any more");
                return false;
        }
    }

    /// <summary>The original is not needed any more.</summary>
    public void NoticeWritten(Delivery delivery) => ReturnDelivery(delivery);

    /// <summary>A recipient ends without word to its sender.</summary>
    public void EndUntold(Delivery delivery, ulong seq, int place, uint recipient, QueueState state, int attempts, long due) =>
        _outcomes.Add(new QueueChange
        {
            Seq = seq,
            Recipient = recipient,
            State = state,
            DueMicros = state.IsEnd() ? 0 : due,
            Attempts = state.IsEnd() ? attempts + 1 : attempts,
            IsDelayTold = !state.IsEnd(),
            Text = TextOf(delivery, place),
            Route = RouteOf(delivery, place),
            Tls = delivery.Tls,
        });

    /// <summary>A notification could not be written; its recipients follow, one by one.</summary>
    public void NoticeFailed(Exception exception) =>
        _parts.Logger.LogError(exception, "queue: a notification could not be written by a mistake of the program");

    /// <summary>A recipient failed, and a mistake of ours keeps its sender from hearing of it: an operator has to look.</summary>
    public void HoldUntold(ulong seq, uint recipient, int attempts, bool isDelayTold)
    {
        _outcomes.Add(new QueueChange
        {
            Seq = seq,
            Recipient = recipient,
            State = QueueState.Held,
            Attempts = attempts,
            IsDelayTold = isDelayTold,
            Text = "5.3.0 held: word of its failure could not be written by a mistake of the program"u8.ToArray(),
        });
    }

    /// <summary>The record of a notification has ended; it is mail like any other now.</summary>
    public void NoticeEnded(Notice notice, bool isDurable, ulong seq, ForwardPaths? paths)
    {
        _notices--;
        _told -= notice.Gone;
        notice.Written?.SetResult(
            !isDurable ? Task.FromException(new IOException("word to a sender is not in the log: who is told of stays in the queue"))
            : seq == 0 ? _outcomes.WhenDurable()
            : Task.CompletedTask);
        if (!isDurable)
        {
            TakeBack(notice);
        }
        else if (paths is { Count: > 0 })
        {
            _noticesSent++;
            Enter(seq, paths, SenderOf(default), 0);
        }
        else if (seq != 0)
        {
            _noticesSent++;
        }

        if (notice.Gone > 0)
        {
            OutcomesProgressed();
        }

        EndDrainWhenQuiet();
    }

    /// <summary>Neither the notification nor what it tells of is in the log, which has no room for mail.</summary>
    private void TakeBack(Notice notice)
    {
        bool isAny = false;
        foreach (QueueChange change in notice.Delivered)
        {
            _outcomes.Add(change); // an end alone finds room in the reserve; the mail must not go out again for a word of it
            isAny = true;
        }

        if (isAny)
        {
            _parts.Logger.LogWarning(
                "queue: word of the delivery of message {Seq} cannot be written; its sender does not hear of it", notice.Seq);
        }

        foreach (uint recipient in notice.Ended) // tried once more, later
        {
            Consignment consignment = _schedule.Make(notice.Seq, recipient);
            consignment.Attempts = (ushort)notice.Attempts;
            consignment.IsDelayTold = notice.IsDelayTold;
            consignment.IsStale = true; // where an operator has sent it the log knows
            _schedule.Wait(consignment, _schedule.Now + NoticeAgainMicros);
        }

        notice.TakeDelayBack();
        Pump();
    }
}
