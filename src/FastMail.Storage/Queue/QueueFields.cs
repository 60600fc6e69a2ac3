using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>
/// The changes of the queue in the meta of a record: written, linked and folded in. Stateless; the caller owns the
/// memory.
/// </summary>
internal static class QueueFields
{
    /// <summary>Writes a whole field; answers its length.</summary>
    public static int Write(Span<byte> meta, in StoredChange change)
    {
        MetaReader.WriteFieldHeader(meta, MetaType.QueueChange, change.Bytes);
        change.Write(meta[MetaReader.FieldHeaderBytes..]);
        return MetaReader.FieldHeaderBytes + change.Bytes;
    }

    /// <summary>
    /// Links every change in the meta of a record that is about to be written at that address. Appender only; takes the
    /// lock of the maildrops.
    /// </summary>
    public static void Link(Span<byte> meta, ulong lsn, MaildropTable maildrops)
    {
        lock (maildrops.Gate)
        {
            for (int at = 0; at < meta.Length;)
            {
                int length = BinaryPrimitives.ReadUInt16LittleEndian(meta[(at + sizeof(ushort))..]);
                Link(meta.Slice(at + MetaReader.FieldHeaderBytes, length), 0, lsn, maildrops);
                at += MetaReader.FieldHeaderBytes + length;
            }
        }
    }

    /// <summary>Links the start of one change. The caller holds the lock of the maildrops.</summary>
    /// <param name="value">At least <see cref="StoredChange.LinkBytes"/>.</param>
    /// <param name="own">Number of the record, if that is a message.</param>
    /// <param name="lsn">Its address.</param>
    /// <param name="maildrops">The index.</param>
    public static void Link(Span<byte> value, ulong own, ulong lsn, MaildropTable maildrops)
    {
        ulong seq = BinaryPrimitives.ReadUInt64LittleEndian(value);
        if (seq == 0)
        {
            StoredChange.PatchLinks(value, own, 0, default);
        }
        else if (maildrops.Queue.TryLink(seq, lsn, maildrops.Moving, out ulong previous, out ColdRange cold))
        {
            StoredChange.PatchLinks(value, seq, previous, cold);
        }
    }

    /// <summary>
    /// Folds in every change of a record that stands at that address. The caller holds the lock of the maildrops.
    /// </summary>
    /// <returns>False when one of them does not have its shape.</returns>
    public static bool Apply(ReadOnlySpan<byte> meta, ulong lsn, MaildropTable maildrops)
    {
        bool isWhole = true;
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            if (reader.Type != MetaType.QueueChange)
            {
                continue;
            }

            if (StoredChange.TryRead(reader.Value, out StoredChange change))
            {
                maildrops.Queue.Apply(change, lsn);
            }
            else
            {
                isWhole = false;
            }
        }

        return isWhole;
    }
}
