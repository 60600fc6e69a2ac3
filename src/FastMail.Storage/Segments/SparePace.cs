namespace FastMail.Storage;

/// <summary>
/// Says when the maker of spares may write: while one is ready and nobody waits, not beside an appender that is busy on
/// the same disk. Owned by the <see cref="SpareMaker"/>, which rests on its own thread; the flags are set by any.
/// </summary>
internal sealed class SparePace : IDisposable
{
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(5);
    private const long BusyBytes = 32 * 1024; // appended in a step: 6 MiB/s, far below what a disk has to give

    private readonly ManualResetEvent _stopped = new(false);
    private volatile bool _isAwaited;
    private volatile bool _hasSpare;

    /// <summary>Octets that the appender has written so far.</summary>
    public Func<long> Appended { get; set; } = static () => 0;

    /// <summary>The appender waits for a file.</summary>
    public bool IsAwaited
    {
        set => _isAwaited = value;
    }

    /// <summary>One is ready.</summary>
    public bool HasSpare
    {
        set => _hasSpare = value;
    }

    /// <summary>Every moment counts.</summary>
    public bool IsUrgent => _isAwaited || !_hasSpare;

    /// <summary>Returns once the appender has little to do, or it has become urgent.</summary>
    public void Rest()
    {
        long before = Appended();
        while (!IsUrgent && !_stopped.WaitOne(Step))
        {
            long now = Appended();
            if (now - before < BusyBytes)
            {
                return;
            }

            before = now;
        }
    }

    /// <summary>Nobody rests any more.</summary>
    public void Stop()
    {
        _ = _stopped.Set();
    }

    public void Dispose()
    {
        _stopped.Dispose();
    }
}
