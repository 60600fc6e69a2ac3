using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// A record that the log writes for itself, of a header and meta alone. Made by the reclaimer, which waits for it;
/// owned by the appender meanwhile. It may be written into the reserve, because it leads to space.
/// </summary>
internal abstract class OwnAppend : PendingAppend
{
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly byte[] _record;
    private RecordHeader _header;
    private bool _isAppended;

    protected OwnAppend(RecordType type, ReadOnlySpan<byte> meta)
    {
        _header = new RecordHeader
        {
            Type = type,
            MetaBytes = (uint)meta.Length,
            TotalBytes = checked((uint)RecordHeader.TotalFor(meta.Length)),
        };
        _record = GC.AllocateArray<byte>((int)_header.TotalBytes, pinned: true);
        meta.CopyTo(_record.AsSpan(RecordHeader.Bytes));
    }

    public override long Bytes => _header.TotalBytes;

    internal override bool IsReady => !_isAppended;

    internal override bool IsOwn => true;

    internal override bool MayUseReserve => true;

    /// <summary>May be changed until it has been written.</summary>
    protected Span<byte> Meta => _record.AsSpan(RecordHeader.Bytes, (int)_header.MetaBytes);

    /// <summary>Waits until it is durable and applied, or will never be.</summary>
    public AppendOutcome Wait()
    {
        _ended.Task.Wait();
        return Outcome;
    }

    internal override void Enqueued()
    {
        _isAppended = true;
    }

    internal override void Ended()
    {
        _ended.SetResult();
    }

    internal override RecordHeader Stamp(in RecordStamp stamp, MaildropTable maildrops, VectorList vectors)
    {
        Lsn = stamp.Lsn;
        Seq = stamp.Seq;
        _header.Lsn = stamp.Lsn;
        _header.Seq = stamp.Seq;
        _header.TimestampMicros = stamp.TimestampMicros;
        _header.MetaCrc = Crc32C.Extend(0, Meta);
        _header.Write(_record, stamp.Salt);
        vectors.Add(_record, 0, _record.Length);
        return _header;
    }
}

/// <summary>
/// A PAD record: when it has ended, everything that was appended before it has been applied. Owned by the reclaimer.
/// </summary>
/// <param name="endsSegment">It begins a new segment, so that the one before can be reclaimed.</param>
internal sealed class PendingMark(bool endsSegment = false) : OwnAppend(RecordType.Pad, [])
{
    internal override bool EndsSegment => endsSegment;

    internal override void Apply(MaildropTable maildrops)
    {
    }
}

/// <summary>
/// An EXPUNGE written once more, because the segment it stood in goes before the cold copies of its messages. Owned by
/// the reclaimer.
/// </summary>
internal sealed class CarriedExpunge(ReadOnlySpan<byte> meta) : OwnAppend(RecordType.Expunge, meta)
{
    /// <summary>A removal that has been in effect already.</summary>
    public static CarriedExpunge Of(ulong mailboxId, List<ulong> uids, in ColdRange cold)
    {
        PendingExpunge expunge = new(mailboxId, CollectionsMarshal.AsSpan(uids), ExpungeReason.Operator);
        expunge.AimAt(cold);
        return new CarriedExpunge(expunge.Meta);
    }

    internal override void Apply(MaildropTable maildrops)
    {
        maildrops.NoteColdExpunge(Lsn); // its messages have long left the index
    }
}
