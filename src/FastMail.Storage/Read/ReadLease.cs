using System.Buffers.Text;
using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// The right to read some messages: while it is held their bytes stay where they are, whatever is expunged, moved or
/// removed meanwhile. Owned by whoever asked for it; any thread may read through it, one disposes it, last of all:
/// slices of messages must not be touched after that.
/// </summary>
public sealed class ReadLease : IDisposable
{
    private Segment[] _held;

    private ReadLease(Segment[] held)
    {
        _held = held;
    }

    /// <summary>
    /// The message at an address, verified now. Allocates nothing. <see cref="ReadStatus.NotFound"/> for an address
    /// that this lease does not cover.
    /// </summary>
    public ReadStatus TryRead(ulong lsn, out StoredMessage message)
    {
        return RecordReader.TryRead(SegmentList.Find(_held, lsn), lsn, out message);
    }

    /// <summary>Copies one field of a message's meta; see <see cref="RecordReader.TryReadMeta"/>.</summary>
    internal ReadStatus TryReadMeta(ulong lsn, MetaType type, Span<byte> destination, out int length)
    {
        return RecordReader.TryReadMeta(SegmentList.Find(_held, lsn), lsn, type, destination, out length);
    }

    /// <summary>Ends it. A second time does nothing.</summary>
    public void Dispose()
    {
        foreach (Segment segment in Interlocked.Exchange(ref _held, []))
        {
            segment.Dispose();
        }
    }

    /// <summary>A lease on one message; null when there is no such address.</summary>
    internal static ReadLease? Of(SegmentList segments, ulong lsn)
    {
        return segments.Find(lsn) is { } segment && segment.TryRetain() ? new ReadLease([segment]) : null;
    }

    /// <summary>
    /// A lease on the segments of a maildrop; null when one of them was retired after the snapshot had been taken.
    /// </summary>
    /// <param name="segments">The log's.</param>
    /// <param name="maildrop">What is to be read.</param>
    /// <param name="mayLack">
    /// The list has not changed since the snapshot was taken: what is not in it is lost, and reading says so.
    /// </param>
    internal static ReadLease? Of(SegmentList segments, MaildropSnapshot maildrop, bool mayLack)
    {
        List<Segment> held = [];
        Segment? last = null;
        for (int i = 0; i < maildrop.Count; i++)
        {
            ulong lsn = maildrop[i].Lsn;
            if (last is not null && lsn >= last.BaseLsn && lsn < last.EndLsn)
            {
                continue; // a maildrop is read in order of arrival, which is the order of the log
            }

            if (SegmentList.Find(CollectionsMarshal.AsSpan(held), lsn) is { } known)
            {
                last = known;
                continue;
            }

            if (segments.Find(lsn) is { } segment && segment.TryRetain())
            {
                int at = held.FindIndex(s => s.BaseLsn > segment.BaseLsn);
                held.Insert(at < 0 ? held.Count : at, segment);
                last = segment;
            }
            else if (!mayLack)
            {
                held.ForEach(static s => s.Dispose());
                return null;
            }
        }

        return new ReadLease([.. held]);
    }
}

/// <summary>
/// A maildrop as it was at one moment, and the right to read its messages. Owned by whoever opened it, who disposes it
/// when no slice of a message is in use any more; any thread may read through it.
/// </summary>
public sealed class OpenMaildrop : IDisposable
{
    private readonly ReadLease _lease;

    private OpenMaildrop(MaildropSnapshot snapshot, ReadLease lease)
    {
        Snapshot = snapshot;
        _lease = lease;
    }

    /// <summary>The messages.</summary>
    public MaildropSnapshot Snapshot { get; }

    /// <summary>Message <paramref name="index"/>, verified now. Allocates nothing.</summary>
    public ReadStatus TryRead(int index, out StoredMessage message)
    {
        return _lease.TryRead(Snapshot[index].Lsn, out message);
    }

    /// <summary>
    /// Writes the unique-id of a message, at most 70 octets: <c>uidvalidity.uid</c>, so that another store, or one that
    /// lost its counters, never repeats an id for other bytes; or the one that an imported message brought along, which
    /// costs a look at its record. False while the disk cannot give that: it has no other id meanwhile, which a client
    /// would take for another message.
    /// </summary>
    public bool TryWriteUniqueId(int index, Span<byte> destination, out int length)
    {
        ref readonly MaildropEntry entry = ref Snapshot[index];
        length = 0;
        if ((entry.Flags & MessageFlags.Imported) != 0
            && _lease.TryReadMeta(entry.Lsn, MetaType.UniqueId, destination, out length) == ReadStatus.Unavailable)
        {
            return false;
        }

        if (length == 0)
        {
            // Also when the id is damaged: such a message is still listed, and cannot be retrieved a second time.
            _ = Utf8Formatter.TryFormat(Snapshot.UidValidity, destination, out length, 'x');
            destination[length++] = (byte)'.';
            _ = Utf8Formatter.TryFormat(entry.Uid, destination[length..], out int uidLength);
            length += uidLength;
        }

        return true;
    }

    /// <summary>Ends it. A second time does nothing.</summary>
    public void Dispose()
    {
        _lease.Dispose();
    }

    internal static OpenMaildrop Open(SegmentList segments, MailLog log, MaildropTable maildrops, ulong mailboxId)
    {
        bool mayLack = false;
        while (true)
        {
            // A segment is retired only after the index has let go of it, so a newer snapshot does not name it.
            object version = segments.Version;
            int punches = Volatile.Read(ref maildrops.Punches);
            MaildropSnapshot snapshot = log.Snapshot(mailboxId);
            ReadLease? lease = ReadLease.Of(segments, snapshot, mayLack);
            if (lease is not null && punches == Volatile.Read(ref maildrops.Punches))
            {
                return new OpenMaildrop(snapshot, lease);
            }

            mayLack = lease is null && ReferenceEquals(version, segments.Version);
            lease?.Dispose();
        }
    }
}
