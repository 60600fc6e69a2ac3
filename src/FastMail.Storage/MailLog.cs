namespace FastMail.Storage;

/// <summary>
/// The mail log of one data directory: append-only, one appender thread, read through maps. Owned by whoever opened
/// it; any thread may call any member, but <see cref="Dispose"/> comes last: what is still leased stays mapped until
/// its lease ends.
/// </summary>
public sealed class MailLog : IDisposable
{
    /// <summary>
    /// File of a backup that a data directory must not have: the first start where it lies takes the directory for
    /// restored, see <see cref="Restoration"/>, and removes it.
    /// </summary>
    public const string BackupName = "backup.json";

    private readonly LogParts _parts;
    private readonly MessagePool _messages;
    private readonly QueueChangesPool _changes = new();
    private readonly IMailLogObserver _observer;
    private bool _isDisposed;

    private MailLog(
        LogParts parts, MessagePool messages, IMailLogObserver observer, long largestRecordBytes)
    {
        LargestRecordBytes = largestRecordBytes;
        _parts = parts;
        Queue = new MailQueue(parts.Maildrops);
        _messages = messages;
        _observer = observer;
    }

    /// <summary>
    /// No segment beyond the present one can be had, or less of the disk is free than
    /// <see cref="MailLogOptions.MinFreeBytes"/>, until a third more is: MAIL answers 452 (RFC 5321 4.2.2) while this is
    /// true.
    /// </summary>
    public bool IsSpaceLow => _parts.Spares.IsSpaceLow;

    /// <summary>A write or flush failed: everything appended from now on completes as failed.</summary>
    public bool HasFailed => _parts.Appender.HasFailed;

    /// <summary>
    /// One more message with a body file of its own may begin; while this is false its end would be
    /// <see cref="AppendOutcome.NoSpace"/>.
    /// </summary>
    public bool HasRoomForBody => _parts.Bodies.HasSlot;

    /// <summary>Messages longer than this have a body file of their own.</summary>
    public long LargestRecordBytes { get; }

    /// <summary>How long the group under way has been taking: the disk's slowness; zero when there is none.</summary>
    public TimeSpan GroupAge => _parts.Appender.GroupAge;

    /// <summary>Bytes appended and not yet completed.</summary>
    public long PendingBytes => _parts.Appender.PendingBytes;

    /// <summary>The next segment is ready and the maker of segments at rest; tests script the disk only then.</summary>
    internal bool HasSpare => _parts.Spares.HasSpare && _parts.Spares.IsAtRest;

    /// <summary>Body files that messages name.</summary>
    internal int BodiesInUse
    {
        get
        {
            lock (_parts.Maildrops.Gate)
            {
                return _parts.Maildrops.Bodies.Count;
            }
        }
    }

    /// <summary>The writer of body files is at rest; tests go on only then.</summary>
    internal bool HasIdleBodies => _parts.Bodies.IsIdle;

    /// <summary>
    /// What recovery may need begins here; 0 when that is all. Segments that end below and hold nothing live may go.
    /// </summary>
    internal ulong OldestNeededLsn => _parts.Checkpoints?.OldestNeededLsn ?? 0;

    /// <summary>What waits to be relayed.</summary>
    public MailQueue Queue { get; }

    /// <summary>Counters.</summary>
    public LogStatistics Statistics => _parts.Writer.Statistics;

    /// <summary>What the scrubber has done and found.</summary>
    public ScrubStatistics ScrubStatistics => _parts.Scrubber.Statistics;

    /// <summary>
    /// Opens the log of a data directory, making it when there is none, and recovers it after a crash.
    /// </summary>
    /// <param name="directory">The data directory; its parent exists.</param>
    /// <param name="options">Sizes.</param>
    /// <param name="disk">The disk, normally <see cref="LinuxDisk"/>.</param>
    /// <param name="clock">Time of arrival.</param>
    /// <param name="random">Identity and salts; seeded from a secure source in production.</param>
    /// <param name="observer">Who learns the outcomes; notices of the recovery come before this returns.</param>
    /// <exception cref="DataDirectoryInUseException">Another process has it open.</exception>
    /// <exception cref="IncompatibleFormatException">It needs a newer program; nothing was touched.</exception>
    /// <exception cref="DamagedLogException">
    /// Acknowledged mail is damaged and cannot be stepped over; nothing was modified.
    /// </exception>
    /// <exception cref="IOException">The disk failed or is full.</exception>
    public static MailLog Open(
        string directory, MailLogOptions options, IDisk disk, TimeProvider clock, Random random,
        IMailLogObserver observer)
    {
        options.Validate();
        if (!disk.FlushReportsErrors())
        {
            throw new IOException("the flush call of this system hides its errors; mail would be promised in vain");
        }

        DataDirectory place = DataDirectory.Lock(disk, directory);
        SegmentList segments = new();
        try
        {
            LogParts parts = LogParts.Open(place, segments, options, clock, random, observer);
            MessagePool messages = new(options, parts.Chunks, parts.Bodies);
            return new MailLog(parts, messages, observer, options.InlineBytes);
        }
        catch
        {
            segments.Dispose();
            place.Dispose();
            throw;
        }
    }

