using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// One run of the compaction: copies the live records of some segments into one cold segment, in order of their
/// numbers, and lets the copies take the place of the originals. Every record is verified on the way: one that cannot
/// be read is not dropped silently, its segment is kept as it is. A body that has rotted moves as it is, under the
/// checksum that says so. Used once, on the reclaimer's thread.
/// </summary>
/// <remarks>
/// Until the MOVE record is durable nothing has happened: the copy is a file that nobody reads. From then on the
/// originals are garbage, and whoever reads them still does so undisturbed.
/// </remarks>
internal sealed class Compaction(ReclaimScene scene, Segment[] sources, ulong coldLsn, Throttle throttle)
{
    private readonly List<Planned> _plan = [];
    private readonly List<MovedRecord> _moved = [];
    private readonly List<MailboxUid> _recipients = [];
    private readonly HashSet<ulong> _prepared = [];
    private readonly Dictionary<ulong, List<MovedEntry>> _entries = [];

    /// <summary>Octets of the records that were copied.</summary>
    public long CopiedBytes { get; private set; }

    /// <summary>Messages that were moved.</summary>
    public int Messages => _moved.Count;

    /// <summary>The cold segment; null when there is none in the end.</summary>
    public Segment? Cold { get; private set; }

    /// <summary>
    /// Name of a file that may hold copies without a MOVE, to be removed: no removal of a message must be forgotten while
    /// it exists. Null when there is none.
    /// </summary>
    public string? UnusedFile { get; private set; }

    /// <summary>The log has failed, and only the next start knows whether the copies count: their file must stay.</summary>
    public bool IsInDoubt { get; private set; }

    /// <summary>A source that cannot be copied now; null when there was none.</summary>
    public Obstacle? Obstacle { get; private set; }

    /// <summary>All sources were read, and no live message was met in them.</summary>
    public bool FoundNothing { get; private set; }

    /// <summary>Runs it; false when nothing has changed.</summary>
    /// <exception cref="IOException">The disk failed.</exception>
    public bool Run(CancellationToken cancellation)
    {
        // From here on a removal says that its message may be copied. The mark behind it says when every removal that
        // does not know yet has been applied.
        scene.Maildrops.SetMoving(new MoveUnderWay([.. sources.OrderBy(s => s.BaseLsn)], coldLsn));
        try
        {
            return scene.Append(new PendingMark()) == AppendOutcome.Durable && Plan(cancellation) && Copy(cancellation) && Swap();
        }
        finally
        {
            scene.Maildrops.SetMoving(null);
            foreach (ulong mailboxId in _prepared)
            {
                scene.Maildrops.CancelRemoval(mailboxId);
            }
        }
    }

    private bool Plan(CancellationToken cancellation)
    {
        foreach (Segment source in sources)
        {
            try
            {
                PlanSource(source, cancellation);
            }
            catch (IOException e)
            {
                Obstacle = new Obstacle(source, e.Message);
                return false;
            }
        }

        _plan.Sort(static (a, b) => a.Seq.CompareTo(b.Seq));
        FoundNothing = _plan.Count == 0;
        return !FoundNothing;
    }

    private void PlanSource(Segment source, CancellationToken cancellation)
    {
        SegmentScan scan = new(source, 0, isSeqKnown: false);
        while (scan.MoveNext() && scan.Current.Type != RecordType.Seal)
        {
            cancellation.ThrowIfCancellationRequested();
            if (scan.Current.Type == RecordType.Message)
            {
                PlanRecord(source, scan);
            }
        }
    }

    private void PlanRecord(Segment source, SegmentScan scan)
    {
        int first = _recipients.Count;
        bool isRelayed = MailboxUid.ReadAll(scan.CurrentMeta, _recipients) > 0;
        int count = _recipients.Count - first;
        Prepare(first);
        Planned planned = new(source, scan.Current.Lsn, scan.Current.Seq, first, count, isRelayed);
        if (IsLive(planned))
        {
            _plan.Add(planned);
        }
        else
        {
            _recipients.RemoveRange(first, count);
        }
    }

