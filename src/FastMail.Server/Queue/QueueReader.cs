using System.Text;
using FastMail.Storage;

namespace FastMail.Server.Queue;

/// <summary>
/// Reads the queue for people, a page at a time: mail comes and goes meanwhile. Belongs to one reading; one thread, which
/// may wait for the disk.
/// </summary>
internal sealed class QueueReader
{
    private const int PageRecipients = 512;

    private readonly MailLog _log;
    private readonly List<QueuedRecipient> _page = [];
    private readonly List<QueueEvent> _events = [];
    private readonly List<QueueEvent?> _last = [];
    private readonly List<uint> _numbers = [];
    private byte[] _meta = new byte[4096];

    public QueueReader(MailLog log) => _log = log;

    /// <summary>The recipients that fit, of older messages first.</summary>
    /// <param name="selector">Which.</param>
    /// <param name="now">What their age counts to.</param>
    /// <param name="isReplyWanted">What was said last is read also when nothing is selected by it.</param>
    public IEnumerable<QueueEntry> Read(QueueSelector selector, DateTimeOffset now, bool isReplyWanted = true)
    {
        ulong next = 0;
        do
        {
            _page.Clear();
            next = _log.Queue.ReadPage(next, _page, PageRecipients);
            for (int i = 0; i < _page.Count;)
            {
                int end = _page.FindIndex(i, r => r.Seq != _page[i].Seq);
                end = end < 0 ? _page.Count : end;
                foreach (QueueEntry entry in ReadMessage(_page[i..end], selector, now, isReplyWanted || selector.Reply is not null))
                {
                    yield return entry;
                }

                i = end;
            }
        }
        while (next != 0);
    }

    /// <summary>The message with that transaction id; null when there is none in the queue.</summary>
    /// <param name="id">In any case of letters.</param>
    /// <param name="place">Asked for each recipient that has not ended.</param>
    /// <param name="route">Asked where mail for such a recipient goes; null when that is not known.</param>
    /// <param name="clock">Says when that was asked.</param>
    public async Task<QueueMessage?> FindAsync(
        string id, Func<ulong, uint, Task<QueuePlace?>> place, Func<string, Task<string?>> route, TimeProvider clock)
    {
        var selector = new QueueSelector { Ids = [id] };
        QueueEntry? entry = Read(selector, DateTimeOffset.MaxValue, isReplyWanted: false).FirstOrDefault();
        List<QueuedRecipient> recipients = [];
        if (entry is null || !_log.Queue.TryFind(entry.Seq, out QueuedMessage queued, recipients)
            || !_log.TryReadQueuedMeta(entry.Seq, ref _meta, out int length))
        {
            return null;
        }

        Envelope envelope = Envelope.Read(_meta.AsSpan(0, length));
        _events.Clear();
        _ = _log.TryReadTimeline(entry.Seq, _events);
        var told = new QueueSteps(envelope);
        List<QueueStep> steps = [.. told.Tell(_events)];
        bool isKnown = true;
        List<QueueStanding> standings = [];
        foreach (QueuedRecipient recipient in recipients)
        {
            envelope.Recipients.TryGetValue(recipient.Recipient, out (string Address, string? Notify) given);
            standings.Add(new QueueStanding(
                PathOf(recipient) ?? given.Address ?? "?",
                NameOf(recipient.State),
                DueOf(recipient.State, recipient.DueMicros),
                recipient.Attempts,
                given.Notify,
                recipient.State.IsEnd() ? null : await place(recipient.Seq, recipient.Recipient)));
            if (isKnown && !recipient.State.IsEnd())
            {
                string? now = await route(standings[^1].To);
                isKnown = now is not null; // a name server that is silent about one would be waited for with each
                steps.AddRange(told.TellRoute(clock.GetUtcNow(), recipient.Recipient, now));
            }
        }

        return new QueueMessage(
            entry.Id, entry.Seq, entry.From, queued.Bytes, entry.Arrived, envelope.Client, envelope.Helo,
            envelope.Authenticated, envelope.Tls, envelope.EnvelopeId, envelope.Priority, envelope.ReleaseAt, [.. standings],
            [new QueueStep(entry.Arrived, null, "received", null, null), .. steps]);
    }

    public static string NameOf(QueueState state) => state switch
    {
        QueueState.Ready => "ready",
        QueueState.Deferred => "deferred",
        QueueState.Held => "held",
        QueueState.Delivered => "delivered",
        QueueState.Failed => "failed",
        QueueState.Cancelled => "cancelled",
        _ => "ended",
    };

    private IEnumerable<QueueEntry> ReadMessage(
        List<QueuedRecipient> recipients, QueueSelector selector, DateTimeOffset now, bool isReplyRead)
    {
        DateTimeOffset arrived = DateTimeOffset.FromUnixTimeSeconds(recipients[0].ArrivalSeconds);
        long wall = Receive.Intake.Micros(now);
        recipients = recipients.FindAll(r => selector.MayFit(NameOf(r.State), arrived, now)
            && (selector.Would is not { } action || QueueActions.StateAfter(action, r, wall) is not null));
        ulong seq = recipients.Count > 0 ? recipients[0].Seq : 0;
        if (recipients.Count == 0 || !_log.Queue.TryFind(seq, out QueuedMessage message))
        {
            yield break; // it has ended meanwhile
        }

        bool isRead = _log.TryReadQueuedMeta(seq, ref _meta, out int length);
        Envelope envelope = isRead ? Envelope.Read(_meta.AsSpan(0, length)) : Envelope.Unreadable;
        List<QueueEntry> entries = [];
        foreach (QueuedRecipient recipient in recipients)
        {
            envelope.Recipients.TryGetValue(recipient.Recipient, out (string Address, string? Notify) given);
            string? redirected = PathOf(recipient);
            var entry = new QueueEntry(
                envelope.Id, seq, recipient.Recipient, envelope.From, redirected ?? given.Address ?? "?",
                redirected is null ? null : given.Address, NameOf(recipient.State), arrived,
                DueOf(recipient.State, recipient.DueMicros), recipient.Attempts, message.Bytes,
                isRead ? null : "its record cannot be read; fastmail log verify tells more");
            if (selector.FitsButReply(entry, now))
            {
                entries.Add(entry);
            }
        }

        if (isReplyRead && isRead && entries.Count > 0)
        {
            ReadReplies(seq, entries);
        }

        foreach (QueueEntry entry in entries)
        {
            if (selector.FitsReply(entry.Reply))
            {
                yield return entry;
            }
        }
    }

    private void ReadReplies(ulong seq, List<QueueEntry> entries)
    {
        _numbers.Clear();
        _numbers.AddRange(entries.Select(entry => entry.Recipient));
        _last.Clear();
        _ = _log.TryReadLastChanges(seq, _numbers, _last);
        for (int i = 0; i < _last.Count; i++)
        {
            entries[i] = entries[i] with { Reply = TextOf(_last[i]) };
        }
    }

    private static string? PathOf(in QueuedRecipient recipient) =>
        recipient.ForwardPath.IsEmpty ? null : Encoding.UTF8.GetString(recipient.ForwardPath.Span);

    public static string? TextOf(QueueEvent? happened) =>
        happened is null || happened.Text.IsEmpty ? null : Encoding.UTF8.GetString(happened.Text.Span);

    public static DateTimeOffset? DueOf(QueueState state, long micros) =>
        state == QueueState.Deferred && micros > 0 ? DateTimeOffset.UnixEpoch.AddMicroseconds(micros) : null;
}
