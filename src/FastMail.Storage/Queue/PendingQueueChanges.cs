namespace FastMail.Storage;

/// <summary>
/// Changes of the queue on their way into the log, any number of them in one QSTATE record. Pooled: rented from the log
/// (<see cref="MailLog.RentQueueChanges"/>), filled by one thread, owned by the log while it is appended, returned by the
/// observer's side. Nobody has to wait for it: an outcome that is lost is an attempt that is made again.
/// </summary>
public sealed class PendingQueueChanges : PendingAppend
{
    private const int MostBytes = 64 * 1024;
    private const int FirstBytes = 4 * 1024;
    private const int MostFieldBytes = MetaReader.FieldHeaderBytes + StoredChange.MostBytes;

    private byte[] _record = GC.AllocateUninitializedArray<byte>(FirstBytes, pinned: true);
    private RecordHeader _header;
    private int _used; // header and meta
    private bool _hasEnd;
    private bool _isAppended;

    internal PendingQueueChanges()
    {
        Reset();
    }

    /// <summary>Changes so far.</summary>
    public int Count { get; private set; }

    /// <summary>No other goes in.</summary>
    public bool IsFull => _used + MostFieldBytes > MostBytes;

    /// <summary>
    /// Set before the record is appended: it goes with the next message into the log, at the latest after 2 ms. A crash
    /// before that costs what a crash before the flush costs: the attempts are made again.
    /// </summary>
    public bool CanWait { get; set; }

    /// <inheritdoc/>
    public override long Bytes => RecordHeader.TotalFor(_used - RecordHeader.Bytes);

    internal override bool IsPatient => CanWait;

    internal override bool IsReady => Count > 0 && !_isAppended;

    /// <summary>What ends leads to space; what is deferred does not.</summary>
    internal override bool MayUseReserve => _hasEnd;

    /// <summary>
    /// Adds a change, whose text and path are copied. One of a recipient that has ended meanwhile, or of a message that
    /// is not in the queue, says nothing and does no harm.
    /// </summary>
    /// <exception cref="InvalidOperationException">It is full, or was appended.</exception>
    /// <exception cref="ArgumentException">The path is too long, or the change names no message.</exception>
    public void Add(in QueueChange change)
    {
        ArgumentOutOfRangeException.ThrowIfZero(change.Seq, nameof(change));
        if (_isAppended || IsFull)
        {
            throw new InvalidOperationException("no more changes go into a record that is full or was appended");
        }

        StoredChange stored = StoredChange.Of(change);
        int needed = _used + MetaReader.FieldHeaderBytes + stored.Bytes + RecordHeader.Alignment;
        if (needed > _record.Length)
        {
            byte[] longer = GC.AllocateUninitializedArray<byte>(
                Math.Min(MostBytes + RecordHeader.Alignment, Math.Max(needed, _record.Length * 2)), pinned: true);
            _record.AsSpan(0, _used).CopyTo(longer);
            _record = longer;
        }

        _used += QueueFields.Write(_record.AsSpan(_used), stored);
        _hasEnd |= change.State.IsEnd();
        Count++;
    }

    /// <summary>For a record that was refused: it may be appended once more, as it is.</summary>
    /// <exception cref="InvalidOperationException">It was not refused.</exception>
    public void Renew()
    {
        if (Outcome != AppendOutcome.NoSpace)
        {
            throw new InvalidOperationException("only what the log had no room for is appended again");
        }

        ResetAppend();
    }

    internal void Reset()
    {
        _used = RecordHeader.Bytes;
        _hasEnd = false;
        CanWait = false;
        Count = 0;
        ResetAppend();
    }

    private void ResetAppend()
    {
        _isAppended = false;
        ResetClaim();
        Next = null;
        Owner = null;
        Outcome = AppendOutcome.Pending;
        Lsn = 0;
        Seq = 0;
    }

    internal override void Enqueued()
    {
        _isAppended = true;
    }

    internal override RecordHeader Stamp(in RecordStamp stamp, MaildropTable maildrops, VectorList vectors)
    {
        Lsn = stamp.Lsn;
        Seq = stamp.Seq;
        Span<byte> meta = _record.AsSpan(RecordHeader.Bytes, _used - RecordHeader.Bytes);
        QueueFields.Link(meta, Lsn, maildrops);
        _header = new RecordHeader
        {
            Type = RecordType.QueueState,
            Lsn = stamp.Lsn,
            Seq = stamp.Seq,
            TimestampMicros = stamp.TimestampMicros,
            MetaBytes = (uint)meta.Length,
            MetaCrc = Crc32C.Extend(0, meta),
            TotalBytes = (uint)Bytes,
        };
        _record.AsSpan(_used, (int)Bytes - _used).Clear();
        _header.Write(_record, stamp.Salt);
        vectors.Add(_record, 0, (int)Bytes);
        return _header;
    }

    internal override void Apply(MaildropTable maildrops)
    {
        _ = QueueFields.Apply(_record.AsSpan(RecordHeader.Bytes, _used - RecordHeader.Bytes), Lsn, maildrops);
    }
}

/// <summary>
/// Idle <see cref="PendingQueueChanges"/>, so that outcomes allocate nothing. Owned by the <see cref="MailLog"/>; any
/// thread.
/// </summary>
internal sealed class QueueChangesPool
{
    private const int Kept = 64; // each may have grown to 64 KiB

    private readonly Stack<PendingQueueChanges> _kept = new(Kept);
    private readonly Lock _gate = new();

    public PendingQueueChanges Rent()
    {
        lock (_gate)
        {
            return _kept.TryPop(out PendingQueueChanges? changes) ? changes : new PendingQueueChanges();
        }
    }

    public void Return(PendingQueueChanges changes)
    {
        changes.Reset();
        lock (_gate)
        {
            if (_kept.Count < Kept)
            {
                _kept.Push(changes);
            }
        }
    }
}
