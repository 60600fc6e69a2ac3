using System.Collections.Concurrent;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Accounts;

/// <summary>
/// The account directory of a running server, kept up with the store by a thread that asks SQLite every 100 ms whether
/// another process has committed (a pragma that reads one counter, about 10 us). Readable from any thread.
/// </summary>
internal sealed class LiveAccounts : IDisposable
{
    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(100);

    private readonly AccountStore _store;
    private readonly ILogger _log;
    private readonly AddressRules _rules;
    private readonly ManualResetEventSlim _stopping = new();
    private readonly Thread _thread;
    private readonly ConcurrentQueue<(Account Account, Credentials Credentials)> _renewals = new();
    private readonly ConcurrentDictionary<ulong, Account> _renewing = new(); // whose hashes are being made or stored
    // Passwords that were stored anew and are the same as before.
    private readonly ConcurrentDictionary<ulong, (string Before, string Now)> _renewed = new();
    private volatile AccountDirectory _current;

    /// <param name="store">Belongs to this object from now on.</param>
    /// <param name="log">Told of changes and of reads that fail.</param>
    /// <param name="rules">How addresses are read; the usual rules when null.</param>
    public LiveAccounts(AccountStore store, ILogger log, AddressRules? rules = null)
    {
        _store = store;
        _rules = rules ?? new AddressRules();
        _log = log;
        Decoys = new DecoyVerifiers(store.DecoySecret);
        long version = store.DataVersion;
        _current = _store.ReadDirectory(_rules);
        try
        {
            NoteSeen();
        }
        catch (SqliteException e)
        {
            // A full disk: nobody waits to hear of changes from before the start.
            _log.LogWarning("accounts cannot be written: {Reason}", e.Message);
        }

        _thread = new Thread(() => Follow(version)) { IsBackground = true, Name = "accounts" };
        _thread.Start();
    }

    public AccountDirectory Current => _current;

    /// <summary>How addresses are read.</summary>
    public AddressRules Rules => _rules;

    /// <summary>What SCRAM is told of names that are not here.</summary>
    public DecoyVerifiers Decoys { get; }

    /// <summary>Raised on the following thread after <see cref="Current"/> has changed.</summary>
    public event Action? Changed;

    /// <summary>
    /// A login of then counts now: the account is still there and has the same password. Allocates only after a change
    /// of the account.
    /// </summary>
    /// <param name="login">The account as it was when it logged in.</param>
    public bool Holds(Account login)
    {
        Account? now = _current.Find(login.MailboxId, login.Address);
        if (now is null || ReferenceEquals(now, login))
        {
            return now is not null;
        }

        (string before, string after) = (login.Password.ToString(), now.Password.ToString());
        return before == after
            || (_renewed.TryGetValue(login.MailboxId, out (string Before, string Now) renewed)
                && renewed == (before, after));
    }

    /// <summary>True for one caller at a time, who then makes new hashes of a password that has matched.</summary>
    public bool TryClaimRenewal(Account account) =>
        ReferenceEquals(_current.Find(account.MailboxId, account.Address), account)
        && _renewing.TryAdd(account.MailboxId, account);

    /// <summary>Has the following thread store them.</summary>
    public void Renew(Account account, Credentials credentials) => _renewals.Enqueue((account, credentials));

    public void Dispose()
    {
        _stopping.Set();
        _thread.Join();
        _store.Dispose();
        _stopping.Dispose();
    }

    private void Follow(long version)
    {
        while (!_stopping.Wait(PollInterval))
        {
            try
            {
                long now = _store.DataVersion;
                if (StoreRenewals() | now != version)
                {
                    Follow();
                    version = now;
                    _log.LogInformation("accounts changed: {Count} of them", _current.Count);
                    Changed?.Invoke();
                }
            }
            catch (Exception e) when (e is SqliteException or FormatException)
            {
                // The directory in use stays; the next turn tries again.
                _log.LogError("accounts cannot be read, those known stay in force: {Reason}", e.Message);
            }
        }
    }

    private bool StoreRenewals()
    {
        bool isAnyStored = false;
        while (_renewals.TryDequeue(out (Account Account, Credentials Credentials) renewal))
        {
            _renewing.TryRemove(renewal.Account.MailboxId, out _);
            if (_store.TryRenew(renewal.Account, renewal.Credentials))
            {
                isAnyStored = true;
                _renewed[renewal.Account.MailboxId] =
                    (renewal.Account.Password.ToString(), renewal.Credentials.Password.ToString());
            }
        }

        return isAnyStored;
    }

    /// <summary>Reads what has changed, or everything when that cannot be told.</summary>
    private void Follow()
    {
        AccountDirectory? next = null;
        if (_store.ReadChanges(_current.Generation) is { } news)
        {
            next = _current.With(news);
        }

        _current = next ?? _store.ReadDirectory(_rules);
        NoteSeen();
    }

    /// <summary>Tells the command line that its change is in force.</summary>
    private void NoteSeen()
    {
        if (_store.SeenGeneration != _current.Generation)
        {
            _store.SeenGeneration = _current.Generation;
        }
    }
}
