using System.Buffers;
using System.Globalization;
using System.IO.Pipelines;
using System.Security.Cryptography;
using System.Text;
using FastMail.Net;
using FastMail.Server.Accounts;
using FastMail.Server.Maildrops;
using FastMail.Storage;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Control;

/// <summary>
/// An open mail log with its accounts as the administrative verbs see them: the running server's, or one that a verb
/// has opened itself. Belongs to whoever opened the log; any thread.
/// </summary>
internal sealed class OpenStore : IDisposable
{
    private const int MostWaits = 600; // a minute
    private const int MostRemovedAtOnce = 10_000; // messages in one record

    private static readonly TimeSpan BetweenWaits = TimeSpan.FromMilliseconds(100);

    private readonly MailLog _log;
    private readonly Func<AccountDirectory> _accounts;
    private readonly Func<List<RemovedMailbox>> _removed;
    private readonly Allowance _defaults;
    private readonly SemaphoreSlim _importing = new(1);
    private UniqueIds? _uniqueIds; // of the maildrop imported into last

    /// <param name="log">The messages.</param>
    /// <param name="accounts">The accounts as they are now.</param>
    /// <param name="removed">The mailboxes that have lost theirs; called by any thread.</param>
    /// <param name="defaults">Quota and retention of accounts without their own.</param>
    public OpenStore(
        MailLog log, Func<AccountDirectory> accounts, Func<List<RemovedMailbox>> removed, Allowance defaults)
    {
        _log = log;
        _accounts = accounts;
        _removed = removed;
        _defaults = defaults;
    }

    public ServerStatus Status()
    {
        LogStatistics statistics = _log.Statistics;
        return new ServerStatus(
            Environment.ProcessId,
            statistics.DurableLsn,
            statistics.Records,
            statistics.Groups,
            statistics.Bytes,
            statistics.Segments,
            _log.PendingBytes,
            _log.IsSpaceLow,
            _log.HasFailed,
            StatusOf(_log.ScrubStatistics));
    }

    public LogHold Hold() => _log.Hold();

    /// <summary>Brings space back now.</summary>
    /// <param name="deadRatio">Segments are copied when more than this part of them is dead.</param>
    /// <param name="bytesPerSecond">Copied at most; 0 for no limit.</param>
    /// <param name="report">Called by a thread of the log.</param>
    /// <param name="token">Gives up the copy that is being made; what was done stays done.</param>
    /// <exception cref="IOException">A segment cannot be read, or the disk failed; nothing is lost.</exception>
    public async Task<CompactStep> CompactAsync(
        double deadRatio, long bytesPerSecond, Action<CompactStep> report, CancellationToken token)
    {
        var options = new CompactOptions
        {
            DeadRatio = deadRatio,
            IncludesCurrent = true,
            BytesPerSecond = bytesPerSecond,
        };
        CompactProgress end = await _log.CompactAsync(options, new Reports(p => report(CompactStep.Of(p))), token);
        return CompactStep.Of(end, isComplete: true);
    }

    private static ScrubStatus StatusOf(in ScrubStatistics scrub) => new(
        scrub.Passes,
        scrub.Bytes,
        scrub.Problems,
        scrub.Passes == 0 ? null : DateTimeOffset.UnixEpoch.AddMicroseconds(scrub.PassEndMicros));

    public MaildropSummary[] ListMaildrops()
    {
        AccountDirectory accounts = _accounts();
        return [.. accounts.All.OrderBy(a => a.Address, StringComparer.Ordinal).Select(account =>
        {
            MaildropSize size = _log.Measure(account.MailboxId);
            Allowance allowance = (accounts.AllowanceOf(account.MailboxId) ?? Allowance.Unset).Or(_defaults);
            return new MaildropSummary(
                account.Address,
                account.MailboxId,
                size.Messages,
                size.Octets,
                allowance.Messages ?? 0,
                allowance.Octets ?? 0,
                allowance.RetentionDays ?? 0,
                _log.UidValidity);
        })];
    }

    /// <summary>The maildrops of accounts that were removed, as far as they hold mail.</summary>
    /// <exception cref="SqliteException">The accounts cannot be read.</exception>
    public RemovedMaildrop[] ListRemoved() =>
    [
        .. from mailbox in _removed()
           let size = _log.Measure(mailbox.MailboxId)
           where size.Messages > 0
           select new RemovedMaildrop(
               mailbox.MailboxId, mailbox.Address, mailbox.Removed, size.Messages, size.Octets, _log.UidValidity),
    ];

