namespace FastMail.Storage;

/// <summary>
/// The parts of an open log and the order in which they start and end. Owned by the <see cref="MailLog"/>; opened and
/// disposed by its caller's thread.
/// </summary>
internal sealed class LogParts : IDisposable
{
    private readonly DataDirectory _place;

    private LogParts(
        DataDirectory place, SegmentList segments, MaildropTable maildrops, SpareMaker spares, GroupWriter writer,
        Appender appender, BodyReader bodyReader, ChunkPool chunks, BodyWriter bodies, SegmentHolds holds,
        Checkpointer? checkpoints, Reclaimer reclaimer, Scrubber scrubber)
    {
        Holds = holds;
        _place = place;
        BodyReader = bodyReader;
        Chunks = chunks;
        Bodies = bodies;
        Segments = segments;
        Maildrops = maildrops;
        Spares = spares;
        Writer = writer;
        Appender = appender;
        Checkpoints = checkpoints;
        Reclaimer = reclaimer;
        Scrubber = scrubber;
    }

    public SegmentList Segments { get; }

    public MaildropTable Maildrops { get; }

    public SpareMaker Spares { get; }

    public GroupWriter Writer { get; }

    public Appender Appender { get; }

    public SegmentHolds Holds { get; }

    public BodyReader BodyReader { get; }

    public ChunkPool Chunks { get; }

    public BodyWriter Bodies { get; }

    public Reclaimer Reclaimer { get; }

    public Scrubber Scrubber { get; }

    /// <summary>Null when none are taken.</summary>
    public Checkpointer? Checkpoints { get; }

    public static LogParts Open(
        DataDirectory place, SegmentList segments, MailLogOptions options, TimeProvider clock, Random random,
        IMailLogObserver observer)
    {
        StoreFormat? found = StoreFormat.Read(place.Disk, place.Path);
        StoreFormat format = found ?? place.MakeStore(options, clock, random);
        MaildropTable maildrops = new(format.UidValidity, segments);
        List<string> names = place.ListLog();
        CheckpointFiles checkpointFiles = new(place.Disk, place.Path, format.StoreId);
        FoundCheckpoint foundCheckpoint = checkpointFiles.Find(
            SegmentOpening.FirstLsnOf(place.Disk, place.LogPath, names), observer.Noticed);
        if (foundCheckpoint.Checkpoint is { } checkpoint)
        {
            maildrops.Load(checkpoint);
        }

        BodyFiles bodyFiles = new(place.Disk, place.Path, clock);
        bodyFiles.MakeDirectory();
        Recovery recovery = new(place, format, maildrops, segments, observer.Noticed, foundCheckpoint);
        LogEnd end = recovery.Run(names);
        place.RemoveTemporaries();
        bodyFiles.RemoveTemporaries();
        place.SyncNames(observer.Noticed);
        if (foundCheckpoint.Checkpoint is { } used)
        {
            Errno.Check(checkpointFiles.Sync(used.Manifest), "flush", place.Path);
        }

        place.WriteOwner();
        maildrops.Bodies.HasLostRecords |= recovery.HasLostRecords;
        BodySweep.Run(bodyFiles, maildrops.Bodies, observer.Noticed);

        SegmentFiles files = new(place.Disk, place.LogPath, format.StoreId, clock, random);
        SpareMaker spares = new(files, options, observer);
        GroupWriter writer = new(segments, maildrops, files, spares, clock);
        writer.StartAt(end);

        // A GROUP record opens every run, durable before anything else is written. It proves the rewritten tail, and
        // it makes sure that a clean end stands last in the log only if nothing was written after it.
        Errno.Check(writer.Prove(isClean: false), "write", end.Segment!.Path);
        spares.Appended = () => writer.BytesWritten;
        spares.Start(end.Segment.Length);
        foreach (Segment segment in segments.All)
        {
            int errno = segment.Depopulate();
            if (errno != 0)
            {
                observer.Noticed($"{segment.Path} goes on counting as memory: {Errno.Text(errno)}");
            }
        }

        Checkpointer? checkpoints = options.TakesCheckpoints
            ? new(maildrops, checkpointFiles, format.StoreId, foundCheckpoint.Checkpoint, options, clock, observer)
            : null;
        Appender appender = new(writer, checkpoints, observer, options.GroupBytes, clock);
        ChunkPool chunks = new((int)(options.PooledContentBytes / ChunkPool.ChunkBytes));
        FormatUse use = new(place, format);
        SegmentHolds holds = new();
        BodyWriter bodies = new(bodyFiles, chunks, appender, use.DeclareExternalBodies, holds, observer, options);
        writer.RemoveBodies = bodies.Remove;
        Restoration restoration = new(place, observer.Noticed);
        try
        {
            if (restoration.IsDue())
            {
                restoration.Run(writer);
            }
        }
        catch
        {
            spares.Dispose();
            throw;
        }

        appender.Start();
        bodies.Start();
        BodyReader bodyReader = new(bodyFiles, maildrops, options);
        bodyReader.Start();
        maildrops.CaptureExtra = new ReclaimExtra(segments, maildrops).Capture;
        checkpoints?.Start(appender.Append);
        // A source of chance of its own: the appender uses the other.
        ReclaimScene scene = new(
            place, format.StoreId, segments, maildrops, appender, holds, clock, new Random(random.Next()),
            observer.Noticed);
        Reclaimer reclaimer = new(scene, options, files, spares, checkpoints);
        reclaimer.Start();
        int anySegment = options.ScrubBytesPerSecond > 0 ? random.Next() : 0;
        Scrubber scrubber = new(
            place.Disk, appender, segments, maildrops, bodyFiles, options, clock, anySegment, observer.Noticed);
        scrubber.Start();
        return new LogParts(
            place, segments, maildrops, spares, writer, appender, bodyReader, chunks, bodies, holds, checkpoints,
            reclaimer, scrubber);
    }

