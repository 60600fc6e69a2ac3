namespace FastMail.Storage;

/// <summary>
/// The record that says that a checkpoint was made. Made by the checkpointer and the log's own: nobody waits for it.
/// The index does not need it; what it proves is how much of the log's beginning may have been dropped since.
/// </summary>
internal sealed class PendingCheckpoint : PendingAppend
{
    private readonly byte[] _record;
    private RecordHeader _header;
    private bool _isAppended;

    public PendingCheckpoint(in CheckpointMeta meta)
    {
        _header = new RecordHeader
        {
            Type = RecordType.Checkpoint,
            MetaBytes = CheckpointMeta.Bytes,
            TotalBytes = (uint)RecordHeader.TotalFor(CheckpointMeta.Bytes),
        };
        _record = GC.AllocateArray<byte>((int)_header.TotalBytes, pinned: true);
        meta.Write(_record.AsSpan(RecordHeader.Bytes));
        _header.MetaCrc = Crc32C.Extend(0, _record.AsSpan(RecordHeader.Bytes, CheckpointMeta.Bytes));
    }

    public override long Bytes => _header.TotalBytes;

    internal override bool IsReady => !_isAppended;

    internal override bool MayUseReserve => false;

    internal override bool IsOwn => true;

    internal override void Enqueued()
    {
        _isAppended = true;
    }

    internal override RecordHeader Stamp(in RecordStamp stamp, MaildropTable maildrops, VectorList vectors)
    {
        _header.Lsn = stamp.Lsn;
        _header.Seq = stamp.Seq;
        _header.TimestampMicros = stamp.TimestampMicros;
        _header.Write(_record, stamp.Salt);
        vectors.Add(_record, 0, _record.Length);
        return _header;
    }

    internal override void Apply(MaildropTable maildrops)
    {
    }
}
