namespace FastMail.Server.Receive;

/// <summary>
/// What all receiving sessions share on the loop thread: the octets of content that are in memory and the numbering of
/// transactions. Loop thread only.
/// </summary>
internal sealed class Intake
{
    private const string Base32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"; // Crockford's: no I, L, O, U to misread
    private const int IdLength = 13;
    private const int SmallMessage = 64 * 1024; // octets

    private readonly TimeProvider _clock;
    private readonly long _limitBytes;
    private long _heldBytes;
    private long _lastId;

    /// <param name="clock">For transaction ids.</param>
    /// <param name="limitBytes">Content held in memory at once, octets; above it MAIL, DATA and content are answered 452 4.3.1.</param>
    public Intake(TimeProvider clock, long limitBytes)
    {
        _clock = clock;
        _limitBytes = limitBytes;
    }

    /// <summary>No room for one more message of this size, octets.</summary>
    public bool IsFull(long declaredSize) => _heldBytes + declaredSize > _limitBytes;

    /// <summary>No room for much more than what is there: content that begins now would soon be crowded out.</summary>
    public bool IsNearlyFull => IsFull(Math.Min(SmallMessage, _limitBytes / 8));

    /// <summary>Of the memory for content, the part that is held.</summary>
    public double Share => (double)_heldBytes / _limitBytes;

    public void Hold(long bytes) => _heldBytes += bytes;

    public void Release(long bytes) => _heldBytes -= bytes;

    /// <summary>
    /// A number that no other transaction of this store has: microseconds since 1970, pushed forward when the clock
    /// stands still or goes back within a run. Any thread.
    /// </summary>
    public long NextTransactionId()
    {
        while (true)
        {
            long last = Volatile.Read(ref _lastId);
            long next = Math.Max(last + 1, Micros(_clock.GetUtcNow()));
            if (Interlocked.CompareExchange(ref _lastId, next, last) == last)
            {
                return next;
            }
        }
    }

    /// <summary>Microseconds since 1970 UTC.</summary>
    public static long Micros(DateTimeOffset time) =>
        (time - DateTimeOffset.UnixEpoch).Ticks / TimeSpan.TicksPerMicrosecond;

    /// <summary>Writes an id as 13 characters that sort like the number; returns the length.</summary>
    public static int WriteId(long id, Span<byte> destination)
    {
        for (int i = IdLength - 1; i >= 0; i--)
        {
            destination[i] = (byte)Base32[(int)(id & 31)];
            id >>= 5;
        }

        return IdLength;
    }
}
