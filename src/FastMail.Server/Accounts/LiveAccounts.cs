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
    private readonly ManualResetEventSlim _stopping = new();
    private readonly Thread _thread;
    private volatile AccountDirectory _current;

    /// <param name="store">Belongs to this object from now on.</param>
    /// <param name="log">Told of changes and of reads that fail.</param>
    public LiveAccounts(AccountStore store, ILogger log)
    {
        _store = store;
        _log = log;
        long version = store.DataVersion;
        _current = Load();
        _thread = new Thread(() => Follow(version)) { IsBackground = true, Name = "accounts" };
        _thread.Start();
    }

    public AccountDirectory Current => _current;

    /// <summary>Raised on the following thread after <see cref="Current"/> has changed.</summary>
    public event Action? Changed;

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
                if (now != version)
                {
                    _current = Load();
                    version = now;
                    _log.LogInformation("accounts read again: {Count}", _current.Count);
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

    private AccountDirectory Load()
    {
        (long generation, List<Account> accounts) = _store.Read();
        var directory = new AccountDirectory(generation, accounts);
        if (_store.SeenGeneration != generation)
        {
            _store.SeenGeneration = generation;
        }

        return directory;
    }
}
