using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>One thing that happened to a relay recipient, as the log has it. Immutable.</summary>
/// <param name="TimeMicros">When it was appended, microseconds since 1970 UTC.</param>
/// <param name="Recipient">Which, or <see cref="QueueChange.AllRecipients"/>.</param>
/// <param name="State">The state from then on.</param>
/// <param name="DueMicros">When to try next, microseconds since 1970 UTC.</param>
/// <param name="Attempts">Attempts so far.</param>
/// <param name="IsDelayTold">The sender had been told that it takes longer.</param>
/// <param name="Text">The next hop and what it replied, UTF-8.</param>
/// <param name="ForwardPath">Where it goes instead from then on; empty when that did not change.</param>
/// <param name="Route">Where it was to go, and what decided that, UTF-8; empty when that is not known.</param>
/// <param name="Tls">How the connection was protected, UTF-8; empty when there was none, or that is not known.</param>
public sealed record QueueEvent(
    long TimeMicros, uint Recipient, QueueState State, long DueMicros, int Attempts, bool IsDelayTold,
    ReadOnlyMemory<byte> Text, ReadOnlyMemory<byte> ForwardPath, ReadOnlyMemory<byte> Route, ReadOnlyMemory<byte> Tls);

/// <summary>
/// Walks the changes of one message backwards: each names the record with the one before. Stateless; any thread.
/// </summary>
internal static class QueueTimeline
{
    public static bool TryRead(MaildropTable maildrops, SegmentList segments, ulong seq, List<QueueEvent> into)
    {
        if (!TryFind(maildrops, seq, out ulong lsn))
        {
            return false;
        }

        List<(ulong Origin, bool IsRepeated, QueueEvent Event)> found = [];
        byte[] meta = [];
        while (lsn != 0 && TryReadMeta(segments, lsn, ref meta, out RecordHeader header, out int length))
        {
            lsn = ReadRecord(meta.AsSpan(0, length), header, seq, found);
        }

        // What compaction has repeated is told once; by its first record, if that is still there.
        HashSet<(ulong, uint)> told = [];
        IEnumerable<QueueEvent> events = found
            .OrderBy(static f => f.IsRepeated)
            .Where(f => told.Add((f.Origin, f.Event.Recipient)) || !f.IsRepeated)
            .Select(static f => f.Event);
        into.AddRange(events.Reverse().OrderBy(static e => e.TimeMicros));
        return true;
    }

    /// <summary>Reads no further back than to the last change of each of these recipients.</summary>
    public static bool TryReadLast(
        MaildropTable maildrops, SegmentList segments, ulong seq, IReadOnlyList<uint> recipients, List<QueueEvent?> into)
    {
        if (!TryFind(maildrops, seq, out ulong lsn))
        {
            return false;
        }

        int first = into.Count;
        int left = recipients.Count;
        into.AddRange(Enumerable.Repeat<QueueEvent?>(null, left));
        List<(ulong Origin, bool IsRepeated, QueueEvent Event)> found = [];
        byte[] meta = [];
        while (left > 0 && lsn != 0 && TryReadMeta(segments, lsn, ref meta, out RecordHeader header, out int length))
        {
            found.Clear();
            lsn = ReadRecord(meta.AsSpan(0, length), header, seq, found);
            foreach ((_, _, QueueEvent happened) in found)
            {
                for (int i = 0; i < recipients.Count; i++)
                {
                    if (into[first + i] is null
                        && (happened.Recipient == recipients[i] || happened.Recipient == QueueChange.AllRecipients))
                    {
                        into[first + i] = happened;
                        left--;
                    }
                }
            }
        }

        return true;
    }

    private static bool TryFind(MaildropTable maildrops, ulong seq, out ulong lastChange)
    {
        lock (maildrops.Gate)
        {
            bool isFound = maildrops.Queue.TryFind(seq, out QueuedRecord message, out _);
            lastChange = isFound ? message.LastChange : 0;
            return isFound;
        }
    }

    /// <summary>Adds what a record says of the message, the last first; answers where the change before stands.</summary>
    private static ulong ReadRecord(
        ReadOnlySpan<byte> meta, in RecordHeader header, ulong seq, List<(ulong, bool, QueueEvent)> found)
    {
        int first = found.Count;
        ulong previous = 0;
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            if (reader.Type != MetaType.QueueChange || !StoredChange.TryRead(reader.Value, out StoredChange change)
                || change.Seq != seq)
            {
                continue;
            }

            // A second change in one record names this record as the one before.
            previous = change.Previous < header.Lsn ? Math.Max(previous, change.Previous) : previous;
            found.Add((
                change.Origin != 0 ? change.Origin : header.Lsn,
                change.Origin != 0,
                new QueueEvent(
                    change.TimeMicros != 0 ? change.TimeMicros : header.TimestampMicros, change.Recipient, change.State,
                    change.DueMicros, change.Attempts, change.IsDelayTold, change.Text.ToArray(),
                    change.ForwardPath.ToArray(), change.Route.ToArray(), change.Tls.ToArray())));
        }

        CollectionsMarshal.AsSpan(found)[first..].Reverse();
        return previous;
    }

    private static bool TryReadMeta(
        SegmentList segments, ulong lsn, ref byte[] meta, out RecordHeader header, out int length)
    {
        header = default;
        length = 0;
        Segment? segment = segments.Find(lsn);
        if (segment is null || !segment.TryRetain())
        {
            return false; // reclaimed
        }

        using (segment)
        {
            return RecordReader.TryReadMeta(segment, lsn, ref meta, out header, out length);
        }
    }
}
