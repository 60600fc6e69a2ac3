using FastMail.Storage;

namespace FastMail.Server.Queue;

/// <summary>
/// The queue of an open mail log as the verbs see it: read from the log, changed by whoever may. Belongs to whoever opened
/// the log; any thread that may wait for the disk.
/// </summary>
internal sealed class OpenQueue
{
    private const int MostAtOnce = 1000; // recipients; between two such steps mail goes on
    private const int MostDomains = 50;

    private readonly MailLog _log;
    private readonly IQueueControl _control;
    private readonly TimeProvider _clock;

    public OpenQueue(MailLog log, IQueueControl control, TimeProvider clock)
    {
        _log = log;
        _control = control;
        _clock = clock;
    }

    public IEnumerable<QueueEntry> List(QueueSelector selector) =>
        Read(selector, isReplyWanted: true);

    /// <summary>Null when there is no such message in the queue.</summary>
    public Task<QueueMessage?> FindAsync(string id, CancellationToken token) =>
        new QueueReader(_log).FindAsync(
            id,
            (seq, recipient) => _control.FindPlaceAsync(seq, recipient, token),
            path => _control.FindRouteAsync(path, token),
            _clock);

    /// <summary>Does something with all that fit; what has been done stays done when it is cancelled.</summary>
    /// <exception cref="NotSupportedException">Not without a running server.</exception>
    /// <exception cref="IOException">The log did not take a change.</exception>
    public async Task<QueueActionResult> ApplyAsync(
        QueueAction action, QueueSelector selector, QueueActionOptions options, CancellationToken token)
    {
        QueueActionResult result = QueueActionResult.None;
        foreach (QueueEntry[] part in Read(selector, isReplyWanted: false).Chunk(MostAtOnce))
        {
            result += await _control.ApplyAsync(action, [.. part.Select(e => (e.Seq, e.Recipient))], options, token);
        }

        return result;
    }

    public async Task<QueueStats> CountAsync(CancellationToken token)
    {
        var domains = new Dictionary<string, QueueDomain>(StringComparer.Ordinal);
        (int ready, int deferred, int held) = (0, 0, 0);
        int messages = 0;
        ulong last = 0;
        DateTimeOffset? oldest = null;
        foreach (QueueEntry entry in Read(new QueueSelector(), isReplyWanted: false))
        {
            token.ThrowIfCancellationRequested();
            int isDeferred = entry.State == "deferred" ? 1 : 0;
            int isHeld = entry.State == "held" ? 1 : 0;
            ready += 1 - isDeferred - isHeld;
            deferred += isDeferred;
            held += isHeld;
            messages += entry.Seq == last ? 0 : 1;
            last = entry.Seq;
            oldest ??= entry.Arrived; // they come in the order of their arrival
            QueueDomain known = domains.GetValueOrDefault(entry.Domain)
                ?? new QueueDomain(entry.Domain, 0, 0, 0, entry.Arrived);
            domains[entry.Domain] = known with
            {
                Recipients = known.Recipients + 1,
                Deferred = known.Deferred + isDeferred,
                Held = known.Held + isHeld,
            };
        }

        return new QueueStats(
            messages, ready + deferred + held, ready, deferred, held, oldest,
            [.. domains.Values.OrderByDescending(d => d.Recipients).ThenBy(d => d.Name, StringComparer.Ordinal).Take(MostDomains)],
            await _control.ReadDestinationsAsync(token),
            await _control.ReadTotalsAsync(token));
    }

    private IEnumerable<QueueEntry> Read(QueueSelector selector, bool isReplyWanted) =>
        new QueueReader(_log).Read(selector, _clock.GetUtcNow(), isReplyWanted);
}
