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
        Appender appender)
    {
        _place = place;
        Segments = segments;
        Maildrops = maildrops;
        Spares = spares;
        Writer = writer;
        Appender = appender;
    }

    public SegmentList Segments { get; }

    public MaildropTable Maildrops { get; }

    public SpareMaker Spares { get; }

    public GroupWriter Writer { get; }

    public Appender Appender { get; }

    public SegmentHolds Holds { get; } = new();

    public static LogParts Open(
        DataDirectory place, SegmentList segments, MailLogOptions options, TimeProvider clock, Random random,
        IMailLogObserver observer)
    {
        StoreFormat? found = StoreFormat.Read(place.Disk, place.Path);
        StoreFormat format = found ?? place.MakeStore(options, clock, random);
        MaildropTable maildrops = new(format.UidValidity);
        List<string> names = place.ListLog();
        LogEnd end = new Recovery(place, format, maildrops, segments, observer.Noticed).Run(names);
        place.RemoveTemporaries();
        place.SyncNames(observer.Noticed);
        place.WriteOwner();

        SegmentFiles files = new(place.Disk, place.LogPath, format.StoreId, clock, random);
        SpareMaker spares = new(files, observer);
        GroupWriter writer = new(segments, maildrops, files, spares, options, clock);
        writer.StartAt(end);

        // A GROUP record opens every run, durable before anything else is written. It proves the rewritten tail, and
        // it makes sure that a clean end stands last in the log only if nothing was written after it.
        Errno.Check(writer.Prove(isClean: false), "write", end.Segment!.Path);
        spares.Start(files.FindSpare(), options.SpareBytesAfter(end.Segment.Length));
        Appender appender = new(writer, observer, options.GroupBytes);
        appender.Start();
        return new LogParts(place, segments, maildrops, spares, writer, appender);
    }

    public void Dispose()
    {
        Appender.Dispose(); // first: it may be waiting for the spare maker
        Spares.Dispose();
        Segments.Dispose();
        _place.Dispose(); // last: the lock covers all the rest
    }
}
