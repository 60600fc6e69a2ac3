using System.Buffers.Binary;

namespace FastMail.Storage;

/// <content>What the appender does with it.</content>
public sealed partial class PendingMessage
{
    internal override void Enqueued()
    {
        _state = State.Appended;
    }

    internal override RecordHeader Stamp(in RecordStamp stamp, MaildropTable maildrops, VectorList vectors)
    {
        for (int i = 0; i < _localRecipients; i++)
        {
            _uids[i] = maildrops.NextUid(_mailboxes[i], i == 0 ? _leastUid : 0);
            _buffer.Patch(_uidPositions[i], _uids[i]);
        }

        // The number was free when the import looked, and somebody else's mail has taken it since.
        if (_leastUid >= _freeUid && _leastUid > 0 && _uids[0] != _leastUid && _uniqueIdPosition > 0)
        {
            HasLostUniqueId = true;
            _buffer.Patch(_uniqueIdPosition, "\0"u8);
        }

        Lsn = stamp.Lsn;
        Seq = stamp.Seq;
        _header.Lsn = stamp.Lsn;
        _header.Seq = stamp.Seq;
        _header.TimestampMicros = stamp.TimestampMicros;
        LinkChanges(maildrops);
        _header.MetaCrc = _buffer.Crc(RecordHeader.Bytes, (long)_header.MetaBytes + _header.TraceBytes);
        _header.Write(_buffer.First, stamp.Salt);
        _buffer.AddTo(vectors);
        return _header;
    }

    private void LinkChanges(MaildropTable maildrops)
    {
        if (_changeCount == 0)
        {
            return;
        }

        Span<byte> links = stackalloc byte[StoredChange.LinkBytes];
        lock (maildrops.Gate)
        {
            foreach (long position in _changes.AsSpan(0, _changeCount))
            {
                _buffer.Copy(position, links);
                QueueFields.Link(links, Seq, Lsn, maildrops);
                _buffer.Patch(position, links);
            }
        }
    }

    internal override void Apply(MaildropTable maildrops)
    {
        maildrops.Liveness.Enter(
            _header.Lsn, MaildropEntry.RecordBytesOf(_header), References);
        for (int i = 0; i < _localRecipients; i++)
        {
            maildrops.Add(_mailboxes[i], new MaildropEntry(_uids[i], _header));
        }

        if (_body is not null)
        {
            maildrops.Bodies.Add(Lsn, _body.Id, References);
        }

        if (_relayRecipients > 0)
        {
            _ = maildrops.Queue.TryEnter(_header, (int)_relayRecipients);
        }

        if (_changeCount > 0)
        {
            ApplyChanges(maildrops);
        }
    }

    private void ApplyChanges(MaildropTable maildrops)
    {
        Span<byte> fieldHeader = stackalloc byte[MetaReader.FieldHeaderBytes];
        Span<byte> value = stackalloc byte[StoredChange.MostBytes];
        foreach (long position in _changes.AsSpan(0, _changeCount))
        {
            _buffer.Copy(position - fieldHeader.Length, fieldHeader);
            int length = BinaryPrimitives.ReadUInt16LittleEndian(fieldHeader[sizeof(ushort)..]);
            _buffer.Copy(position, value[..length]);
            if (StoredChange.TryRead(value[..length], out StoredChange change))
            {
                maildrops.Queue.Apply(change, Lsn);
            }
        }
    }

    /// <summary>What takes the written message out of its maildrops and out of the queue again.</summary>
    internal IEnumerable<PendingAppend> Unwinding()
    {
        if (_relayRecipients > 0)
        {
            yield return OwnQueueChanges.Cancelling(Seq);
        }

        for (int i = 0; i < _localRecipients; i++)
        {
            yield return PendingExpunge.Unwinding(_mailboxes[i], _uids[i]);
        }
    }
}
