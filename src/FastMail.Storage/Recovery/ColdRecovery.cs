using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// The cold segments while the log is opened, and the MOVE records that are about them. Owned by the
/// <see cref="Recovery"/>.
/// </summary>
/// <remarks>
/// Without a checkpoint all records of cold segments are entered first, as if they had come before the log. A message
/// that is found in the log too counts there, until the MOVE of its copy comes by; so a copy without a MOVE, left by a
/// crash, ends without a reader, and one whose original has been dropped is the message. Removals come by in the log in
/// either case, because one that is aimed at a cold segment is kept as long as that.
/// </remarks>
internal sealed class ColdRecovery(MaildropTable maildrops, SegmentList segments, List<DamagedRange> damage)
{
    private readonly List<MailboxUid> _recipients = [];
    private readonly List<(ulong Base, ulong End)> _retired = [];
    private readonly HashSet<ulong> _moved = [];

    /// <summary>The checkpoint does not say which segments had been dropped when it was made.</summary>
    public bool IsRetiredUnknown { get; private set; }

    /// <summary>Begins with what the checkpoint says; without one, with everything that is in cold segments.</summary>
    /// <exception cref="IOException">The disk failed.</exception>
    public void Begin(Checkpoint? checkpoint)
    {
        foreach (Segment segment in segments.Cold)
        {
            NoteAddress(segment.EndLsn);
        }

        if (checkpoint is null)
        {
            LoadAll();
        }
        else if (!ReclaimExtra.TryRestore(
            checkpoint.Manifest, segments, maildrops.Liveness, _moved, out bool countsBodies))
        {
            IsRetiredUnknown = true;
            maildrops.CountLive();
        }
        else if (countsBodies && maildrops.Bodies.Count > 0)
        {
            maildrops.CountBytes();
        }
    }

    /// <summary>Enters everything, oldest first.</summary>
    private void LoadAll()
    {
        List<(ulong Seq, Segment Segment)> order = [];
        foreach (Segment segment in segments.Cold)
        {
            SegmentScan scan = new(segment, 0, isSeqKnown: false);
            order.Add((scan.MoveNext() ? scan.Current.Seq : ulong.MaxValue, segment));
        }

        // By arrival, so that maildrops grow at their ends; of two copies the older one counts, see above.
        foreach ((_, Segment segment) in order.OrderBy(o => o.Seq).ThenBy(o => o.Segment.BaseLsn))
        {
            Load(segment);
        }
    }

    /// <summary>Enters the walk's current record, a MOVE.</summary>
    /// <exception cref="DamagedLogException">It is intact and says nothing.</exception>
    public void ApplyMove(Segment segment, SegmentWalk walk)
    {
        int known = _retired.Count;
        if (!MoveMeta.TryRead(walk.CurrentMeta, out ulong movedTo, _retired))
        {
            throw DamagedLogException.At(segment, walk.CurrentOffset, "a MOVE record says nothing");
        }

        foreach ((ulong start, ulong end) in CollectionsMarshal.AsSpan(_retired)[known..])
        {
            _ = _moved.Remove(start);
            if (start < SegmentList.ColdLsn)
            {
                maildrops.Liveness.RetiredBelow = Math.Max(maildrops.Liveness.RetiredBelow, end);
            }
            else
            {
                NoteAddress(end);
            }
        }

        if (movedTo != 0)
        {
            NoteAddress(movedTo + 1);
            _ = _moved.Add(movedTo);
            Take(movedTo);
        }
    }

    /// <summary>Checks, when all has been read, that no cold segment is missing.</summary>
    /// <exception cref="DamagedLogException">One is.</exception>
    public void RequireAll()
    {
        foreach (ulong baseLsn in _moved)
        {
            if (segments.Find(baseLsn) is null)
            {
                throw new DamagedLogException(
                    $"a segment is missing: messages were moved to 1-{baseLsn:x16}.seg. Nothing was modified; put the "
                    + "missing file back");
            }
        }
    }

    private void Take(ulong coldLsn)
    {
        if (segments.Find(coldLsn) is not { } segment)
        {
            return; // retired later, as the log will say; or it is missing, see RequireAll
        }

        SegmentScan scan = new(segment, 0, isSeqKnown: false);
        while (scan.MoveNext())
        {
            if (scan.Current.Type == RecordType.Message)
            {
                _recipients.Clear();
                int relayed = MailboxUid.ReadAll(scan.CurrentMeta, _recipients);
                maildrops.Take(scan.Current, CollectionsMarshal.AsSpan(_recipients), isRelayed: relayed > 0);
            }
        }
    }

    private void Load(Segment segment)
    {
        SegmentScan scan = new(segment, 0, isSeqKnown: false);
        bool isSealed = false;
        while (!isSealed && scan.MoveNext())
        {
            if (scan.GapOffset != scan.CurrentOffset)
            {
                Lose(segment, scan.GapOffset, scan.CurrentOffset);
            }

            isSealed = scan.Current.Type == RecordType.Seal;
            if (scan.Current.Type == RecordType.Message)
            {
                Enter(scan);
            }
        }

        if (!isSealed)
        {
            Lose(segment, scan.Offset, Resync.EndOfContent(segment, scan.Offset));
        }
    }

    private void Enter(SegmentScan scan)
    {
        _recipients.Clear();
        int relayed = MailboxUid.ReadAll(scan.CurrentMeta, _recipients);
        lock (maildrops.Gate)
        {
            int references = relayed > 0 && maildrops.Queue.TryEnter(scan.Current, relayed) ? 1 : 0;
            foreach (MailboxUid recipient in _recipients)
            {
                bool isNew = maildrops.TryInsert(recipient.MailboxId, new MaildropEntry(recipient.Uid, scan.Current));
                references += isNew ? 1 : 0;
            }

            maildrops.Liveness.Enter(scan.Current.Lsn, MaildropEntry.RecordBytesOf(scan.Current), references);
            if (references > 0 && scan.Current.HasExternalBody
                && BodyReference.TryFind(scan.CurrentMeta, out BodyReference body))
            {
                maildrops.Bodies.Add(scan.Current.Lsn, body.Id, references);
            }
        }
    }

    private void Lose(Segment segment, long start, long end)
    {
        // How many stood there is not known: the numbers in a cold segment have gaps anyway.
        damage.Add(new DamagedRange(segment, start, end, "records moved here are damaged") { Missing = 1 });
    }

    private void NoteAddress(ulong end)
    {
        maildrops.Liveness.NextColdLsn = Math.Max(maildrops.Liveness.NextColdLsn, end);
    }
}
