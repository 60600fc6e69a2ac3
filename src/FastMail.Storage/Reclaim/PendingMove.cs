using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// The MOVE record behind which the records of a cold segment count: with it their originals become garbage, at once
/// and for everyone. Made by the <see cref="Compaction"/>, which waits for it; applied by the appender.
/// </summary>
internal sealed class PendingMove(
    Segment cold, List<MovedRecord> records, Dictionary<ulong, List<MovedEntry>> entries)
    : OwnAppend(RecordType.Move, MoveMeta.WriteMovedTo(cold.BaseLsn))
{
    private readonly bool[] _isLive = new bool[records.Count];

    internal override void Apply(MaildropTable maildrops)
    {
        ReadOnlySpan<MovedRecord> all = CollectionsMarshal.AsSpan(records);
        foreach ((ulong mailboxId, List<MovedEntry> moved) in entries)
        {
            maildrops.Move(mailboxId, CollectionsMarshal.AsSpan(moved), all, _isLive);
        }

        for (int i = 0; i < all.Length; i++)
        {
            if (all[i].IsRelayed && maildrops.Queue.TryMove(all[i].Seq, all[i].From, all[i].To))
            {
                _isLive[i] = true;
            }

            if (_isLive[i])
            {
                maildrops.Liveness.Move(all[i].From, all[i].To, all[i].Bytes);
                maildrops.Bodies.Move(all[i].From, all[i].To);
            }
        }

        cold.Life.BornBytes = cold.Life.Bytes;
        cold.Life.AwaitsMove = false;
    }
}

/// <summary>
/// The MOVE record that says which segments are no longer needed: durable before the first of their files goes. Made by
/// the reclaimer, which waits for it.
/// </summary>
internal sealed class PendingRetirement(IReadOnlyList<Segment> segments)
    : OwnAppend(RecordType.Move, MoveMeta.WriteRetired(segments))
{
    internal override void Apply(MaildropTable maildrops)
    {
        foreach (Segment segment in segments)
        {
            segment.Life.IsRetired = true;
            if (!segment.IsCold)
            {
                maildrops.Liveness.RetiredBelow = Math.Max(maildrops.Liveness.RetiredBelow, segment.EndLsn);
            }
        }
    }
}