    /// <summary>
    /// Removes all mail that is in the maildrop of a removed account now; answers when that is durable. What was removed
    /// before a failure stays removed. Null, and nothing is done, when the mailbox has an account or never had one.
    /// </summary>
    /// <exception cref="IOException">The disk failed, or the maildrop cannot be read.</exception>
    /// <exception cref="SqliteException">The accounts cannot be read.</exception>
    public async Task<PurgeResult?> PurgeAsync(ulong mailboxId, CancellationToken token)
    {
        if (!_removed().Exists(m => m.MailboxId == mailboxId) || _accounts().All.Any(a => a.MailboxId == mailboxId))
        {
            return null; // asks the running directory too: it may not know of the removal yet
        }

        MaildropSnapshot snapshot = _log.Snapshot(mailboxId);
        for (int from = 0; from < snapshot.Count; from += MostRemovedAtOnce)
        {
            token.ThrowIfCancellationRequested();
            var uids = new ulong[Math.Min(MostRemovedAtOnce, snapshot.Count - from)];
            for (int i = 0; i < uids.Length; i++)
            {
                uids[i] = snapshot[from + i].Uid;
            }

            await new Purging(mailboxId, uids).AppendAsync(_log);
        }

        return new PurgeResult(snapshot.Count, snapshot.Octets);
    }

    /// <summary>The mailbox of an address; null when there is no such account.</summary>
    public ulong? MailboxOf(string address) => _accounts().Find(Encoding.UTF8.GetBytes(address))?.MailboxId;

    /// <summary>Writes the messages of a maildrop as <see cref="Frames"/>, verified one by one.</summary>
    /// <exception cref="IOException">The disk cannot give a message just now.</exception>
    public async Task ExportAsync(ulong mailboxId, PipeWriter output, CancellationToken token)
    {
        using OpenMaildrop maildrop = _log.OpenMaildrop(mailboxId);
        for (int i = 0; i < maildrop.Snapshot.Count; i++)
        {
            token.ThrowIfCancellationRequested();
            await MessageExport.WriteAsync(_log, maildrop, i, output, token);
        }

        await output.FlushAsync(token);
    }

    /// <summary>
    /// Appends messages to a maildrop in their order and answers when they are durable. One import at a time.
    /// </summary>
    /// <param name="mailboxId">Whose maildrop.</param>
    /// <param name="address">Whose maildrop, for the records.</param>
    /// <param name="input"><see cref="Frames"/>; a few at a time, each batch is one flush.</param>
    /// <param name="isFirst">Of the batches of one import.</param>
    /// <param name="skipsPresent">
    /// A message whose unique-id is there already is not added. One without any, or with one that cannot be kept, gets
    /// one made from its content, so that importing it again finds it.
    /// </param>
    /// <param name="token">Ends the reading of the input; what was appended stays.</param>
    public async Task<ImportResult[]> ImportAsync(
        ulong mailboxId, string address, PipeReader input, bool isFirst, bool skipsPresent, CancellationToken token)
    {
        await _importing.WaitAsync(token);
        List<Arriving> arriving = [];
        try
        {
            if (isFirst || _uniqueIds?.MailboxId != mailboxId)
            {
                _uniqueIds = UniqueIds.Read(_log, mailboxId);
            }

            while (true)
            {
                (ImportedMessage? head, int textBytes) =
                    await Frames.ReadHeadAsync(input, ControlJson.Default.ImportedMessage, token);
                if (head is null)
                {
                    break;
                }

                arriving.Add(await ReceiveAsync(mailboxId, address, head, textBytes, input, skipsPresent, token));
            }

            return [.. await Task.WhenAll(arriving.Select(a => a.EndAsync()))];
        }
        catch
        {
            _uniqueIds = null; // some may have been appended; the next batch looks again
            await Task.WhenAll(arriving.Select(a => a.EndAsync()));
            throw;
        }
        finally
        {
            _importing.Release();
        }
    }

    public void Dispose() => _importing.Dispose();

    /// <summary>Places for large bodies are given back as fast as the disk takes what arrives.</summary>
    /// <exception cref="IOException">None was for a minute.</exception>
    private async Task WaitForBodyAsync(CancellationToken token)
    {
        for (int waits = 0; !_log.HasRoomForBody; waits++)
        {
            if (waits == MostWaits)
            {
                throw new IOException("too many large messages are arriving; try again later");
            }

            await Task.Delay(BetweenWaits, token);
        }
    }

