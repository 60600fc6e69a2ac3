namespace FastMail.Storage;

/// <summary>
/// Brings space back, on its own thread: removes segments in which nothing is live, punches out large dead bodies, and
/// copies what is live out of segments that are mostly dead. Owned by the <see cref="MailLog"/>. It never holds up the
/// appender: it appends like everybody else, and takes the lock of the maildrops for moments only.
/// </summary>
internal sealed class Reclaimer : IDisposable
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(10); // for what grows old; the rest rings

    private static readonly TimeSpan UrgentInterval = TimeSpan.FromMilliseconds(500); // while mail is refused

    private static readonly TimeSpan RetryInterval = TimeSpan.FromHours(1); // for what could not be read

    // What a copy has besides the records: header page, GROUP, SEAL, the rest of the last page; and its name.
    private const long CopyOverhead = 8 * SegmentHeader.Bytes;

    private readonly ReclaimScene _scene;
    private readonly MailLogOptions _options;
    private readonly SpareMaker _spares;
    private readonly Checkpointer? _checkpoints;
    private readonly Retirement _retirement;
    private readonly HolePunch _holes;
    private readonly AutoResetEvent _bell = new(initialState: false);
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _gate = new();
    private readonly Queue<Request> _requests = new();
    private readonly Thread _thread;
    private long _triedAt; // all segments, also those that could not be read before
    private bool _isClosed;
    private bool _isGone; // the bell is

    /// <param name="scene">What it works with.</param>
    /// <param name="options">When and how fast.</param>
    /// <param name="files">Makes spares of segments that were retired.</param>
    /// <param name="spares">Told when space has come back; gets those spares.</param>
    /// <param name="checkpoints">Where recovery may begin; null when it always reads all of the log.</param>
    public Reclaimer(
        ReclaimScene scene, MailLogOptions options, SegmentFiles files, SpareMaker spares, Checkpointer? checkpoints)
    {
        _scene = scene;
        _options = options;
        _spares = spares;
        _checkpoints = checkpoints;
        _retirement = new Retirement(scene, options.ReusesSegments ? new SegmentReuse(scene, files, spares) : null);
        _holes = new HolePunch(scene);
        _thread = new Thread(Run) { Name = "fastmail reclaimer", IsBackground = true };
    }

    public void Start()
    {
        if (_options.ReclaimsByItself)
        {
            _scene.Maildrops.Liveness.Died = Ring;
            _spares.BecameLow = Ring;
            _checkpoints?.Advanced = Ring; // what died before may go now
        }

        _thread.Start();
    }

    /// <summary>There may be something to do. Any thread.</summary>
    public void Ring()
    {
        lock (_gate) // the maker of spare segments may ring until the very end
        {
            if (!_isGone)
            {
                _ = _bell.Set();
            }
        }
    }

    /// <summary>Has the thread compact, and answers when it has.</summary>
    public Task<CompactProgress> CompactAsync(
        CompactOptions options, IProgress<CompactProgress>? progress, CancellationToken cancellation)
    {
        Request request = new(options, progress, cancellation);
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_isClosed, typeof(MailLog));
            _requests.Enqueue(request);
        }

        Ring();
        return request.Task;
    }

    /// <summary>Ends what is under way, then the thread. The appender still runs.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isClosed = true;
        }

        lock (_scene.Maildrops.Gate)
        {
            _scene.Maildrops.Liveness.Died = null;
        }

        _stop.Cancel();
        Ring();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        while (_requests.TryDequeue(out Request? request))
        {
            request.Cancel();
        }

        _stop.Dispose();
        lock (_gate)
        {
            _isGone = true;
            _bell.Dispose();
        }
    }

    private void Run()
    {
        while (!_stop.IsCancellationRequested)
        {
            TimeSpan interval = _spares.IsSpaceLow ? UrgentInterval : Interval;
            _ = _bell.WaitOne(_options.ReclaimsByItself ? interval : Timeout.InfiniteTimeSpan);
            Request? request;
            while (!_stop.IsCancellationRequested && (request = NextRequest()) is not null)
            {
                Serve(request);
            }

            if (_options.ReclaimsByItself && !_stop.IsCancellationRequested)
            {
                ReclaimByItself();
            }
        }
    }

    private Request? NextRequest()
    {
        lock (_gate)
        {
            return _requests.TryDequeue(out Request? request) ? request : null;
        }
    }

    private void Serve(Request request)
    {
        using CancellationTokenSource either =
            CancellationTokenSource.CreateLinkedTokenSource(_stop.Token, request.Cancellation);
        try
        {
            request.Complete(Reclaim(request.Options, long.MaxValue, request.Progress, isAsked: true, either.Token));
        }
        catch (OperationCanceledException)
        {
            request.Cancel();
        }
        catch (IOException e)
        {
            request.Fail(e);
        }
    }

    private void ReclaimByItself()
    {
        // With the disk full nobody waits for mail to grow old.
        bool isUrgent = _spares.IsSpaceLow;
        CompactOptions options = new()
        {
            DeadRatio = _options.CompactDeadRatio,
            BytesPerSecond = isUrgent ? 0 : _options.CompactBytesPerSecond,
        };
        try
        {
            if (isUrgent && !_scene.Holds.IsHeld)
            {
                LeaveDeadSegment();
            }

            long newest = isUrgent
                ? long.MaxValue
                : _scene.NowMicros - (_options.CompactAfter.Ticks / TimeSpan.TicksPerMicrosecond);
            _ = Reclaim(options, newest, null, isAsked: false, _stop.Token);
        }
        catch (OperationCanceledException)
        {
            // The log is being closed.
        }
        catch (IOException e)
        {
            _scene.Notice($"reclaiming space: {e.Message}");
        }
    }

    /// <summary>
    /// Only full segments are removed and copied. When the disk has no room for another, and most of the current one is
    /// dead, the log goes on in the reserve, so that it can be.
    /// </summary>
    private void LeaveDeadSegment()
    {
        bool isWorthIt;
        long live;
        lock (_scene.Maildrops.Gate)
        {
            Segment current = _scene.Segments.Hot[^1];
            live = current.Life.Bytes;
            long dead = current.ReadableEnd - SegmentHeader.Bytes - live;
            isWorthIt = dead > _options.CompactDeadRatio * current.Length
                || (current.Life.Messages == 0 && current.Length >= 2 * _options.ReserveBytes);
        }

        if (isWorthIt && (live == 0 || HasRoomFor(live)))
        {
            _ = _scene.Append(new PendingMark(endsSegment: true)); // without a reserve it stays as it is
        }
    }

    private CompactProgress Reclaim(
        CompactOptions options, long newestMicros, IProgress<CompactProgress>? report, bool isAsked,
        CancellationToken cancellation)
    {
        CompactProgress progress = default;
        Throttle throttle = new(options.BytesPerSecond);
        if (isAsked || _scene.ElapsedSince(_triedAt) >= RetryInterval)
        {
            ForgetUnreadable();
        }

        if (options.IncludesCurrent)
        {
            _ = _scene.Append(new PendingMark(endsSegment: true)); // without space for another it stays as it is
        }

        do
        {
            progress = Free(progress, isAsked);
            report?.Report(progress);
        }
        while ((isAsked || !_scene.Holds.IsHeld) // a copy whose originals must stay only takes space
            && CompactOnce(options.DeadRatio, newestMicros, throttle, ref progress, cancellation));

        return progress with { IsHeld = _scene.Holds.IsHeld };
    }

    /// <summary>What the disk could not give may be readable by now.</summary>
    private void ForgetUnreadable()
    {
        _triedAt = _scene.Timestamp;
        lock (_scene.Maildrops.Gate)
        {
            foreach (Segment segment in _scene.Segments.All)
            {
                segment.Life.IsUnreadable = false;
            }
        }
    }

    /// <summary>Removes and punches what needs no copying.</summary>
    private CompactProgress Free(CompactProgress progress, bool isAsked)
    {
        ulong needed = NeededLsn(isAsked);
        long before = progress.FreedBytes + _holes.PunchedBytes;
        _retirement.Run(needed, ref progress);
        _holes.Run(needed);
        if (progress.FreedBytes + _holes.PunchedBytes > before)
        {
            _spares.SpaceFreed();
        }

        return progress;
    }

    /// <summary>
    /// Where the recovery may begin that goes back furthest. Usually at the older of two checkpoints. Who asks does not
    /// want to wait for two more: for him a new one is made, and the older is given up. With the disk full there is no
    /// room for another: everything live is found without one too, and space is worth more than a quick start.
    /// </summary>
    private ulong NeededLsn(bool isAsked)
    {
        if (_checkpoints is null || _spares.IsSpaceLow)
        {
            return ulong.MaxValue;
        }

        if (!isAsked)
        {
            return _checkpoints.OldestNeededLsn;
        }

        _checkpoints.Take();
        return _checkpoints.NewestLsn;
    }

    /// <summary>Copies one cold segment full; false when nothing is worth it.</summary>
    private bool CompactOnce(
        double deadRatio, long newestMicros, Throttle throttle, ref CompactProgress progress,
        CancellationToken cancellation)
    {
        Segment[] sources;
        long live;
        lock (_scene.Maildrops.Gate)
        {
            sources = Choice.Next(_scene.Segments, deadRatio, newestMicros, _scene.NowMicros);
            live = sources.Sum(static s => s.Life.Bytes);
        }

        if (sources.Length == 0 || _retirement.IsHalted || _retirement.HasUnused || !HasRoomFor(live))
        {
            return false;
        }

        Liveness liveness = _scene.Maildrops.Liveness;
        Compaction compaction = new(_scene, sources, liveness.NextColdLsn, throttle);
        bool isDone = false;
        try
        {
            isDone = compaction.Run(cancellation);
        }
        finally
        {
            // Never the same address twice: somebody may have noted it for a copy that was given up.
            lock (_scene.Maildrops.Gate)
            {
                liveness.NextColdLsn = compaction.Cold?.EndLsn ?? liveness.NextColdLsn + SegmentHeader.Bytes;
            }

            _retirement.IsHalted |= compaction.IsInDoubt;
            if (compaction.UnusedFile is { } unused)
            {
                _retirement.RemoveUnused(unused);
            }
        }

        progress = progress with
        {
            Messages = progress.Messages + (isDone ? compaction.Messages : 0),
            CopiedBytes = progress.CopiedBytes + compaction.CopiedBytes,
        };
        if (compaction.Obstacle is { } obstacle)
        {
            Keep(obstacle.Source, obstacle.What);
            return true; // the next choice leaves it out
        }

        return (isDone || compaction.FoundNothing) && NoteMissed(sources);
    }

    /// <summary>A live message that was not met where the index has it stands behind damage: its segment is kept.</summary>
    private bool NoteMissed(Segment[] sources)
    {
        foreach (Segment source in sources)
        {
            long missed;
            lock (_scene.Maildrops.Gate)
            {
                missed = source.Life.Messages;
            }

            if (missed > 0)
            {
                Keep(source, $"{source.Path}: {missed} messages in it could not be read to be moved");
            }
        }

        return true;
    }

    private void Keep(Segment source, string why)
    {
        lock (_scene.Maildrops.Gate)
        {
            source.Life.IsUnreadable = true;
        }

        string behind = source.IsCold ? "" : ", and every segment of the log behind it, whose space does not come back,";
        _scene.Notice(
            $"{why}; the segment{behind} is kept until these messages can be read or are removed from their maildrops; "
            + "tried again every hour and by fastmail log compact");
    }

    private bool HasRoomFor(long liveBytes)
    {
        // When space is low already, a copy is what brings it back.
        long kept = _spares.IsSpaceLow ? 0 : _options.MinFreeBytes;
        return _scene.Disk.FreeBytes(_scene.LogPath, out long free) == 0
            && free >= liveBytes + CopyOverhead + kept;
    }

    /// <summary>Somebody waits for a compaction. Completed once.</summary>
    private sealed class Request(
        CompactOptions options, IProgress<CompactProgress>? progress, CancellationToken cancellation)
    {
        private readonly TaskCompletionSource<CompactProgress> _done =
            new(TaskCreationOptions.RunContinuationsAsynchronously);

        public CompactOptions Options => options;

        public IProgress<CompactProgress>? Progress => progress;

        public CancellationToken Cancellation => cancellation;

        public Task<CompactProgress> Task => _done.Task;

        public void Complete(in CompactProgress result)
        {
            _ = _done.TrySetResult(result);
        }

        public void Cancel()
        {
            _ = _done.TrySetCanceled(cancellation);
        }

        public void Fail(Exception why)
        {
            _ = _done.TrySetException(why);
        }
    }
}
