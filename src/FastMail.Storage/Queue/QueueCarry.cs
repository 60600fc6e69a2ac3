namespace FastMail.Storage;

/// <summary>
/// Repeats what the log says of relay recipients before the records that said so go, or cannot be relied on any more
/// because the message gets a copy in a cold segment that outlives them. Made and used by the reclaimer for one run.
/// </summary>
/// <remarks>
/// Without a checkpoint the queue is found again from the messages that are there and the changes behind them. A message
/// in the hot log goes before every change of it, so these need no care. A copy in a cold segment stays while the log
/// goes on: as long as it exists, the log must say of each of its relay recipients what was said last.
/// </remarks>
internal sealed class QueueCarry(SegmentList segments, MaildropTable maildrops)
{
    private const int MostBytes = 64 * 1024;

    private readonly List<OwnAppend> _records = [];
    private readonly List<Repeated> _repeated = [];
    private readonly byte[] _meta = new byte[MostBytes];
    private int _used;
    private ulong _readLsn; // of what _read holds
    private byte[] _read = [];
    private int _readLength;
    private RecordHeader _readHeader;

    /// <summary>A message is about to count in that cold segment.</summary>
    public void KeepFor(ulong seq, in ColdRange cold)
    {
        bool isQueued;
        lock (maildrops.Gate)
        {
            isQueued = maildrops.Queue.TryFind(seq, out _, out ReadOnlySpan<RecipientRecord> recipients);
            for (int i = 0; i < recipients.Length; i++)
            {
                if (recipients[i].Place != 0)
                {
                    _repeated.Add(new Repeated((uint)i, recipients[i], maildrops.Queue.PathOf(seq, (uint)i)));
                }
            }
        }

        if (!isQueued)
        {
            Add(new StoredChange
            {
                Seq = seq,
                Recipient = QueueChange.AllRecipients,
                State = QueueState.Ended,
                Cold = cold,
            });
        }

        AddRepeated(seq, cold);
    }

    /// <summary>The record goes with its segment: what of it is still needed is kept.</summary>
    public void KeepOf(in RecordHeader header, ReadOnlySpan<byte> meta)
    {
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            if (reader.Type == MetaType.QueueChange && StoredChange.TryRead(reader.Value, out StoredChange change)
                && !change.Cold.IsEmpty)
            {
                Keep(header, change);
            }
        }
    }

    /// <summary>The records to be appended.</summary>
    public List<OwnAppend> Complete()
    {
        if (_used > 0)
        {
            _records.Add(new OwnQueueChanges(_meta.AsSpan(0, _used)));
            _used = 0;
        }

        return _records;
    }

    private void Keep(in RecordHeader header, in StoredChange change)
    {
        bool isQueued;
        lock (maildrops.Gate)
        {
            isQueued = maildrops.Queue.TryFind(change.Seq, out _, out ReadOnlySpan<RecipientRecord> recipients);
            for (int i = 0; i < recipients.Length; i++)
            {
                // Else a later record says so again, or says something newer; but that need not say to whom the
                // recipient was redirected before.
                bool isMeant = change.Recipient == (uint)i || change.Recipient == QueueChange.AllRecipients;
                if (isMeant && (recipients[i].Place == header.Lsn || !change.ForwardPath.IsEmpty))
                {
                    byte[] path = maildrops.Queue.PathOf(change.Seq, (uint)i);
                    _repeated.Add(new Repeated((uint)i, recipients[i], path));
                }
            }
        }

        if (!isQueued && change.State.IsEnd() && IsNeeded(change.Cold))
        {
            StoredChange again = change;
            again.Previous = 0;
            again.Origin = change.Origin != 0 ? change.Origin : header.Lsn;
            again.TimeMicros = change.TimeMicros != 0 ? change.TimeMicros : header.TimestampMicros;
            Add(again);
        }

        AddRepeated(change.Seq, change.Cold);
    }

    private bool IsNeeded(in ColdRange aim)
    {
        foreach (Segment segment in segments.Cold)
        {
            if (aim.Includes(segment))
            {
                return true;
            }
        }

        return false;
    }

    private void AddRepeated(ulong seq, in ColdRange cold)
    {
        foreach (Repeated repeated in _repeated)
        {
            RecipientRecord recipient = repeated.State;
            StoredChange said = Find(seq, repeated.Recipient, recipient.Place);
            Add(new StoredChange
            {
                Seq = seq,
                Recipient = repeated.Recipient,
                Cold = cold,
                Origin = recipient.Origin,
                TimeMicros = said.TimeMicros != 0 ? said.TimeMicros : _readHeader.TimestampMicros,
                DueMicros = recipient.DueMicros,
                Attempts = recipient.Attempts,
                State = recipient.State,
                IsDelayTold = (recipient.Flags & RecipientRecord.DelayTold) != 0,
                ForwardPath = repeated.Path,
                Route = said.Route,
                Tls = said.Tls,
                Text = said.Text,
            });
        }

        _repeated.Clear();
    }

    /// <summary>The change as it stands in the log: of what is in memory it has the words too. Empty when damaged.</summary>
    private StoredChange Find(ulong seq, uint recipient, ulong lsn)
    {
        if (lsn != _readLsn)
        {
            _readLsn = lsn;
            if (!RecordReader.TryReadMeta(segments.Find(lsn), lsn, ref _read, out _readHeader, out _readLength))
            {
                _readLength = 0;
            }
        }

        StoredChange found = default;
        MetaReader reader = new(_read.AsSpan(0, _readLength));
        while (reader.Read())
        {
            if (reader.Type == MetaType.QueueChange && StoredChange.TryRead(reader.Value, out StoredChange change)
                && change.Seq == seq && (change.Recipient == recipient || change.Recipient == QueueChange.AllRecipients))
            {
                found = change; // the last one counts
            }
        }

        return found;
    }

    private void Add(in StoredChange change)
    {
        if (_used + MetaReader.FieldHeaderBytes + change.Bytes > MostBytes)
        {
            _ = Complete();
        }

        _used += QueueFields.Write(_meta.AsSpan(_used), change);
    }

    private readonly record struct Repeated(uint Recipient, RecipientRecord State, byte[] Path);
}