    private async Task<Arriving> ReceiveAsync(
        ulong mailboxId, string address, ImportedMessage head, int textBytes, PipeReader input, bool skipsPresent,
        CancellationToken token)
    {
        PendingMessage message = _log.RentMessage();
        try
        {
            using var content = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            string reversePath = head.ReversePath ?? throw new InvalidDataException("the head of a message lacks its reversePath");
            message.SetReversePath(Encoding.UTF8.GetBytes(reversePath));
            _ = message.TryAddLocalRecipient(mailboxId, Encoding.UTF8.GetBytes(address));
            (string? id, ImportOutcome outcome) = (head.UniqueId, ImportOutcome.Added);
            bool canKeep = id is not null && UniqueId.IsValid(id, _log.UidValidity);
            if (!canKeep && skipsPresent)
            {
                outcome = id is null ? ImportOutcome.Added : ImportOutcome.Renamed;
                id = UniqueId.Reserved; // its place is kept in the record until the content has been seen
            }
            else if (id is not null && (!canKeep || _uniqueIds!.Contains(id)))
            {
                (id, outcome) = (null, skipsPresent ? ImportOutcome.Present : ImportOutcome.Renamed);
            }

            message.SetImport(
                id is null ? default : Encoding.ASCII.GetBytes(id),
                head.ArrivalSeconds * 1_000_000 ?? 0,
                id is null ? 0 : UniqueId.NumberIn(id, _log.UidValidity),
                _uniqueIds!.NextUid);
            message.SetTrace(default, 0);
            if (textBytes > _log.LargestRecordBytes / 2) // dots can double it
            {
                await WaitForBodyAsync(token);
            }

            var writer = new WireWriter(message);
            await Frames.ReadTextAsync(
                input,
                textBytes,
                async run =>
                {
                    foreach (ReadOnlyMemory<byte> part in run)
                    {
                        writer.Write(part.Span);
                        content.AppendData(part.Span);
                    }

                    var drained = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
                    if (message.MustWait(drained.SetResult))
                    {
                        await drained.Task; // a long body goes to its file no faster than the disk takes it
                    }
                },
                token);
            message.Seal(writer.End());
            if (ReferenceEquals(id, UniqueId.Reserved))
            {
                id = UniqueId.Of(content.GetHashAndReset());
                message.PatchUniqueId(Encoding.ASCII.GetBytes(id));
                outcome = _uniqueIds!.Contains(id) ? ImportOutcome.Present : outcome;
            }

            outcome = writer.HasNul ? ImportOutcome.Damaged : outcome;
            if (outcome is ImportOutcome.Present or ImportOutcome.Damaged)
            {
                _log.Return(message);
                return new Arriving(outcome, outcome == ImportOutcome.Present ? id ?? head.UniqueId : null);
            }

            if (id is not null)
            {
                _uniqueIds!.Add(id);
            }

            var appended = new Arriving(_log, message, outcome, id);
            _log.Append(message);
            return appended;
        }
        catch
        {
            if (message.Owner is null)
            {
                _log.Return(message);
            }

            throw;
        }
    }

    /// <summary>Hands progress on at once, on the thread that makes it. Stateless.</summary>
    private sealed class Reports : IProgress<CompactProgress>
    {
        private readonly Action<CompactProgress> _report;

        public Reports(Action<CompactProgress> report) => _report = report;

        public void Report(CompactProgress value) => _report(value);
    }

    /// <summary>A removal between its append and its answer. Posted to the loop, or run by the appender.</summary>
    private sealed class Purging : ILoopWork
    {
        private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly PendingExpunge _expunge;

        public Purging(ulong mailboxId, ulong[] uids) =>
            _expunge = new PendingExpunge(mailboxId, uids, ExpungeReason.Operator) { Owner = this };

        public void Run() => _ended.SetResult();

        public async Task AppendAsync(MailLog log)
        {
            log.Append(_expunge);
            await _ended.Task;
            if (_expunge.Outcome != AppendOutcome.Durable)
            {
                throw new IOException(
                    _expunge.Outcome == AppendOutcome.NoSpace ? "the disk is full" : "the mail log has failed");
            }
        }
    }

    /// <summary>
    /// A message between its append and its answer. Posted to the loop, or run by the appender, when it is durable.
    /// </summary>
    private sealed class Arriving : ILoopWork
    {
        private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly MailLog? _log;
        private readonly PendingMessage? _message;
        private readonly ImportOutcome _outcome;
        private readonly string? _uniqueId;

        public Arriving(ImportOutcome outcome, string? uniqueId)
        {
            _outcome = outcome;
            _uniqueId = uniqueId;
            _ended.SetResult();
        }

        public Arriving(MailLog log, PendingMessage message, ImportOutcome outcome, string? uniqueId)
        {
            _log = log;
            _message = message;
            _outcome = outcome;
            _uniqueId = uniqueId;
            message.Owner = this;
        }

        public void Run() => _ended.SetResult();

        public async Task<ImportResult> EndAsync()
        {
            await _ended.Task;
            if (_message is null)
            {
                return new ImportResult(_outcome, _uniqueId);
            }

            AppendOutcome appended = _message.Outcome;
            bool isLost = _uniqueId is null || _message.HasLostUniqueId;
            string own = string.Create(CultureInfo.InvariantCulture, $"{_log!.UidValidity:x}.{_message.FirstUid}");
            _log.Return(_message);
            return appended switch
            {
                AppendOutcome.Durable when isLost && _uniqueId is not null => new ImportResult(ImportOutcome.Renamed, own),
                AppendOutcome.Durable => new ImportResult(_outcome, _uniqueId ?? own),
                AppendOutcome.NoSpace => new ImportResult(ImportOutcome.NoSpace, null),
                _ => new ImportResult(ImportOutcome.Failed, null),
            };
        }
    }
}
