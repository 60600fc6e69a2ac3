namespace FastMail.Storage;

/// <summary>
/// The right to read one message of the queue: while it is held its octets stay where they are, though the message may
/// end or be moved. Owned by whoever takes it, one delivery after the other: it allocates nothing. One thread at a time;
/// slices of the message must not be touched after <see cref="Dispose"/>.
/// </summary>
public sealed class QueueLease : IDisposable
{
    private Segment? _held;

    /// <summary>Address of the record.</summary>
    public ulong Lsn { get; private set; }

    /// <summary>
    /// The message, verified now. One that is <see cref="ReadStatus.External"/> has its body in a file of its own, see
    /// <see cref="MailLog.TryOpenBody"/>.
    /// </summary>
    public ReadStatus TryRead(out StoredMessage message)
    {
        return RecordReader.TryRead(_held, Lsn, out message);
    }

    /// <summary>Ends it; it may be taken again. A second time does nothing.</summary>
    public void Dispose()
    {
        _held?.Dispose();
        _held = null;
    }

    /// <summary>False, and nothing is held, when the message is not in the queue.</summary>
    internal bool TryTake(MaildropTable maildrops, SegmentList segments, ulong seq)
    {
        Dispose();
        // Under the lock: whoever punches out or drops what has ended sees this reader, or it is not found any more.
        lock (maildrops.Gate)
        {
            if (maildrops.Queue.LsnOf(seq) is { } lsn && segments.Find(lsn) is { } segment && segment.TryRetain())
            {
                _held = segment;
                Lsn = lsn;
            }
        }

        return _held is not null;
    }

    /// <summary>Copies the meta alone, verified; the buffer grows when it must.</summary>
    internal bool TryReadMeta(ref byte[] buffer, out int length)
    {
        return RecordReader.TryReadMeta(_held, Lsn, ref buffer, out _, out length);
    }
}
