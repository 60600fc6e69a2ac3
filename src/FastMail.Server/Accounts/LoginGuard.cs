using System.Net;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using FastMail.Server.Defence;

namespace FastMail.Server.Accounts;

/// <summary>
/// Slows down those who guess passwords. Failures fill leaky buckets: one for each client (an IPv6 /64 is one), each
/// account, each pair of them, and one for all. A client that has failed waits while one of its buckets is full; a
/// client without a failure is always heard, so that nobody can lock an account from afar. Bounded: the table forgets
/// the least guilty first. Loop thread only; allocates nothing after it is made.
/// </summary>
internal sealed class LoginGuard
{
    private const int Ways = 8;

    private readonly LoginLimits _limits;
    private readonly TimeProvider _clock;
    private readonly Bucket[] _buckets;
    private readonly int _setMask;
    private readonly byte[] _secret = RandomNumberGenerator.GetBytes(16); // nobody can aim at another's bucket
    private Bucket _all;

    public LoginGuard(LoginLimits limits, TimeProvider clock)
    {
        _limits = limits;
        _clock = clock;
        int sets = (int)System.Numerics.BitOperations.RoundUpToPowerOf2((uint)Math.Max(1, limits.Tracked / Ways));
        _setMask = sets - 1;
        _buckets = new Bucket[sets * Ways];
        _all.Capacity = limits.Total;
    }

    private enum Kind : byte
    {
        Client,
        Account,
        Pair,
    }

    /// <summary>False when this client has to wait before its next guess is looked at.</summary>
    /// <param name="client">Whence it comes.</param>
    /// <param name="account">Which account it wants, in lower case, whether it exists or not.</param>
    public bool Admits(IPAddress client, ReadOnlySpan<byte> account)
    {
        double failures = Level(Key(Kind.Client, client, default));
        return failures == 0 // it has not failed lately: whatever others do, it is heard
            || (failures <= _limits.PerClient - 1 // there must be room for one whole failure more
                && Level(Key(Kind.Pair, client, account)) <= _limits.PerPair - 1
                && Level(Key(Kind.Account, null, account)) <= _limits.PerAccount - 1
                && Drain(ref _all) <= _limits.Total - 1);
    }

    /// <summary>Notes a failure; returns how long its answer is to be held back.</summary>
    public TimeSpan Failed(IPAddress client, ReadOnlySpan<byte> account)
    {
        double failures = Fill(Key(Kind.Client, client, default), _limits.PerClient);
        Fill(Key(Kind.Pair, client, account), _limits.PerPair);
        Fill(Key(Kind.Account, null, account), _limits.PerAccount);
        Drain(ref _all);
        _all.Level++;
        return DelayAfter(failures);
    }

    /// <summary>How long an attempt is held back that is not looked at.</summary>
    public TimeSpan Delay(IPAddress client) => DelayAfter(Level(Key(Kind.Client, client, default)));

    /// <summary>The owner is in: what the pair had failed before is forgiven.</summary>
    public void Succeeded(IPAddress client, ReadOnlySpan<byte> account)
    {
        ulong key = Key(Kind.Pair, client, account);
        foreach (ref Bucket bucket in SetOf(key))
        {
            if (bucket.Key == key)
            {
                bucket.Level = 0;
            }
        }
    }

    private TimeSpan DelayAfter(double failures) =>
        _limits.Delay * Math.Clamp(Math.Ceiling(failures), 1, _limits.LongestDelays);

    private double Level(ulong key)
    {
        foreach (ref Bucket bucket in SetOf(key))
        {
            if (bucket.Key == key)
            {
                return Drain(ref bucket);
            }
        }

        return 0;
    }

    private double Fill(ulong key, int capacity)
    {
        ref Bucket emptiest = ref SetOf(key)[0];
        foreach (ref Bucket bucket in SetOf(key))
        {
            double level = Drain(ref bucket);
            if (bucket.Key == key)
            {
                return ++bucket.Level;
            }

            if (level < emptiest.Level)
            {
                emptiest = ref bucket;
            }
        }

        emptiest = new Bucket { Key = key, Level = 1, Capacity = capacity, At = _clock.GetTimestamp() };
        return 1;
    }

    /// <summary>A full bucket is empty again after the window.</summary>
    private double Drain(ref Bucket bucket)
    {
        long now = _clock.GetTimestamp();
        double passed = _clock.GetElapsedTime(bucket.At, now) / _limits.Window;
        bucket.Level = Math.Max(0, bucket.Level - (passed * bucket.Capacity));
        bucket.At = now;
        return bucket.Level;
    }

    private Span<Bucket> SetOf(ulong key) => _buckets.AsSpan((int)(key & (uint)_setMask) * Ways, Ways);

    private ulong Key(Kind kind, IPAddress? client, ReadOnlySpan<byte> account)
    {
        Span<byte> text = stackalloc byte[1 + 16 + 16 + 256];
        text[0] = (byte)kind;
        ClientNetwork network = client is null ? default : ClientNetwork.Of(client);
        MemoryMarshal.Write(text[1..], network.High);
        MemoryMarshal.Write(text[9..], network.Low);
        _secret.CopyTo(text[17..]);
        ReadOnlySpan<byte> name = account[..Math.Min(account.Length, 256)];
        name.CopyTo(text[33..]);
        Span<byte> digest = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(text[..(33 + name.Length)], digest);
        return MemoryMarshal.Read<ulong>(digest) | 1; // 0 is an unused bucket
    }

    private struct Bucket
    {
        public ulong Key;
        public double Level;
        public int Capacity;
        public long At;
    }
}