    /// <summary>Brings maildrops into memory, and keeps them there while they are looked at and changed.</summary>
    private void Prepare(int firstRecipient)
    {
        foreach (MailboxUid recipient in CollectionsMarshal.AsSpan(_recipients)[firstRecipient..])
        {
            if (!_prepared.Contains(recipient.MailboxId))
            {
                int errno = scene.Maildrops.PrepareRemoval(recipient.MailboxId);
                Errno.Check(errno, "read the checkpoint of", $"maildrop {recipient.MailboxId}");
                _ = _prepared.Add(recipient.MailboxId);
            }
        }
    }

    private bool IsLive(in Planned planned)
    {
        ReadOnlySpan<MailboxUid> recipients = CollectionsMarshal.AsSpan(_recipients);
        lock (scene.Maildrops.Gate)
        {
            foreach (MailboxUid recipient in recipients.Slice(planned.FirstRecipient, planned.Recipients))
            {
                if (scene.Maildrops.Holds(recipient.MailboxId, recipient.Uid, planned.Lsn))
                {
                    return true;
                }
            }

            return planned.IsRelayed && scene.Maildrops.Queue.Holds(planned.Seq, planned.Lsn);
        }
    }

    private bool Copy(CancellationToken cancellation)
    {
        ColdIdentity identity = scene.Identify(coldLsn, sources[0].BaseLsn);
        using ColdWriter writer = new(scene.Disk, scene.LogPath, identity);
        int errno = writer.Begin(_plan[0].Seq);
        foreach (Planned planned in _plan)
        {
            cancellation.ThrowIfCancellationRequested();
            if (errno != 0)
            {
                break;
            }

            if (!IsLive(planned))
            {
                continue; // removed since it was planned
            }

            if (!TryVerify(planned, cancellation, out RecordHeader header, out ReadOnlySpan<byte> record))
            {
                return false;
            }

            errno = writer.Add(header, record, out ulong lsn, out uint headerCrc);
            long bytes = MaildropEntry.RecordBytesOf(header);
            NoteMoved(planned, new MovedRecord(planned.Lsn, lsn, headerCrc, bytes, planned.Seq, planned.IsRelayed));
            CopiedBytes += record.Length;
            throttle.Spend(record.Length, cancellation);
        }

        Segment? cold = null;
        if (errno == 0 && _moved.Count > 0)
        {
            errno = writer.Complete(out cold);
            UnusedFile = errno != 0 ? identity.FileName : null;
        }

        if (errno != 0)
        {
            scene.Notice($"compaction stopped: {Errno.Text(errno)}");
        }

        Cold = cold;
        return cold is not null;
    }

    private void NoteMoved(in Planned planned, in MovedRecord record)
    {
        for (int i = 0; i < planned.Recipients; i++)
        {
            MailboxUid recipient = _recipients[planned.FirstRecipient + i];
            ref List<MovedEntry>? entries =
                ref CollectionsMarshal.GetValueRefOrAddDefault(_entries, recipient.MailboxId, out _);
            (entries ??= []).Add(new MovedEntry(recipient.Uid, _moved.Count));
        }

        _moved.Add(record);
    }

    private bool TryVerify(
        in Planned planned, CancellationToken cancellation, out RecordHeader header, out ReadOnlySpan<byte> record)
    {
        header = default;
        record = default;
        ReadStatus status = RecordReader.TryRead(planned.Source, planned.Lsn, out _);
        bool isRotten = status == ReadStatus.Damaged && IsBodyRotten(planned, cancellation);
        if (status is not (ReadStatus.Ok or ReadStatus.External) && !isRotten) // a body file stays where it is
        {
            Obstacle = new Obstacle(planned.Source, $"{planned.Where} cannot be moved: {status}");
            return false;
        }

        if (isRotten)
        {
            scene.Notice($"{planned.Where} moves with a body that fails its checksum; it stays listed as damaged");
        }

        long offset = (long)(planned.Lsn - planned.Source.BaseLsn);
        header = RecordHeader.Read(planned.Source.Span(offset, RecordHeader.Bytes));
        record = planned.Source.Span(offset, (int)header.TotalBytes);
        return true;
    }

