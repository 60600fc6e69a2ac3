namespace FastMail.Storage;

/// <summary>
/// Rebuilds the state of the log from its segments and decides where it ends. A torn tail, which was never
/// acknowledged, is cut; damage of what was acknowledged is copied to the quarantine and stepped over. Nothing on disk
/// is touched before all of it has been read, and nothing but the tail is ever rewritten: what is damaged stays where
/// it is, so every start finds the same and comes to the same end. Owned by the thread that opens the log, used once.
/// </summary>
internal sealed class Recovery(
    DataDirectory place, StoreFormat format, MaildropTable maildrops, SegmentList segments, Action<string> notice)
{
    private readonly List<DamagedRange> _damage = [];
    private readonly List<Gap> _gaps = []; // of the last segment
    private readonly LogEnd _end = new();
    private Replay? _replay;

    // Most records that may be missing since the last valid one; its successor will tell. 0: none are.
    private ulong _carried;

    /// <summary>Records are missing, and nobody knows what they named.</summary>
    public bool HasLostRecords => _damage.Exists(d => d.Missing != 0);

    /// <summary>Runs the recovery; the segments are open afterwards, also when it throws.</summary>
    /// <exception cref="DamagedLogException">
    /// Acknowledged records are missing or invalid in a way that cannot be stepped over; nothing was modified.
    /// </exception>
    /// <exception cref="IncompatibleFormatException">A later program wrote here; nothing was modified.</exception>
    /// <exception cref="IOException">The disk failed.</exception>
    public LogEnd Run(IEnumerable<string> fileNames)
    {
        new SegmentOpening(place.Disk, place.LogPath, format, segments, _damage, notice).OpenAll(fileNames);
        _replay = new Replay(maildrops, _end);
        ReadOnlySpan<Segment> all = segments.All;
        foreach (Segment segment in all[..^1])
        {
            ReadComplete(segment);
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
    /// A segment with a successor was sealed and flushed before that came to be: whatever is invalid in it is damaged.
    /// </summary>
    private void ReadComplete(Segment segment)
    {
        AdmitFirst(segment);
        SegmentWalk walk = new(segment, _end.Seq);
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
        SegmentWalk walk = new(segment, _end.Seq);
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
        SealMeta seal = _end.Seal;
        _end.MoveTo(segment);
        _end.Offset = segment.ReadableEnd;
        _end.Seal = seal;
        _end.IsSealed = isSealed;
        CountByRoom();
        KeepDamage();
        Tail.Rewrite(segment, proof, end);
    }

    /// <summary>
    /// Where the valid records of the last segment end. Behind the last proof a body that fails its CRC ends them too:
    /// its record was torn, and never acknowledged.
    /// </summary>
    private long FindEnd(Segment segment, out long proof, out bool isSealed, out bool hasLeftovers)
    {
        proof = SegmentHeader.Bytes;
        hasLeftovers = false;
        SegmentWalk walk = new(segment, _end.Seq);
        while (!walk.IsSealed)
        {
            if (!walk.MoveNext())
            {
                // Always looked for, also behind a clean end: the first record after that may be the damaged one.
                long laterProof = Tail.FindProofBehind(segment, walk.Offset, out hasLeftovers);
                if (laterProof < 0)
                {
                    break;
                }

                if (!TryFindGap(segment, walk, laterProof, out Gap gap))
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
            }
        }

        isSealed = walk.IsSealed;
        if (isSealed)
        {
            proof = walk.CurrentOffset; // all groups had been flushed before the SEAL was written
            hasLeftovers = false;
            return walk.Offset;
        }

        long end = FindTornBody(segment, proof);
        hasLeftovers |= end < walk.Offset;
        return end;
    }

    private long FindTornBody(Segment segment, long proof)
    {
        SegmentWalk walk = new(segment, _end.Seq);
        int gaps = 0;
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
        if (Resync.TryFind(segment, First, _end.Seq, First, out _, out ulong missing))
        {
            if (_carried == 0)
            {
                _damage.Add(new DamagedRange(segment, First, First, "the numbers of the records jump"));
            }

            Count(missing);
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
}