    /// <summary>
    /// An empty message to be built. It goes back by <see cref="Return"/>, also when it is never appended.
    /// </summary>
    public PendingMessage RentMessage()
    {
        return _messages.Rent();
    }

    /// <summary>Takes back a rented message that is not in the log's hands.</summary>
    public void Return(PendingMessage message)
    {
        _messages.Return(message);
    }

    /// <summary>
    /// An empty record for changes of the queue. It goes back by <see cref="Return(PendingQueueChanges)"/>, also when it
    /// is never appended.
    /// </summary>
    public PendingQueueChanges RentQueueChanges()
    {
        return _changes.Rent();
    }

    /// <summary>Takes back a rented record that is not in the log's hands.</summary>
    public void Return(PendingQueueChanges changes)
    {
        _changes.Return(changes);
    }

    /// <summary>
    /// Hands a complete record to the appender, which owns it until <see cref="IMailLogObserver.GroupCompleted"/>.
    /// Never blocks on the disk.
    /// </summary>
    /// <exception cref="InvalidOperationException">It is not complete, or was appended before.</exception>
    /// <exception cref="ObjectDisposedException">The log is closed.</exception>
    public void Append(PendingAppend append)
    {
        ObjectDisposedException.ThrowIf(_isDisposed, this);
        if (append is PendingExpunge expunge)
        {
            _parts.AppendExpunge(expunge);
        }
        else if (append is not PendingMessage { IsReady: true } message || !message.TryFinishBody())
        {
            _parts.Appender.Append(append);
        }
    }

    /// <summary>
    /// Writes a checkpoint of the index now, if anything has changed, and waits until it is durable or has failed.
    /// Never from a callback of the observer.
    /// </summary>
    /// <exception cref="InvalidOperationException">This log was opened without checkpoints.</exception>
    public void TakeCheckpoint()
    {
        if (_parts.Checkpoints is not { } checkpoints)
        {
            throw new InvalidOperationException("this log takes no checkpoints");
        }

        checkpoints.Take();
    }

    /// <summary>Looks at everything once, on the caller's thread; what is damaged is told to the observer.</summary>
    internal void Scrub()
    {
        _parts.Scrubber.Pass();
    }

    /// <summary>
    /// The producer of an appended record will not wait any longer. What has not been taken into a group is never
    /// written. A message in a group under way is taken out of its maildrops again by the group after it. A removal in
    /// a group under way stands, and so do changes of the queue. The record comes back through <see cref="IMailLogObserver.GroupCompleted"/> as always.
    /// </summary>
    /// <returns>
    /// False, and nothing changed, when the outcome is settled and on its way to the observer, and always for a message
    /// that was written together with a change of the queue.
    /// </returns>
    public bool GiveUp(PendingAppend append)
    {
        return append.MayBeGivenUp && append.TryGiveUp();
    }

    /// <summary>
    /// The list of a maildrop as it is now; empty for a mailbox that never had a message. Reading the messages takes
    /// <see cref="OpenMaildrop"/>.
    /// </summary>
    /// <exception cref="IOException">The disk failed under it; the observer was told.</exception>
    public MaildropSnapshot Snapshot(ulong mailboxId)
    {
        try
        {
            return _parts.Maildrops.Snapshot(mailboxId);
        }
        catch (IOException e)
        {
            _observer.Noticed($"{e.Message}; a restart reads it from an older checkpoint or from the log");
            throw;
        }
    }

    /// <summary>Changes when unique-ids of the past no longer name the same messages.</summary>
    public uint UidValidity => _parts.Maildrops.UidValidity;

    /// <summary>What a maildrop holds now; allocates nothing.</summary>
    public MaildropSize Measure(ulong mailboxId)
    {
        return _parts.Maildrops.Measure(mailboxId);
    }

    /// <summary>
    /// The maildrop as it is now, with the right to read its messages until it is disposed: compaction and removals
    /// do not disturb it. Costs a look at each entry, and memory for each segment.
    /// </summary>
    /// <exception cref="IOException">The disk failed under it; the observer was told.</exception>
    public OpenMaildrop OpenMaildrop(ulong mailboxId)
    {
        return Storage.OpenMaildrop.Open(_parts.Segments, this, _parts.Maildrops, mailboxId);
    }

    /// <summary>
    /// What is durable now, with the promise that no segment file of it is removed, emptied or punched until the hold
    /// is disposed. Long holds keep space from coming back.
    /// </summary>
    public LogHold Hold()
    {
        return LogHold.Take(_parts.Holds, _parts.Segments, _parts.Writer);
    }

    /// <summary>
    /// The right to read the message at one address; null when no segment has it (any more): then the address is out
    /// of date.
    /// </summary>
    public ReadLease? Lease(ulong lsn)
    {
        return ReadLease.Of(_parts.Segments, lsn);
    }

