namespace FastMail.Storage;

/// <summary>
/// Rebuilds the state of the log from its checkpoint and the segments behind it, from all segments when there is none,
/// and decides where it ends. A torn tail, which was never
/// acknowledged, is cut; damage of what was acknowledged is copied to the quarantine and stepped over. Nothing on disk
/// is touched before all of it has been read, and nothing but the tail is ever rewritten: what is damaged stays where
/// it is, so every start finds the same and comes to the same end. Owned by the thread that opens the log, used once.
/// </summary>
internal sealed class Recovery(
    DataDirectory place, StoreFormat format, MaildropTable maildrops, SegmentList segments, Action<string> notice,
    FoundCheckpoint found = default)
{
    private readonly List<DamagedRange> _damage = [];
    private readonly List<Gap> _gaps = []; // of the last segment
    private readonly LogEnd _end = new();
    private LogPoint _start; // the beginning, or the place of the checkpoint
    private Replay? _replay;
    private ColdRecovery? _cold;
    private SegmentOpening? _opening;
    private bool _hasLostBeginning; // segments may be missing there, and no checkpoint has what they said

    // Most records that may be missing since the last valid one; its successor will tell. 0: none are.
    private ulong _carried;

    /// <summary>
    /// Records are missing, and nobody knows what they named. What was retired is not missed: nothing live was named
    /// there alone.
    /// </summary>
    public bool HasLostRecords => _hasLostBeginning || _damage.Exists(d => d.Missing != 0);

    /// <summary>Runs the recovery; the segments are open afterwards, also when it throws.</summary>
    /// <exception cref="DamagedLogException">
    /// Acknowledged records are missing or invalid in a way that cannot be stepped over; nothing was modified.
    /// </exception>
    /// <exception cref="IncompatibleFormatException">A later program wrote here; nothing was modified.</exception>
    /// <exception cref="IOException">The disk failed.</exception>
    public LogEnd Run(IEnumerable<string> fileNames)
    {
        _opening = new SegmentOpening(place.Disk, place.LogPath, format, segments, _damage, notice);
        _opening.OpenAll(fileNames);
        _cold = new ColdRecovery(maildrops, segments, _damage);
        _replay = new Replay(maildrops, _end, _cold);
        ReadOnlySpan<Segment> all = segments.Hot;
        AdmitEnd(all[^1]);
        Begin(all);
        _cold.Begin(found.Checkpoint);
        foreach (Segment segment in all[..^1])
        {
            if (segment.EndLsn <= _start.Lsn)
            {
                segment.ReadableEnd = segment.Length; // the checkpoint has all of it; each reader checks what it reads
            }
            else
            {
                ReadComplete(segment);
            }
        }

        if (all[^1].IsCut)
        {
            Abandon(all[^1]);
        }
        else
        {
            ReadLast(all[^1]);
        }

        return _end;
    }

    /// <summary>
    /// A manifest proves what was durable when it was written: a log that ends before has lost acknowledged mail.
    /// </summary>
    private void AdmitEnd(Segment last)
    {
        if (found.Proven.Lsn > last.EndLsn)
        {
            throw new DamagedLogException(
                $"{last.Path}: segments behind this one are missing: the checkpoint at position 0x{found.Proven.Lsn:x} "
                + "proves that the log went on. Nothing was modified; put the missing files back, or restore a backup");
        }
    }

    /// <summary>Where the records begin that the checkpoint does not have yet.</summary>
    private void Begin(ReadOnlySpan<Segment> all)
    {
        if (found.Checkpoint is { } checkpoint)
        {
            _start = checkpoint.Manifest.Point;
            _end.Seq = _start.Seq;
            _end.GroupNo = _start.GroupNo;
            _end.TimestampMicros = _start.TimestampMicros;
            CheckProven(segments.Find(_start.GroupLsn));
        }
        else if (all[0].BaseLsn > 0)
        {
            // No record tells for whom the missing ones were: no number that they may have given is given again.
            const long First = SegmentHeader.Bytes;
            if (Resync.TryFind(all[0], First, 0, First, out _, out ulong missing))
            {
                maildrops.SkipUids(missing);
                _end.Seq = missing;
            }
        }
    }

    /// <summary>
    /// The last group that the checkpoint has must stand in front of its place. When it does not, the log goes on
    /// behind it all the same: nothing that was durable is cut.
    /// </summary>
    private void CheckProven(Segment? segment)
    {
        if (segment is null || _start.GroupLsn >= _start.Lsn)
        {
            return;
        }

        long end = (long)(_start.Lsn - segment.BaseLsn);
        LogPoint group = _start with { Lsn = _start.GroupLsn, Seq = _start.GroupSeq - 1 };
        SegmentWalk walk = SegmentWalk.From(segment, group);
        while (walk.Offset < end && walk.MoveNext())
        {
        }

        if (walk.Offset < end && end <= segment.Length)
        {
            string what = $"{_start.Seq - walk.Seq} record(s) are damaged, which the checkpoint has";
            _damage.Add(new DamagedRange(segment, walk.Offset, end, what) { Missing = 0 });
        }
    }

    /// <summary>
    /// Segments at the beginning may have been dropped, but only below what a record says; otherwise the operator may
    /// still have them. Records that are lost may have said it: then it is enough that checkpoints let go of what is
    /// missing, unless older segments are still there, which nobody but a record may condemn.
    /// </summary>
    private void AdmitBeginning()
    {
        Segment first = segments.Hot[0];
        ulong retired = maildrops.Liveness.RetiredBelow;
        bool mayBeUnsaid = _cold!.IsRetiredUnknown || _damage.Exists(static d => d.Missing != 0);
        if (mayBeUnsaid && _opening!.Stale.Count == 0)
        {
            retired = Math.Max(retired, Math.Max(_replay!.OldestNeededLsn, found.OldestNeededLsn));
        }

        if (retired < first.BaseLsn)
        {
            throw new DamagedLogException(
                $"{first.Path}: a segment is missing in front of this file, and no record says that it was dropped. "
                + "Nothing was modified; put the missing file back");
        }

        _hasLostBeginning = found.Checkpoint is null && first.BaseLsn > maildrops.Liveness.RetiredBelow;
        // The next start may not find the record that admits it: it may be damaged, or in front of a checkpoint.
        maildrops.Liveness.RetiredBelow = Math.Max(maildrops.Liveness.RetiredBelow, first.BaseLsn);
        if (first.BaseLsn > 0 && found.Checkpoint is null)
        {
            notice($"{first.Path}: the log begins at position 0x{first.BaseLsn:x} and has no usable checkpoint: the "
                + "index was rebuilt from what is there, unique-ids go on behind all that may have been given");
        }
    }

    private SegmentWalk WalkFrom(Segment segment)
    {
        return segment.BaseLsn < _start.Lsn
            ? SegmentWalk.From(segment, _start)
            : new SegmentWalk(segment, _end.Seq);
    }

    /// <summary>
    /// A segment with a successor was sealed and flushed before that came to be: whatever is invalid in it is damaged.
    /// </summary>
    private void ReadComplete(Segment segment)
    {
        AdmitFirst(segment);
        SegmentWalk walk = WalkFrom(segment);
        while (!walk.IsSealed)
        {
            if (walk.MoveNext())
            {
                _replay!.Apply(segment, walk);
            }
            else if (TryFindGap(segment, walk, segment.Length, out Gap gap))
            {
                Cross(walk, gap);
            }
            else
            {
                LoseRest(segment, walk.Offset, "the end of the segment is damaged");
                break;
            }
        }

        segment.ReadableEnd = Math.Min(walk.Offset, segment.Length);
        _end.Seq = walk.Seq;
    }

    private void ReadLast(Segment segment)
    {
        AdmitFirst(segment);
        long end = FindEnd(segment, out long proof, out bool isSealed, out bool hasLeftovers);
        SegmentWalk walk = WalkFrom(segment);
        foreach (Gap gap in _gaps)
        {
            ApplyUpTo(segment, walk, gap.Offset);
            Cross(walk, gap);
        }

        ApplyUpTo(segment, walk, end);
        segment.ReadableEnd = end;
        _end.Seq = walk.Seq;
        _end.Seal = walk.Seal;
        Finish(segment, isSealed, proof, end);
        if (hasLeftovers)
        {
            notice($"{segment.Path}: cut a torn tail, never acknowledged, at offset {end}");
        }
    }

    /// <summary>
    /// The file of the last segment was cut short, which no crash does: what stood in the part that is gone may have
    /// been acknowledged. Keeps all that is left, as if a successor proved it, and lets the log go on in a new segment,
    /// so that no address, number or unique-id is used again; a restored file fits in.
    /// </summary>
    private void Abandon(Segment segment)
    {
        ReadComplete(segment);
        Finish(segment, isSealed: true, SegmentHeader.Bytes, segment.Length);
    }

    /// <summary>All has been read. Only from here on is anything written.</summary>
    private void Finish(Segment segment, bool isSealed, long proof, long end)
    {
        AdmitBeginning();
        _cold!.RequireAll();
        SealMeta seal = _end.Seal;
        _end.MoveTo(segment);
        _end.Offset = segment.ReadableEnd;
        _end.Seal = seal;
        _end.IsSealed = isSealed;
        CountByRoom();
        KeepDamage();
        Tail.Rewrite(segment, proof, end);
        foreach (string path in _opening!.Stale)
        {
            Errno.Check(place.Disk.Remove(path), "remove", path);
        }
    }

    /// <summary>
    /// Where the valid records of the last segment end. Behind the last proof a body that fails its CRC ends them too:
    /// its record was torn, and never acknowledged.
    /// </summary>
    private long FindEnd(Segment segment, out long proof, out bool isSealed, out bool hasLeftovers)
    {
        hasLeftovers = false;
        SegmentWalk walk = WalkFrom(segment);
        long proven = (long)(found.Proven.Lsn - segment.BaseLsn); // by a checkpoint; negative when not of this segment
        proof = Math.Max(walk.Offset, proven);
        Place last = new(walk.Offset, walk.Seq, 0);
        while (!walk.IsSealed)
        {
            if (!walk.MoveNext())
            {
                // Always looked for, also behind a clean end: the first record after that may be the damaged one.
                long laterProof = Tail.FindProofBehind(segment, walk.Offset, out hasLeftovers);
                if (laterProof < 0 && walk.Offset >= proven)
                {
                    break;
                }

                if (!TryFindGap(segment, walk, Math.Max(laterProof, proven), out Gap gap)
                    && !TryGoOnAtProven(segment, walk, proven, out gap))
                {
                    throw DamagedLogException.At(
                        segment, walk.Offset, $"the record at offset {laterProof} proves that it was durable, but "
                        + "does not follow it");
                }

                _gaps.Add(gap);
                walk.SkipTo(gap.Resume, gap.ResumeSeq);
                proof = Math.Max(proof, gap.Resume); // the end cannot lie in front of what was proven
            }
            else if (walk.Current.Type == RecordType.Group)
            {
                GroupMeta group = Replay.ReadGroup(segment, walk);
                proof = Math.Max(proof, (long)(group.DurableLsn - segment.BaseLsn));
                last = walk.CurrentOffset <= proof ? new Place(walk.CurrentOffset, walk.Seq - 1, _gaps.Count) : last;
            }
        }

        isSealed = walk.IsSealed;
        if (isSealed)
        {
            proof = walk.CurrentOffset; // all groups had been flushed before the SEAL was written
            hasLeftovers = false;
            return walk.Offset;
        }

        long end = FindTornBody(segment, proof, last);
        hasLeftovers |= end < walk.Offset;
        return end;
    }

    /// <summary>Looks only behind the last proof, which is what a flush under way can have torn.</summary>
    private long FindTornBody(Segment segment, long proof, Place from)
    {
        SegmentWalk walk = new(segment, from.Seq);
        walk.SkipTo(from.Offset, from.Seq);
        int gaps = from.Gaps;
        while (true)
        {
            if (!walk.MoveNext())
            {
                if (gaps == _gaps.Count)
                {
                    return walk.Offset;
                }

                walk.SkipTo(_gaps[gaps].Resume, _gaps[gaps].ResumeSeq);
                gaps++;
            }
            else if (walk.CurrentOffset >= proof && !walk.HasIntactBody())
            {
                return walk.CurrentOffset;
            }
        }
    }

    private void ApplyUpTo(Segment segment, SegmentWalk walk, long end)
    {
        while (walk.Offset < end && walk.MoveNext())
        {
            _replay!.Apply(segment, walk);
        }
    }

    /// <summary>
    /// When the end of the segment before is damaged, the first record of this one tells how many are missing there.
    /// Its number may jump even behind an intact end: that may have been damaged when this record was written, and have
    /// been restored since.
    /// </summary>
    private void AdmitFirst(Segment segment)
    {
        const long First = SegmentHeader.Bytes;
        if (segment.BaseLsn >= _start.Lsn && Resync.TryFind(segment, First, _end.Seq, First, out _, out ulong missing))
        {
            // So many records never stood in front of a segment: where the page that says so is lost, it skips as well.
            bool skips = segment.Header.SkipsNumbers || (segment.Header.IsRebuilt && missing >= Restoration.Skipped);
            ulong lost = skips ? missing - Math.Min(missing, Restoration.Skipped) : missing;
            if (_carried == 0 && lost > 0)
            {
                _damage.Add(new DamagedRange(segment, First, First, "the numbers of the records jump"));
            }

            if (lost > 0)
            {
                Count(lost);
            }

            maildrops.SkipUids(missing);
            _end.Seq += missing;
        }
    }

    private bool TryFindGap(Segment segment, SegmentWalk walk, long last, out Gap gap)
    {
        bool isFound = Resync.TryFind(
            segment, walk.Offset, walk.Seq, last, out long resume, out ulong missing);
        gap = new Gap(walk.Offset, resume, walk.Seq + missing, missing);
        if (isFound)
        {
            _damage.Add(new DamagedRange(segment, walk.Offset, resume, "acknowledged records are damaged"));
            Count(missing);
        }

        return isFound;
    }

    /// <summary>
    /// No valid record is left up to the place that a checkpoint proves; what it says of that place is enough to go on.
    /// </summary>
    private bool TryGoOnAtProven(Segment segment, SegmentWalk walk, long proven, out Gap gap)
    {
        ulong missing = found.Proven.Seq - walk.Seq;
        gap = new Gap(walk.Offset, proven, found.Proven.Seq, missing);
        if (walk.Offset >= proven || found.Proven.Seq <= walk.Seq)
        {
            return false;
        }

        _damage.Add(new DamagedRange(segment, walk.Offset, proven, "acknowledged records are damaged"));
        Count(missing);
        return true;
    }

    private void Cross(SegmentWalk walk, in Gap gap)
    {
        maildrops.SkipUids(gap.Missing);
        walk.SkipTo(gap.Resume, gap.ResumeSeq);
    }

    /// <summary>Nothing valid follows in this segment: how much is missing is not known yet.</summary>
    private void LoseRest(Segment segment, long offset, string what)
    {
        long start = Math.Min(offset, segment.Length);
        _damage.Add(new DamagedRange(segment, start, Resync.EndOfContent(segment, start), what));
        _carried += Math.Max(1, Resync.MostRecordsIn(segment.Header.SegmentBytes - offset)); // a SEAL at least
    }

    private void Count(ulong missing)
    {
        _damage[^1].Missing = missing;
        _carried = 0;
    }

    /// <summary>
    /// No record follows that could tell how many are missing. As many as could have stood there are taken for given,
    /// so that no number is used twice; the next record will say so on disk, and the next start reads it from there.
    /// </summary>
    private void CountByRoom()
    {
        if (_carried > 0)
        {
            ulong most = _carried;
            Count(most);
            _damage[^1].IsUpperBound = true;
            maildrops.SkipUids(most);
            _end.Seq += most;
        }
    }

    private void KeepDamage()
    {
        Quarantine quarantine = new(place);
        foreach (DamagedRange range in _damage)
        {
            notice(range.Tell(quarantine.Keep(range)));
        }
    }

    /// <summary>
    /// Damage in the last segment: from <paramref name="Offset"/> to the valid record at <paramref name="Resume"/>,
    /// in front of which the number would be <paramref name="ResumeSeq"/>. A value.
    /// </summary>
    private readonly record struct Gap(long Offset, long Resume, ulong ResumeSeq, ulong Missing);

    /// <summary>
    /// A place in the last segment, behind the record of that number and so many gaps: the last GROUP in front of or at
    /// the proof. A value.
    /// </summary>
    private readonly record struct Place(long Offset, ulong Seq, int Gaps);
}