    /// <summary>
    /// Appends a removal, which must say in which cold segments its messages lie. Under the lock, so that a compaction
    /// that begins can tell: what was appended before does not know of it, what comes later does.
    /// </summary>
    public void AppendExpunge(PendingExpunge expunge)
    {
        MaildropSnapshot? snapshot = null;
        int moves = -1;
        while (true)
        {
            lock (Maildrops.Gate)
            {
                bool isPlain = Maildrops.Moving is null && Segments.Cold.IsEmpty;
                if (isPlain || moves == Maildrops.Moves)
                {
                    expunge.AimAt(isPlain ? default : Maildrops.Aim(snapshot, expunge.Ranges));
                    Appender.Append(expunge);
                    return;
                }

                moves = Maildrops.Moves;
            }

            try
            {
                snapshot = Maildrops.Snapshot(expunge.MailboxId);
            }
            catch (IOException)
            {
                snapshot = null; // then it is kept as long as any cold segment of today
            }
        }
    }

    public void Dispose()
    {
        Scrubber.Dispose();
        Reclaimer.Dispose(); // first: it waits for the appender and for checkpoints
        BodyReader.Dispose();
        Bodies.Dispose(); // before the appender: it hands what it finishes to the appender
        Checkpoints?.Dispose(); // before the appender: its last record goes through it
        Appender.Dispose(); // before the spare maker, for which it may be waiting
        Spares.Dispose();
        Maildrops.Dispose();
        Segments.Dispose();
        _place.Dispose(); // last: the lock covers all the rest
    }
}

/// <summary>
/// Says in FORMAT what the store has come to use, before it does. Owned by the <see cref="BodyWriter"/> and used by its
/// thread.
/// </summary>
internal sealed class FormatUse(DataDirectory place, StoreFormat format)
{
    private StoreFormat _format = format;

    /// <summary>An errno; 0 once FORMAT says so durably.</summary>
    public int DeclareExternalBodies()
    {
        if (_format.HasExternalBodies)
        {
            return 0;
        }

        int errno = _format.WithExternalBodies.TryWrite(place.Disk, place.Path);
        _format = errno == 0 ? _format.WithExternalBodies : _format;
        return errno;
    }
}
