using FastMail.Net;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Relay;

/// <summary>
/// Carries what became of recipients into the log. All that happens while one record is on its way to the disk goes into
/// the next one, so a quick disk costs no delay and a slow one no flushes; and it waits a moment for a message to share a
/// flush with. Owned by the <see cref="DeliveryEngine"/>; loop thread only.
/// </summary>
internal sealed class OutcomeWriter : ILoopWork
{
    private static readonly TimeSpan FullDiskPause = TimeSpan.FromSeconds(5);

    private readonly MailLog _log;
    private readonly EventLoop _loop;
    private readonly ILogger _logger;
    private readonly int _mostPatient;
    private readonly LoopTimer _timer;
    private readonly Flushing _flushing;
    private readonly Queue<(ulong Seq, uint Recipient)> _ends = new(); // not durable yet, in their order
    private readonly Queue<Filled> _full = new();
    private readonly Queue<(long Record, TaskCompletionSource Done)> _waiting = new();
    private Filled _refused; // for which the disk had no room; goes before all others
    private Filled _next;
    private Filled _inFlight;
    private long _records;
    private bool _isFlushPosted;

    /// <param name="log">Takes the records.</param>
    /// <param name="loop">Whose thread this lives on.</param>
    /// <param name="logger">Told of a full disk.</param>
    /// <param name="mostPatient">With as many ends not durable, the next record is not for the next group to come.</param>
    public OutcomeWriter(MailLog log, EventLoop loop, ILogger logger, int mostPatient)
    {
        _log = log;
        _mostPatient = mostPatient;
        _loop = loop;
        _logger = logger;
        _flushing = new Flushing(this);
        _timer = new LoopTimer(_flushing);
    }

    /// <summary>Recipients whose end is not durable: as many may get a second copy after a crash.</summary>
    public int Undurable => _ends.Count;

    /// <summary>The log takes nothing any more: what ends from now on is found waiting by the next start.</summary>
    public bool HasFailed { get; private set; }

    public bool IsIdle => _next.Changes is null && _inFlight.Changes is null && _refused.Changes is null;

    /// <summary>Raised when something has become durable.</summary>
    public event Action? Progressed;

    public void Add(in QueueChange change)
    {
        Write(change);
        if (_inFlight.Changes is null && !_isFlushPosted)
        {
            _isFlushPosted = true;
            _loop.Post(_flushing); // behind what else ends in this round
        }
    }

    /// <summary>A recipient has come to its end, and that is not durable yet. A walk through all of those.</summary>
    public bool IsEnding(ulong seq, uint recipient) => _ends.Contains((seq, recipient));

    /// <summary>
    /// Completes when all that was added so far is durable, or with an <see cref="IOException"/> when something of it is
    /// not, or may not be, in the log.
    /// </summary>
    public Task WhenDurable()
    {
        if (HasFailed)
        {
            return Task.FromException(LogFailure());
        }

        if (IsIdle)
        {
            return Task.CompletedTask;
        }

        var done = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        _waiting.Enqueue((_records, done));
        return done.Task;
    }

    /// <summary>The record in flight has ended.</summary>
    public void Run()
    {
        Filled ended = _inFlight;
        AppendOutcome outcome = ended.Changes!.Outcome;
        _inFlight = default;
        if (outcome == AppendOutcome.NoSpace)
        {
            Refuse(static () => new IOException("the disk is full: it is not sure what of this was done; look at the queue"));
            TryAgainLater(ended);
            return;
        }

        _log.Return(ended.Changes);
        if (outcome != AppendOutcome.Durable)
        {
            HasFailed = true; // and its ends stay what they are: not durable
            Refuse(LogFailure);
            Flush();
            Progressed?.Invoke();
            return;
        }

        for (int i = 0; i < ended.Ends; i++)
        {
            _ends.Dequeue();
        }

        while (_waiting.TryPeek(out (long Record, TaskCompletionSource Done) waiting) && waiting.Record <= ended.Record)
        {
            _waiting.Dequeue().Done.TrySetResult();
        }

        Flush();
        Progressed?.Invoke();
    }

    private static IOException LogFailure() =>
        new("the mail log has failed: nothing of this is sure; look at the queue when the server has been restarted");

    /// <summary>Nobody who waits can be told that all is well: each may have something in this record or behind it.</summary>
    private void Refuse(Func<IOException> why)
    {
        while (_waiting.TryDequeue(out (long Record, TaskCompletionSource Done) waiting))
        {
            waiting.Done.TrySetException(why());
        }
    }

    private void Write(in QueueChange change)
    {
        if (_next.Changes is { IsFull: true })
        {
            _full.Enqueue(_next);
            _next = default;
        }

        _next.Changes ??= _log.RentQueueChanges();
        _next.Record = _next.Changes.Count == 0 ? ++_records : _next.Record;
        _next.Changes.Add(change);
        if (change.State.IsEnd())
        {
            _ends.Enqueue((change.Seq, change.Recipient));
            _next.Ends++;
        }
    }

    private void Flush()
    {
        _isFlushPosted = false;
        if (_inFlight.Changes is not null)
        {
            return;
        }

        if (_refused.Changes is not null)
        {
            _inFlight = _refused;
            _refused = default;
        }
        else if (!_full.TryDequeue(out _inFlight))
        {
            _inFlight = _next;
            _next = default;
        }

        if (_inFlight.Changes is { } changes)
        {
            changes.Owner = this;
            changes.CanWait = _waiting.Count == 0 && _ends.Count < _mostPatient;
            _log.Append(changes);
        }
    }

    /// <summary>The disk is full to the last octet. What is already done in memory must come into the log some time.</summary>
    private void TryAgainLater(in Filled refused)
    {
        PendingQueueChanges changes = refused.Changes!;
        _logger.LogError(
            "the disk is full: what became of {Count} recipients is not in the log yet, tried again in {Pause}",
            changes.Count, FullDiskPause);
        changes.Renew();
        _refused = refused;
        _isFlushPosted = true;
        _loop.Arm(_timer, FullDiskPause);
    }

    /// <summary>A record that is being filled or on its way.</summary>
    private struct Filled
    {
        public PendingQueueChanges? Changes;
        public int Ends;
        public long Record;
    }

    private sealed class Flushing(OutcomeWriter writer) : ILoopWork
    {
        public void Run() => writer.Flush();
    }
}
