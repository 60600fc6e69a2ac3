namespace FastMail.Storage;

/// <summary>How an append ended.</summary>
public enum AppendOutcome
{
    /// <summary>Not yet.</summary>
    Pending,

    /// <summary>Written and flushed: it may be acknowledged, now and only now.</summary>
    Durable,

    /// <summary>The disk has no room for it; the log goes on. Nothing of it was written.</summary>
    NoSpace,

    /// <summary>
    /// Its body file could not be written, and is gone. Nothing of it is in the log, which goes on.
    /// </summary>
    BodyFailed,

    /// <summary>
    /// It was given up (<see cref="MailLog.GiveUp"/>): never written, or taken out again by an EXPUNGE that follows it.
    /// </summary>
    Withdrawn,

    /// <summary>
    /// A write or flush failed, for this or before it. This log will never acknowledge anything again.
    /// </summary>
    Failed,
}

/// <summary>
/// A record on its way into the log. Built by one producer thread, owned by the log from <see cref="MailLog.Append"/>
/// until <see cref="IMailLogObserver.GroupCompleted"/>, then by the observer.
/// </summary>
public abstract class PendingAppend
{
    private int _claim;

    private protected PendingAppend()
    {
    }

    /// <summary>Where it stands between its producer, who may give it up, and the appender, who writes it.</summary>
    private enum Claim
    {
        Waiting,
        InGroup,
        Withdrawn,
        Unwanted,
        Settled,
    }

    /// <summary>
    /// The chain it is in: the log's queue first, then the completed group; then free for the observer.
    /// </summary>
    public PendingAppend? Next { get; set; }

    /// <summary>Set by the log before the group is handed over.</summary>
    public AppendOutcome Outcome { get; internal set; }

    /// <summary>Whoever waits for it; the log does not look at it.</summary>
    public object? Owner { get; set; }

    /// <summary>Address of the record once it is durable.</summary>
    public ulong Lsn { get; private protected set; }

    /// <summary>Number of the record once it is durable.</summary>
    public ulong Seq { get; private protected set; }

    /// <summary>Length of the whole record; a multiple of 32.</summary>
    public abstract long Bytes { get; }

    /// <summary>Nobody waits for it: it need not begin a group of its own while mail comes in.</summary>
    internal virtual bool IsPatient => false;

    /// <summary>Given up before the appender took it: it must not be written.</summary>
    internal bool IsWithdrawn => Volatile.Read(ref _claim) == (int)Claim.Withdrawn;

    /// <summary>Producer: false when its outcome has been settled already.</summary>
    internal bool TryGiveUp()
    {
        return TryMove(Claim.Waiting, Claim.Withdrawn) || TryMove(Claim.InGroup, Claim.Unwanted);
    }

    /// <summary>Appender: false when it was withdrawn.</summary>
    internal bool TryTake()
    {
        return TryMove(Claim.Waiting, Claim.InGroup);
    }

    /// <summary>Appender: from here on it cannot be given up. True when it was, while its group was under way.</summary>
    internal bool Settle()
    {
        return Interlocked.Exchange(ref _claim, (int)Claim.Settled) == (int)Claim.Unwanted;
    }

    /// <summary>It is used anew.</summary>
    private protected void ResetClaim()
    {
        Volatile.Write(ref _claim, (int)Claim.Waiting);
    }

    private bool TryMove(Claim from, Claim to)
    {
        return Interlocked.CompareExchange(ref _claim, (int)to, (int)from) == (int)from;
    }

    /// <summary>It is built completely and not yet handed to a log.</summary>
    internal abstract bool IsReady { get; }

    /// <summary>The log itself waits for it: it is told by <see cref="Ended"/>, and the observer is not.</summary>
    internal virtual bool IsOwn => false;

    /// <summary>It takes a message out again that was given up too late.</summary>
    internal virtual bool IsUnwinding => false;

    /// <summary>Whoever waits for it may stop waiting.</summary>
    internal virtual bool MayBeGivenUp => true;

    /// <summary>It may be written into the last bytes of a full disk, because it leads to space or ends work.</summary>
    internal abstract bool MayUseReserve { get; }

    /// <summary>
    /// What must be read before it can be applied; called by the appender right before <see cref="Stamp"/>. Answers an
    /// errno.
    /// </summary>
    internal virtual int Prepare(MaildropTable maildrops)
    {
        return 0;
    }

    /// <summary>Ownership passes to the log.</summary>
    internal abstract void Enqueued();

    /// <summary>It must be the first of a segment.</summary>
    internal virtual bool EndsSegment => false;

    /// <summary>It has its outcome; on the appender's thread.</summary>
    internal virtual void Ended()
    {
    }

    /// <summary>
    /// Fills in everything that only the appender knows, header CRC last; adds the memory to be written.
    /// </summary>
    internal abstract RecordHeader Stamp(in RecordStamp stamp, MaildropTable maildrops, VectorList vectors);

    /// <summary>Enters the durable record into the index; the caller holds the table's lock.</summary>
    internal abstract void Apply(MaildropTable maildrops);
}

/// <summary>What the appender gives each record. A value.</summary>
internal readonly record struct RecordStamp(ulong Lsn, ulong Seq, long TimestampMicros, uint Salt);
