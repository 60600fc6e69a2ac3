using System.Text;
using FastMail.Net;
using FastMail.Storage;

namespace FastMail.Server.Queue;

/// <summary>
/// Changes the queue of a log that no server has open: the next start of one goes by it. Owned by the verb.
/// </summary>
internal sealed class StoredQueueControl : IQueueControl
{
    private readonly MailLog _log;
    private readonly TimeProvider _clock;

    public StoredQueueControl(MailLog log, TimeProvider clock)
    {
        _log = log;
        _clock = clock;
    }

    public async Task<QueueActionResult> ApplyAsync(
        QueueAction action, IReadOnlyList<(ulong Seq, uint Recipient)> recipients, QueueActionOptions options, CancellationToken token)
    {
        if (options.Notifies)
        {
            throw new NotSupportedException("only a running server can notify senders; start it, or cancel without --notify");
        }

        QueueActionResult result = QueueActionResult.None;
        long now = Receive.Intake.Micros(_clock.GetUtcNow());
        List<QueuedRecipient> all = [];
        var changes = new QueueChangeRecord(_log);
        foreach ((ulong seq, uint number) in recipients)
        {
            token.ThrowIfCancellationRequested();
            if (!_log.Queue.TryFind(seq, out _, all) || number >= all.Count || all[(int)number].State.IsEnd())
            {
                result += new QueueActionResult(0, 0, 1, 0);
            }
            else if (QueueActions.ChangeOf(action, all[(int)number], options, now) is { } change)
            {
                await changes.AddAsync(change);
                result += new QueueActionResult(1, 0, 0, 0);
            }
            else
            {
                result += new QueueActionResult(0, 0, 0, 1);
            }
        }

        await changes.EndAsync();
        return result;
    }

    public Task<IReadOnlyList<QueueDestination>> ReadDestinationsAsync(CancellationToken token) =>
        Task.FromResult<IReadOnlyList<QueueDestination>>([]);

    public Task<QueueTotals?> ReadTotalsAsync(CancellationToken token) => Task.FromResult<QueueTotals?>(null);

    public Task<QueuePlace?> FindPlaceAsync(ulong seq, uint recipient, CancellationToken token) =>
        Task.FromResult<QueuePlace?>(null);

    public Task<string?> FindRouteAsync(string forwardPath, CancellationToken token) => Task.FromResult<string?>(null);

    /// <summary>Nothing to do: the next start finds it in the log.</summary>
    public Task EnterAsync(ulong seq, CancellationToken token) => Task.CompletedTask;

    /// <summary>Changes on their way into the log, a record at a time. Owned by one call.</summary>
    private sealed class QueueChangeRecord : ILoopWork
    {
        private readonly MailLog _log;
        private PendingQueueChanges? _changes;
        private TaskCompletionSource _appended = new();

        public QueueChangeRecord(MailLog log) => _log = log;

        public void Run() => _appended.SetResult();

        public async Task AddAsync(QueueChange change)
        {
            _changes ??= _log.RentQueueChanges();
            _changes.Add(change);
            if (_changes.IsFull)
            {
                await EndAsync();
            }
        }

        /// <exception cref="IOException">The log did not take them.</exception>
        public async Task EndAsync()
        {
            if (_changes is not { } changes)
            {
                return;
            }

            _changes = null;
            _appended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            changes.Owner = this;
            _log.Append(changes);
            await _appended.Task;
            AppendOutcome outcome = changes.Outcome;
            _log.Return(changes);
            if (outcome != AppendOutcome.Durable)
            {
                throw new IOException(outcome == AppendOutcome.NoSpace ? "the disk is full" : "the mail log has failed");
            }
        }
    }
}

/// <summary>What an action makes of a recipient. Stateless; any thread.</summary>
internal static class QueueActions
{
    /// <summary>Null when the recipient cannot be treated so.</summary>
    /// <remarks>
    /// A sender's hold and an operator's are two: an operator's release ends the operator's own first, and a redirect
    /// neither.
    /// </remarks>
    /// <param name="action">What is to be done.</param>
    /// <param name="recipient">As the log has it.</param>
    /// <param name="options">How it is meant.</param>
    /// <param name="nowMicros">Microseconds since 1970 UTC.</param>
    public static QueueChange? ChangeOf(
        QueueAction action, in QueuedRecipient recipient, QueueActionOptions options, long nowMicros)
    {
        bool isToCome = recipient.IsHeldBySender(nowMicros) || recipient.IsHeldByBoth(nowMicros);
        return StateAfter(action, recipient, nowMicros) is not { } next ? null : new QueueChange
        {
            Seq = recipient.Seq,
            Recipient = recipient.Recipient,
            State = next,
            DueMicros = isToCome && next is QueueState.Held or QueueState.Deferred ? recipient.DueMicros : 0,
            Attempts = recipient.Attempts,
            IsDelayTold = recipient.IsDelayTold,
            Text = Encoding.UTF8.GetBytes(TextOf(action)),
            ForwardPath = action == QueueAction.Redirect ? Encoding.UTF8.GetBytes(options.ForwardPath!) : default,
        };
    }

    /// <summary>Null when the recipient cannot be treated so.</summary>
    /// <inheritdoc cref="ChangeOf"/>
    public static QueueState? StateAfter(QueueAction action, in QueuedRecipient recipient, long nowMicros)
    {
        bool isHeld = recipient.State == QueueState.Held;
        bool isHeldBySender = recipient.IsHeldBySender(nowMicros);
        return action switch
        {
            QueueAction.Retry => isHeld || isHeldBySender ? null : QueueState.Ready,
            QueueAction.Hold => isHeld ? null : QueueState.Held,
            QueueAction.Release => recipient.IsHeldByBoth(nowMicros) ? QueueState.Deferred
                : isHeld || isHeldBySender ? QueueState.Ready
                : null,
            QueueAction.Cancel => QueueState.Cancelled,
            QueueAction.Redirect => isHeld ? QueueState.Held : isHeldBySender ? QueueState.Deferred : QueueState.Ready,
            _ => null,
        };
    }

    private static string TextOf(QueueAction action) => action switch
    {
        QueueAction.Retry => "the operator wants it tried now",
        QueueAction.Hold => "held by the operator",
        QueueAction.Release => "released by the operator",
        QueueAction.Cancel => "cancelled by the operator",
        _ => "by the operator",
    };
}
