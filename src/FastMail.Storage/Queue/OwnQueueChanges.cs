namespace FastMail.Storage;

/// <summary>
/// A QSTATE record that the log writes for itself: the appender, to cancel a message that was given up, or the
/// reclaimer, to repeat what would go with a segment. Owned by whoever made it, by the appender meanwhile.
/// </summary>
internal sealed class OwnQueueChanges(ReadOnlySpan<byte> meta, bool isUnwinding = false)
    : OwnAppend(RecordType.QueueState, meta)
{
    /// <inheritdoc/>
    internal override bool IsUnwinding => isUnwinding;

    /// <summary>Takes every recipient of a message back that will be sent again.</summary>
    public static OwnQueueChanges Cancelling(ulong seq)
    {
        QueueChange change = new()
        {
            Seq = seq,
            Recipient = QueueChange.AllRecipients,
            State = QueueState.Cancelled,
            Text = "the disk took too long, and the client was told to come again"u8.ToArray(),
        };
        StoredChange stored = StoredChange.Of(change);
        byte[] meta = new byte[MetaReader.FieldHeaderBytes + stored.Bytes];
        _ = QueueFields.Write(meta, stored);
        return new OwnQueueChanges(meta, isUnwinding: true);
    }

    internal override RecordHeader Stamp(in RecordStamp stamp, MaildropTable maildrops, VectorList vectors)
    {
        QueueFields.Link(Meta, stamp.Lsn, maildrops);
        return base.Stamp(stamp, maildrops, vectors);
    }

    internal override void Apply(MaildropTable maildrops)
    {
        _ = QueueFields.Apply(Meta, Lsn, maildrops);
    }
}
