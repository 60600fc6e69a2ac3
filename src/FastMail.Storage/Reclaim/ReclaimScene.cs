namespace FastMail.Storage;

/// <summary>What the parts of the reclamation work with. Owned by the <see cref="Reclaimer"/>, used on its thread.</summary>
internal sealed class ReclaimScene(
    DataDirectory place, Guid storeId, SegmentList segments, MaildropTable maildrops, Appender appender,
    SegmentHolds holds, TimeProvider clock, Random random, Action<string> notice)
{
    public IDisk Disk => place.Disk;

    public string LogPath => place.LogPath;

    public SegmentList Segments => segments;

    public MaildropTable Maildrops => maildrops;

    /// <summary>Who needs the files as they are.</summary>
    public SegmentHolds Holds => holds;

    /// <summary>Microseconds since 1970 UTC.</summary>
    public long NowMicros => (clock.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond;

    /// <summary>A moment, to be held against a later one: the clock of the wall may be set.</summary>
    public long Timestamp => clock.GetTimestamp();

    public TimeSpan ElapsedSince(long timestamp)
    {
        return clock.GetElapsedTime(timestamp);
    }

    /// <summary>Shows what the disk has in a file, whatever the page cache says; gives way to mail.</summary>
    public ScrubWindow LookPastCache(IDiskFile file, long fileBytes, CancellationToken cancellation)
    {
        ScrubWindow window = new(new ScrubPace(bytesPerSecond: 0, appender));
        window.Open(file, fileBytes, cancellation);
        return window;
    }

    public void Notice(string what)
    {
        notice(what);
    }

    /// <summary>Appends a record of the log's own and waits for its outcome.</summary>
    public AppendOutcome Append(OwnAppend append)
    {
        return AppendAll([append]) ? AppendOutcome.Durable : append.Outcome;
    }

    /// <summary>Appends several and waits for all; true when all are durable.</summary>
    public bool AppendAll(IReadOnlyList<OwnAppend> appends)
    {
        foreach (OwnAppend append in appends)
        {
            try
            {
                appender.Append(append);
            }
            catch (ObjectDisposedException)
            {
                return false; // the log is being closed
            }
        }

        return appends.All(static a => a.Wait() == AppendOutcome.Durable);
    }

    public ColdIdentity Identify(ulong baseLsn, ulong firstSource)
    {
        return new ColdIdentity(storeId, baseLsn, firstSource, (uint)random.NextInt64(1L << 32), NowMicros);
    }
}

/// <summary>
/// Slows copying down to some bytes a second, so that it never stands in the way of mail. Used by one thread.
/// </summary>
internal sealed class Throttle(long bytesPerSecond)
{
    private const long StepBytes = 256 * 1024;

    private readonly long _began = TimeProvider.System.GetTimestamp();
    private long _spent;
    private long _next = StepBytes;

    /// <summary>So many bytes were copied: waits until they are due. 0 bytes a second stands for no limit.</summary>
    public void Spend(long bytes, CancellationToken cancellation)
    {
        _spent += bytes;
        if (bytesPerSecond == 0 || _spent < _next)
        {
            return;
        }

        _next = _spent + StepBytes;
        TimeSpan due = TimeSpan.FromSeconds((double)_spent / bytesPerSecond);
        TimeSpan wait = due - TimeProvider.System.GetElapsedTime(_began);
        if (wait > TimeSpan.Zero)
        {
            _ = cancellation.WaitHandle.WaitOne(wait);
            cancellation.ThrowIfCancellationRequested();
        }
    }
}
