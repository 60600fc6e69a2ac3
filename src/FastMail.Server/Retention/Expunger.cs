using FastMail.Net;
using FastMail.Server.Accounts;
using FastMail.Server.Pop3;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Retention;

/// <summary>
/// Removes messages that have been in their maildrop for longer than it keeps them. Looks every hour, one maildrop
/// after the other, with a pause between two removals; a maildrop that a POP3 session has open waits for the next
/// round. Owned by the <see cref="MailServer"/>; has a thread of its own.
/// </summary>
internal sealed class Expunger : IDisposable
{
    private const int MostAtOnce = 10_000; // messages in one record; the rest goes with the next

    private static readonly TimeSpan Interval = TimeSpan.FromHours(1);
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly string _directory;
    private readonly MailLog _log;
    private readonly LiveAccounts _accounts;
    private readonly Allowance _defaults;
    private readonly MaildropLocks _locks;
    private readonly EventLoop _loop;
    private readonly TimeProvider _clock;
    private readonly ILogger _logger;
    private readonly ClockDoubt _doubt;
    private readonly CancellationTokenSource _stopping = new();
    private readonly Thread _thread;

    public Expunger(
        string directory, MailLog log, LiveAccounts accounts, Allowance defaults, MaildropLocks locks, EventLoop loop, TimeProvider clock,
        ILogger logger)
    {
        _directory = directory;
        _log = log;
        _accounts = accounts;
        _defaults = defaults;
        _locks = locks;
        _loop = loop;
        _clock = clock;
        _logger = logger;
        _doubt = BeginInDoubt();
        _thread = new Thread(Run) { IsBackground = true, Name = "retention" };
        _thread.Start();
    }

    /// <summary>What is due every hour: a round, unless the clock is in doubt.</summary>
    public void Look()
    {
        bool isInDoubt = _doubt.IsInDoubt(out bool isNew);
        if (isNew)
        {
            _logger.LogWarning("retention: the clock was set forward; nothing is removed for a day");
        }

        if (isInDoubt)
        {
            return;
        }

        Trust(_clock.GetUtcNow());
        if (Round() is var removed and > 0)
        {
            _logger.LogInformation("retention: {Count} messages removed", removed);
        }
    }

    /// <summary>Looks at every maildrop once; returns how many messages were removed.</summary>
    public int Round()
    {
        AccountDirectory accounts = _accounts.Current;
        int removed = 0;
        foreach (Account account in accounts.All)
        {
            int days = (accounts.AllowanceOf(account.MailboxId)?.RetentionDays ?? _defaults.RetentionDays) ?? 0;
            if (days > 0)
            {
                removed += Empty(account, _clock.GetUtcNow().AddDays(-days).ToUnixTimeSeconds());
            }
        }

        return removed;
    }

    public void Dispose()
    {
        _stopping.Cancel();
        _thread.Join();
        _stopping.Dispose();
    }

    private void Run()
    {
        try
        {
            while (!_stopping.Token.WaitHandle.WaitOne(Interval))
            {
                Look();
            }
        }
        catch (OperationCanceledException)
        {
            // Stopped in the middle of a round.
        }
    }

    private ClockDoubt BeginInDoubt()
    {
        DateTimeOffset? trusted = null;
        try
        {
            trusted = TrustedTime.Read(_directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _logger.LogWarning("retention: {What}; nothing is removed for a day", e.Message);
        }

        var doubt = new ClockDoubt(_clock, trusted);
        if (trusted is not null && doubt.IsInDoubt(out _))
        {
            _logger.LogWarning(
                "retention: the clock is more than a day beyond {Trusted:u}, when it was right; nothing is removed for a day",
                trusted);
        }

        return doubt;
    }

    private void Trust(DateTimeOffset now)
    {
        try
        {
            TrustedTime.Write(_directory, now);
        }
        catch (IOException e)
        {
            _logger.LogWarning("retention: {What}; the next start will not trust the clock for a day", e.Message);
        }
    }

    private int Empty(Account account, long beforeSeconds)
    {
        int removed = 0;
        while (true)
        {
            ulong[] uids = Expired(account, beforeSeconds);
            if (uids.Length == 0)
            {
                return removed;
            }

            using var removal = new Removal(this, account.MailboxId, uids);
            _loop.Post(removal);
            removal.Ended.Wait(_stopping.Token);
            if (!removal.IsDone)
            {
                return removed; // somebody has it open, or the log failed
            }

            removed += uids.Length;
            _stopping.Token.WaitHandle.WaitOne(Pause);
        }
    }

    /// <summary>Messages are in order of arrival, so the expired ones come first; none while they cannot be read.</summary>
    private ulong[] Expired(Account account, long beforeSeconds)
    {
        MaildropSnapshot snapshot;
        try
        {
            snapshot = _log.Snapshot(account.MailboxId);
        }
        catch (IOException e)
        {
            _logger.LogWarning(
                "retention: the maildrop of {Address} is left for the next round: {What}", account.Address, e.Message);
            return [];
        }

        int count = 0;
        while (count < Math.Min(snapshot.Count, MostAtOnce) && snapshot[count].ArrivalSeconds < beforeSeconds)
        {
            count++;
        }

        var uids = new ulong[count];
        for (int i = 0; i < count; i++)
        {
            uids[i] = snapshot[i].Uid;
        }

        return uids;
    }

    /// <summary>
    /// One removal: takes the maildrop's lock on the loop, appends, and comes to the loop again to give the lock back.
    /// </summary>
    private sealed class Removal : ILoopWork, IDisposable
    {
        private readonly Expunger _home;
        private readonly PendingExpunge _expunge;
        private MaildropLocks.Token? _lock;

        public Removal(Expunger home, ulong mailboxId, ulong[] uids)
        {
            _home = home;
            _expunge = new PendingExpunge(mailboxId, uids, ExpungeReason.Retention) { Owner = this };
        }

        public ManualResetEventSlim Ended { get; } = new();

        public bool IsDone => _expunge.Outcome == AppendOutcome.Durable;

        public void Run()
        {
            if (_lock is not null)
            {
                _lock.Release();
                Ended.Set();
                return;
            }

            _lock = _home._locks.TryAcquire(_expunge.MailboxId);
            if (_lock is null)
            {
                Ended.Set();
                return;
            }

            _home._log.Append(_expunge);
        }

        public void Dispose()
        {
            if (Ended.IsSet)
            {
                Ended.Dispose(); // otherwise the loop may still set it
            }
        }
    }
}
