namespace FastMail.Storage;

/// <summary>
/// Removes the files of segments in which nothing is live, and copies that never came to count. Hot ones go in order
/// from the oldest only, so that the log stays a fold from its first segment on: a removal never goes before the message
/// it removed. Owned by the <see cref="Reclaimer"/>, used on its thread.
/// </summary>
/// <param name="scene">What it works with.</param>
/// <param name="reuse">Makes spares of them; null when all are removed.</param>
internal sealed class Retirement(ReclaimScene scene, SegmentReuse? reuse)
{
    private string? _unused; // name of a file

    /// <summary>
    /// A file could not be removed for certain. No more is removed then: the proof that its segment was retired must
    /// not go before the file. The next start tries again.
    /// </summary>
    public bool IsHalted { get; set; }

    /// <summary>A copy that does not count waits to be removed; as long as it does, nothing else is, and none is made.</summary>
    public bool HasUnused => _unused is not null;

    /// <summary>Removes a copy that does not count: now, or as soon as nobody needs the files as they are.</summary>
    public void RemoveUnused(string name)
    {
        _unused = name;
        TryRemoveUnused();
    }

    /// <summary>Removes what can be removed.</summary>
    /// <param name="neededLsn">Recovery may begin there: hot segments that reach beyond are kept.</param>
    /// <param name="progress">What was removed is added to it.</param>
    public void Run(ulong neededLsn, ref CompactProgress progress)
    {
        TryRemoveUnused();
        if (IsHalted || HasUnused)
        {
            return;
        }

        // Cold ones first: then fewer removals need to be kept for their sake.
        Remove(DeadCold(), ref progress);
        Remove(DeadHot(neededLsn), ref progress);
    }

    private void TryRemoveUnused()
    {
        if (_unused is null || IsHalted)
        {
            return;
        }

        int errno;
        lock (scene.Holds.Gate)
        {
            if (scene.Holds.IsHeld)
            {
                return; // a hold ends, and the next run comes by
            }

            errno = scene.Disk.Remove(Path.Join(scene.LogPath, _unused));
        }

        errno = errno != 0 ? errno : scene.Disk.SyncDirectory(scene.LogPath);
        if (errno != 0)
        {
            IsHalted = true;
            scene.Notice($"{_unused} could not be removed: {Errno.Text(errno)}; the next start tries again");
        }

        _unused = null;
    }

    private List<Segment> DeadCold()
    {
        List<Segment> dead = [];
        lock (scene.Maildrops.Gate)
        {
            foreach (Segment segment in scene.Segments.Cold)
            {
                if (segment.Life.Messages == 0)
                {
                    dead.Add(segment);
                }
            }
        }

        return dead;
    }

    private List<Segment> DeadHot(ulong neededLsn)
    {
        List<Segment> dead = [];
        lock (scene.Maildrops.Gate)
        {
            foreach (Segment segment in scene.Segments.Hot[..^1])
            {
                if (segment.Life.Messages != 0 || segment.EndLsn > neededLsn)
                {
                    break;
                }

                dead.Add(segment);
            }
        }

        return dead;
    }

    private void Remove(List<Segment> dead, ref CompactProgress progress)
    {
        if (dead.Count == 0 || IsHalted || scene.Holds.IsHeld || !TryCarry(dead)
            || scene.Append(new PendingRetirement(dead)) != AppendOutcome.Durable)
        {
            return;
        }

        int errno = 0;
        lock (scene.Holds.Gate)
        {
            if (scene.Holds.IsHeld)
            {
                return; // they come by again; to be retired twice does no harm
            }

            foreach (Segment segment in dead)
            {
                int removed = RemoveOrReuse(segment);
                errno = errno != 0 ? errno : removed;
                progress = progress with
                {
                    Segments = progress.Segments + 1,
                    FreedBytes = progress.FreedBytes + segment.Header.SegmentBytes,
                };
            }
        }

        errno = errno != 0 ? errno : scene.Disk.SyncDirectory(scene.LogPath);
        reuse?.Finish(isDurable: errno == 0);
        if (errno != 0)
        {
            IsHalted = true;
            scene.Notice($"segments could not be removed: {Errno.Text(errno)}; the next start tries again");
        }
    }

    /// <summary>Takes it out of the log; answers an errno.</summary>
    private int RemoveOrReuse(Segment segment)
    {
        FileUsage usage = default;
        bool isKnown = reuse is not null && segment.File.Usage(out usage) == 0;
        bool isClosed = scene.Segments.Retire(segment);
        return isKnown && isClosed && reuse!.TryTake(segment, usage) ? 0 : scene.Disk.Remove(segment.Path);
    }

    /// <summary>Writes once more what is said in them of messages that outlive these segments in a cold one.</summary>
    private bool TryCarry(List<Segment> dead)
    {
        foreach (Segment segment in dead.Where(s => s.Life.HasAimed))
        {
            try
            {
                if (!TryCarry(segment))
                {
                    return false;
                }
            }
            catch (IOException e)
            {
                scene.Notice($"{segment.Path} is kept: {e.Message}");
                return false;
            }
        }

        return true;
    }

    private bool TryCarry(Segment segment)
    {
        List<OwnAppend> carried = [];
        QueueCarry queue = new(scene.Segments, scene.Maildrops);
        SegmentScan scan = new(segment, 0, isSeqKnown: false);
        while (scan.MoveNext() && scan.Current.Type != RecordType.Seal)
        {
            if (scan.Current.Type == RecordType.Expunge && IsNeeded(PendingExpunge.ReadCold(scan.CurrentMeta)))
            {
                carried.Add(new CarriedExpunge(scan.CurrentMeta));
            }
            else if (scan.Current.Type is RecordType.QueueState or RecordType.Message && !segment.IsCold)
            {
                queue.KeepOf(scan.Current, scan.CurrentMeta);
            }
        }

        carried.AddRange(queue.Complete());
        return scene.AppendAll(carried);
    }

    private bool IsNeeded(in ColdRange aim)
    {
        foreach (Segment segment in scene.Segments.Cold)
        {
            if (aim.Includes(segment))
            {
                return true;
            }
        }

        return false;
    }
}
