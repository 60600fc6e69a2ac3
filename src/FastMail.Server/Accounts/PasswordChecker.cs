using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace FastMail.Server.Accounts;

/// <summary>
/// Checks passwords on half of the cores behind a bounded queue: a hash costs 140 ms, so a flood of logins must cost
/// the flooder its answer (454, -ERR [SYS/TEMP]) and not the loop its time. Successes are remembered for ten minutes
/// under a keyed hash of name and password, and no longer count once the account has changed. Any thread.
/// </summary>
internal sealed class PasswordChecker : IDisposable
{
    private const int QueueLength = 64;
    private const int CachedSuccesses = 10_000;
    private readonly TimeSpan _cacheLifetime;
    private readonly PasswordHash _decoy;
    private readonly LiveAccounts _accounts;
    private readonly TimeProvider _clock;
    private readonly byte[] _cacheSecret = RandomNumberGenerator.GetBytes(32);
    private readonly Dictionary<UInt128, Success> _cache = [];
    private readonly Lock _cacheLock = new();
    private readonly BlockingCollection<PasswordCheck> _queue = new(QueueLength);
    private readonly CancellationTokenSource _stopping = new();
    private readonly Thread[] _workers;

    /// <param name="accounts">Whose passwords they are.</param>
    /// <param name="clock">For the age of remembered successes.</param>
    /// <param name="iterations">Rounds of the hashes to be stored; others are renewed when they have matched.</param>
    /// <param name="cacheLifetime">How long a success is remembered; ten minutes when null.</param>
    public PasswordChecker(
        LiveAccounts accounts,
        TimeProvider clock,
        int iterations = PasswordHash.DefaultIterations,
        TimeSpan? cacheLifetime = null)
    {
        _accounts = accounts;
        _clock = clock;
        Iterations = iterations;
        _decoy = PasswordHash.MakeDecoy(iterations);
        _cacheLifetime = cacheLifetime ?? TimeSpan.FromMinutes(10);
        _workers = new Thread[Math.Max(1, Environment.ProcessorCount / 2)];
        for (int i = 0; i < _workers.Length; i++)
        {
            _workers[i] = new Thread(Work) { IsBackground = true, Name = $"password hash {i}" };
            _workers[i].Start();
        }
    }

    /// <summary>Rounds of a new hash.</summary>
    public int Iterations { get; }

    /// <summary>
    /// Starts a check; the spans die with the call. False when the queue is full. A remembered success completes
    /// before this returns.
    /// </summary>
    public bool TryBegin(PasswordCheck check, ReadOnlySpan<byte> loginName, ReadOnlySpan<byte> password)
    {
        password = PasswordText.Prepare(password);
        Account? claimed = _accounts.Current.Find(loginName);
        UInt128 key = claimed is null ? 0 : CacheKey(claimed, password);
        if (claimed is not null && IsRemembered(key, claimed))
        {
            check.Fill(claimed, [], key);
            check.Complete(matches: true);
            return true;
        }

        check.Fill(claimed, password, key);
        if (_queue.TryAdd(check))
        {
            return true;
        }

        check.Forget();
        return false;
    }

    /// <summary>Ends the workers; checks still queued are never answered, for nobody is left to hear them.</summary>
    public void Dispose()
    {
        _stopping.Cancel();
        foreach (Thread worker in _workers)
        {
            worker.Join();
        }

        _queue.Dispose();
        _stopping.Dispose();
    }

    private void Work()
    {
        while (TryTake(out PasswordCheck? check))
        {
            bool matches = (check.Claimed?.Password ?? _decoy).Matches(check.Password);
            if (matches && check.Claimed is { } account)
            {
                Remember(check.CacheKey, account);
                CompleteAndRenew(check, account);
            }
            else
            {
                check.Complete(matches: false);
            }
        }
    }

    /// <summary>
    /// The one moment at which the password is known: an account without a SCRAM verifier, or with hashes of another
    /// cost, gets new ones. The answer does not wait for it.
    /// </summary>
    private void CompleteAndRenew(PasswordCheck check, Account account)
    {
        bool isUpToDate = account.Password.Iterations == Iterations && account.Scram?.Iterations == Iterations;
        if (isUpToDate || !_accounts.TryClaimRenewal(account))
        {
            check.Complete(matches: true);
            return;
        }

        byte[] password = GC.AllocateUninitializedArray<byte>(check.Password.Length, pinned: true);
        check.Password.CopyTo(password); // copied: the check is its owner's again once it is complete
        check.Complete(matches: true);
        _accounts.Renew(account, Credentials.Create(password, Iterations));
        CryptographicOperations.ZeroMemory(password);
    }

    private bool TryTake([NotNullWhen(true)] out PasswordCheck? check)
    {
        try
        {
            return _queue.TryTake(out check, Timeout.Infinite, _stopping.Token);
        }
        catch (OperationCanceledException)
        {
            check = null;
            return false;
        }
    }

    private UInt128 CacheKey(Account claimed, ReadOnlySpan<byte> password)
    {
        using var hmac = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, _cacheSecret);
        ulong mailboxId = claimed.MailboxId;
        hmac.AppendData(MemoryMarshal.AsBytes(new ReadOnlySpan<ulong>(in mailboxId)));
        hmac.AppendData(password);
        Span<byte> digest = stackalloc byte[32];
        hmac.GetHashAndReset(digest);
        return MemoryMarshal.Read<UInt128>(digest);
    }

    private bool IsRemembered(UInt128 key, Account claimed)
    {
        lock (_cacheLock)
        {
            // The very same account object: one that was changed meanwhile is another object.
            return _cache.TryGetValue(key, out Success success)
                && ReferenceEquals(success.Account, claimed)
                && _clock.GetElapsedTime(success.At) < _cacheLifetime;
        }
    }

    private void Remember(UInt128 key, Account account)
    {
        lock (_cacheLock)
        {
            if (_cache.Count >= CachedSuccesses)
            {
                _cache.Clear();
            }

            _cache[key] = new Success(account, _clock.GetTimestamp());
        }
    }

    private readonly record struct Success(Account Account, long At);
}