    /// <summary>
    /// Only the body is not what was written, and the disk itself says so: then a copy is worth what the original is.
    /// What is wrong in memory alone, or what the disk cannot give, may be read some other time.
    /// </summary>
    private bool IsBodyRotten(in Planned planned, CancellationToken cancellation)
    {
        long offset = (long)(planned.Lsn - planned.Source.BaseLsn);
        if (!RecordReader.TryReadMeta(planned.Source, planned.Lsn, out RecordHeader header, out _)
            || planned.Source.Populate(offset, header.TotalBytes) != 0
            || scene.Disk.Open(planned.Source.Path, FileUse.ExistingUncached, out IDiskFile? file) != 0)
        {
            return false;
        }

        using (file)
        {
            ScrubWindow window = scene.LookPastCache(file!, planned.Source.Length, cancellation);
            long body = offset + RecordHeader.Bytes + header.MetaBytes + header.TraceBytes;
            return SegmentScrub.TryExtend(window, body, header.BodyBytes, out uint crc) && crc != header.BodyCrc;
        }
    }

    /// <summary>Behind a durable MOVE the copies are the messages.</summary>
    private bool Swap()
    {
        if (!KeepRemovals())
        {
            Cold!.Dispose();
            return GiveUp(AppendOutcome.NoSpace);
        }

        Cold!.Life.AwaitsMove = true; // a checkpoint of this moment must not ask for it
        scene.Segments.Add(Cold!); // first: the index names it as soon as the MOVE is applied
        PendingMove move = new(Cold!, _moved, _entries);
        AppendOutcome outcome = scene.Append(move);
        if (outcome == AppendOutcome.Durable)
        {
            return true;
        }

        scene.Segments.Retire(Cold!);
        return GiveUp(outcome);
    }

    private bool GiveUp(AppendOutcome outcome)
    {
        // When the log has failed the MOVE may be durable all the same: then the next start needs the file.
        IsInDoubt = outcome != AppendOutcome.NoSpace;
        UnusedFile = IsInDoubt ? null : Path.GetFileName(Cold!.Path);
        Cold = null;
        return false;
    }

    /// <summary>
    /// A copy names all recipients of its message, also those who had removed it before, and relay recipients as if
    /// nothing had become of them: what the log says of them must now last as long as the copy.
    /// </summary>
    private bool KeepRemovals()
    {
        Dictionary<ulong, List<ulong>> gone = [];
        lock (scene.Maildrops.Gate)
        {
            foreach ((ulong mailboxId, List<MovedEntry> entries) in _entries)
            {
                foreach (MovedEntry entry in entries)
                {
                    if (!scene.Maildrops.Holds(mailboxId, entry.Uid, _moved[entry.Record].From))
                    {
                        ref List<ulong>? uids =
                            ref CollectionsMarshal.GetValueRefOrAddDefault(gone, mailboxId, out _);
                        (uids ??= []).Add(entry.Uid);
                    }
                }
            }
        }

        ColdRange cold = new(coldLsn, coldLsn);
        QueueCarry carry = new(scene.Segments, scene.Maildrops);
        foreach (MovedRecord moved in _moved)
        {
            if (moved.IsRelayed)
            {
                carry.KeepFor(moved.Seq, cold);
            }
        }

        return scene.AppendAll(
            [.. gone.Select(g => (OwnAppend)CarriedExpunge.Of(g.Key, g.Value, cold)), .. carry.Complete()]);
    }

    private readonly record struct Planned(
        Segment Source, ulong Lsn, ulong Seq, int FirstRecipient, int Recipients, bool IsRelayed)
    {
        /// <summary>For the operator.</summary>
        public string Where => $"{Source.Path}: message {Seq} at position 0x{Lsn:x}";
    }
}

/// <summary>Why a segment cannot be copied now. Immutable.</summary>
/// <param name="Source">Which.</param>
/// <param name="What">For the operator.</param>
internal sealed record Obstacle(Segment Source, string What);
