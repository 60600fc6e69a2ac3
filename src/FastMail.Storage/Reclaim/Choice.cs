namespace FastMail.Storage;

/// <summary>
/// Which segments are worth copying. Hot ones go in order from the oldest, so the oldest run of them counts that is more
/// than half dead as a whole: each octet copied frees at least another, and no live message at the start can keep the
/// dead behind it. Stateless; used on the reclaimer's thread, under the lock of the maildrops.
/// </summary>
internal static class Choice
{
    private const long ColdBytes = 64L * 1024 * 1024; // a run copies no more, so that its MOVE is applied in no time
    private const int SmallSegments = 8; // that many small cold segments are joined

    /// <summary>The next sources; none when nothing is worth it.</summary>
    /// <param name="segments">All.</param>
    /// <param name="deadRatio">What part must be dead.</param>
    /// <param name="newestMicros">Segments that were completed later are left alone.</param>
    /// <param name="nowMicros">Those from behind this are old: the clock was ahead.</param>
    public static Segment[] Next(SegmentList segments, double deadRatio, long newestMicros, long nowMicros)
    {
        Segment[] hot = Hot(segments.Hot, deadRatio, newestMicros, nowMicros);
        return hot.Length > 0 ? hot : Cold(segments.Cold, deadRatio, newestMicros, nowMicros);
    }

    private static bool IsResting(Segment segment, long newestMicros, long nowMicros)
    {
        return segment.Header.CreatedMicros > newestMicros && segment.Header.CreatedMicros <= nowMicros;
    }

    private static Segment[] Hot(ReadOnlySpan<Segment> hot, double deadRatio, long newestMicros, long nowMicros)
    {
        int start = 0;
        while (start < hot.Length && hot[start].Life.Messages == 0)
        {
            start++; // these only wait to be dropped
        }

        int end = start;
        long all = 0;
        long live = 0;
        for (int i = start; i < hot.Length - 1; i++)
        {
            // A segment was completed when its successor was made.
            if (hot[i].Life.IsUnreadable || IsResting(hot[i + 1], newestMicros, nowMicros))
            {
                break;
            }

            all += hot[i].Header.SegmentBytes;
            live += hot[i].Life.Bytes;
            end = all - live > deadRatio * all ? i + 1 : end;
        }

        return Take(hot[start..end]);
    }

    private static Segment[] Cold(ReadOnlySpan<Segment> cold, double deadRatio, long newestMicros, long nowMicros)
    {
        List<Segment> chosen = [];
        List<Segment> small = [];
        foreach (Segment segment in cold)
        {
            long live = segment.Life.Bytes;
            if (segment.Life.IsUnreadable || segment.Life.Messages == 0 || IsResting(segment, newestMicros, nowMicros))
            {
                continue;
            }

            if (DeadBytes(segment) > deadRatio * segment.Header.SegmentBytes)
            {
                chosen.Add(segment);
            }
            else if (live < ColdBytes / SmallSegments)
            {
                small.Add(segment);
            }
        }

        if (small.Count >= SmallSegments)
        {
            chosen.AddRange(small);
        }

        chosen.Sort(static (a, b) => a.BaseLsn.CompareTo(b.BaseLsn));
        return Take(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(chosen));
    }

    /// <summary>
    /// What a copy would be shorter. Not known to the octet after a restart, when long envelopes count as dead; so one
    /// that was just made says how much was live in it, or it would be copied for ever.
    /// </summary>
    private static long DeadBytes(Segment cold)
    {
        const long Overhead = 3 * SegmentHeader.Bytes; // header page, GROUP, SEAL, the rest of the last page
        long born = cold.Life.BornBytes;
        return born > 0 ? born - cold.Life.Bytes : cold.Header.SegmentBytes - Overhead - cold.Life.Bytes;
    }

    /// <summary>As many from the start as go into one cold segment; one in any case.</summary>
    private static Segment[] Take(ReadOnlySpan<Segment> segments)
    {
        int count = 0;
        long live = 0;
        foreach (Segment segment in segments)
        {
            live += segment.Life.Bytes;
            if (count > 0 && live > ColdBytes)
            {
                break;
            }

            count++;
        }

        return [.. segments[..count]];
    }
}
