using System.Text;
using FastMail.Storage;

namespace FastMail.Server.Queue;

/// <summary>
/// Puts together what the records of a log say of one message, also when the queue has forgotten it. Belongs to one
/// reading of the log; one thread.
/// </summary>
internal sealed class LoggedMessage
{
    private readonly string _id;
    private readonly List<LoggedQueueChange> _changes = []; // for the time of a call
    private readonly List<QueueEvent> _events = [];
    private readonly HashSet<(ulong Origin, uint Recipient)> _told = [];
    private LogRecord? _record;

    /// <param name="id">The transaction id, in any case of letters.</param>
    public LoggedMessage(string id) => _id = id;

    /// <summary>The next record, in the order in which <see cref="LogInspector.Read"/> hands them out.</summary>
    public void Take(LogRecord record)
    {
        if (record.Type == RecordType.Message && record.Seq < (_record?.Seq ?? ulong.MaxValue)
            && string.Equals(record.ReadText(MetaType.TransactionId), _id, StringComparison.OrdinalIgnoreCase))
        {
            _record = record; // what was put into maildrops out of the queue has the same id, and came later
            _events.Clear();
            _told.Clear();
        }

        if (_record is null || record.Type is not (RecordType.QueueState or RecordType.Message))
        {
            return;
        }

        _changes.Clear();
        _ = record.ReadQueueChanges(_changes);
        foreach (LoggedQueueChange change in _changes)
        {
            ulong origin = change.OriginLsn != 0 ? change.OriginLsn : record.Lsn;
            if (change.Seq == _record.Seq && _told.Add((origin, change.Recipient))) // what compaction repeats is told once
            {
                _events.Add(new QueueEvent(
                    record.TimestampMicros, change.Recipient, change.State, change.DueMicros, change.Attempts,
                    change.IsDelayTold, Encoding.UTF8.GetBytes(change.Text), Encoding.UTF8.GetBytes(change.ForwardPath),
                    Encoding.UTF8.GetBytes(change.Route), Encoding.UTF8.GetBytes(change.Tls)));
            }
        }
    }

    /// <summary>All that was found; null when no record has that id.</summary>
    public QueueMessage? Read()
    {
        if (_record is not { } record)
        {
            return null;
        }

        Envelope envelope = Envelope.Read(record.Meta.Span);
        DateTimeOffset arrived = DateTimeOffset.UnixEpoch.AddMicroseconds(record.TimestampMicros);
        List<QueueStanding> standings = [];
        List<QueueStep> steps = [new QueueStep(arrived, null, "received", null, null)];
        foreach (LogRecipient local in record.ReadRecipients().Where(recipient => recipient.MailboxId is not null))
        {
            standings.Add(new QueueStanding(local.Address, "delivered", null, 0, null, null));
            steps.Add(new QueueStep(arrived, local.Address, "delivered", null, "to a maildrop of this server"));
        }

        standings.AddRange(envelope.Recipients.Select(recipient => StandingOf(recipient.Key, recipient.Value)));
        steps.AddRange(new QueueSteps(envelope).Tell(_events));
        return new QueueMessage(
            envelope.Id, record.Seq, envelope.From, record.Bytes, arrived, envelope.Client, envelope.Helo,
            envelope.Authenticated, envelope.Tls, envelope.EnvelopeId, envelope.Priority, envelope.ReleaseAt,
            [.. standings], [.. steps]);
    }

    /// <summary>The first end counts, and before that what was said last.</summary>
    private QueueStanding StandingOf(uint number, (string Address, string? Notify) given)
    {
        List<QueueEvent> own = _events.FindAll(e => e.Recipient == number || e.Recipient == QueueChange.AllRecipients);
        QueueEvent? last = own.Find(e => e.State.IsEnd()) ?? own.LastOrDefault();
        string? path = own.FindLast(e => !e.ForwardPath.IsEmpty) is { } redirect
            ? Encoding.UTF8.GetString(redirect.ForwardPath.Span)
            : null;
        return new QueueStanding(
            path ?? given.Address, QueueReader.NameOf(last?.State ?? QueueState.Ended), null, last?.Attempts ?? 0, given.Notify, null);
    }
}