    /// <summary>
    /// Takes the right to read a message of the queue, wherever compaction has put it; false when it is not in the
    /// queue. What the lease held before is let go. Allocates nothing.
    /// </summary>
    public bool TryLeaseQueued(ulong seq, QueueLease lease)
    {
        return lease.TryTake(_parts.Maildrops, _parts.Segments, seq);
    }

    /// <summary>
    /// Copies the meta of a message of the queue, verified, to be read with <see cref="MetaReader"/>; its body is not
    /// touched.
    /// </summary>
    /// <param name="seq">Number of its record.</param>
    /// <param name="buffer">Where to; replaced by a longer one when it must be.</param>
    /// <param name="length">Octets of the meta.</param>
    /// <returns>False when the message is not in the queue, or cannot be read.</returns>
    public bool TryReadQueuedMeta(ulong seq, ref byte[] buffer, out int length)
    {
        using QueueLease lease = new();
        length = 0;
        return TryLeaseQueued(seq, lease) && lease.TryReadMeta(ref buffer, out length);
    }

    /// <summary>
    /// All that the log still has of what became of a message of the queue, oldest first: the last change of each
    /// recipient in any case; what was before may have been reclaimed.
    /// </summary>
    /// <returns>False when the message is not in the queue.</returns>
    public bool TryReadTimeline(ulong seq, List<QueueEvent> into)
    {
        return QueueTimeline.TryRead(_parts.Maildrops, _parts.Segments, seq, into);
    }

    /// <summary>
    /// The last change of each of these recipients of a message of the queue, in their order; null for one without any.
    /// </summary>
    /// <returns>False when the message is not in the queue; then nothing is added.</returns>
    public bool TryReadLastChanges(ulong seq, IReadOnlyList<uint> recipients, List<QueueEvent?> into)
    {
        return QueueTimeline.TryReadLast(_parts.Maildrops, _parts.Segments, seq, recipients, into);
    }

    /// <summary>
    /// Reclaims space now, whatever the age of the segments: removes dead ones, copies live messages out of those that
    /// are mostly dead. Mail comes and goes meanwhile. Cancelling it loses nothing but the copy that was being made.
    /// </summary>
    /// <exception cref="ObjectDisposedException">The log is closed.</exception>
    /// <exception cref="OperationCanceledException">Cancelled, or the log was closed meanwhile.</exception>
    /// <exception cref="IOException">A segment cannot be read, or the disk failed; nothing is lost.</exception>
    public Task<CompactProgress> CompactAsync(
        CompactOptions options, IProgress<CompactProgress>? progress = null, CancellationToken cancellation = default)
    {
        return _parts.Reclaimer.CompactAsync(options, progress, cancellation);
    }

    /// <summary>What each segment holds, in the order of their addresses, cold ones last.</summary>
    public IReadOnlyList<SegmentStatistics> ReadSegmentStatistics()
    {
        lock (_parts.Maildrops.Gate)
        {
            List<SegmentStatistics> all = [];
            foreach (Segment segment in _parts.Segments.All)
            {
                all.Add(new SegmentStatistics(
                    segment.Path, segment.IsCold, segment.BaseLsn, segment.Header.SegmentBytes, segment.Life.Messages,
                    segment.Life.Bytes));
            }

            return all;
        }
    }

    /// <summary>
    /// For tests, which see to it that nothing is reclaimed while they hold the message: it is not protected.
    /// </summary>
    internal ReadStatus TryRead(ulong lsn, out StoredMessage message)
    {
        return RecordReader.TryRead(_parts.Segments.Find(lsn), lsn, out message);
    }

    /// <summary>
    /// Opens the body file of a message that <see cref="TryRead"/> called <see cref="ReadStatus.External"/>. Waits for
    /// the disk. Not yet verified: see <see cref="StoredBody.Verify"/>.
    /// </summary>
    /// <returns>
    /// <see cref="ReadStatus.NotFound"/> when the message was removed meanwhile; <see cref="ReadStatus.Damaged"/> when
    /// the file is missing or has another length than was written.
    /// </returns>
    public ReadStatus TryOpenBody(in StoredMessage message, out StoredBody? body)
    {
        return _parts.BodyReader.Open(message.Body, message.BodyCrc, message.Lsn, out body);
    }

    /// <summary>
    /// Begins to read such a message without waiting for the disk; null when too many are being read. Nothing is read
    /// before it is asked for.
    /// <paramref name="completed"/> is called on a thread of the log at the end of each step. Close it in any case.
    /// </summary>
    public BodyReading? TryBeginReading(in StoredMessage message, BodyUse use, Action completed)
    {
        return _parts.BodyReader.Begin(message, use, completed);
    }

    /// <summary>
    /// Writes and completes what was appended, marks the end as clean and closes. Leases may outlive it.
    /// </summary>
    public void Dispose()
    {
        if (!_isDisposed)
        {
            _isDisposed = true;
            _parts.Dispose();
        }
    }
}
