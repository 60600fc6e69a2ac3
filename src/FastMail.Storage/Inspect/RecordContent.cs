using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>Whether an intact record says what can be. Stateless but for what it is given; any thread.</summary>
internal static class RecordContent
{
    /// <summary>Null, or what is wrong; notes the unique-ids that a message takes.</summary>
    public static string? FaultOf(LogRecord record, ulong baseLsn, Dictionary<ulong, ulong> lastUids)
    {
        return record.Type switch
        {
            RecordType.Group when !record.TryReadGroup(out GroupMeta group) || group.DurableLsn > record.Lsn
                || group.DurableLsn < baseLsn => "a GROUP record has an impossible content",
            RecordType.Expunge when !record.TryReadExpunge(out _, out _, []) => "an EXPUNGE record names no mailbox",
            RecordType.Message when record.Header.HasExternalBody && record.Body is null =>
                "a message does not name its body file",
            RecordType.QueueState or RecordType.Message when !record.ReadQueueChanges([]) =>
                "a change of the queue does not have its shape",
            RecordType.Move when !MoveMeta.TryRead(record.Meta.Span, out _, []) => "a MOVE record says nothing",
            RecordType.Message => FaultOfRecipients(record.Meta.Span, lastUids),
            _ => null,
        };
    }

    private static string? FaultOfRecipients(ReadOnlySpan<byte> meta, Dictionary<ulong, ulong> lastUids)
    {
        string? fault = null;
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            if (reader.Type != MetaType.LocalRecipient)
            {
                continue;
            }

            if (reader.Value.Length < sizeof(ulong) * 2)
            {
                fault = "a local recipient is too short";
                continue;
            }

            ulong mailboxId = BinaryPrimitives.ReadUInt64LittleEndian(reader.Value);
            ulong uid = BinaryPrimitives.ReadUInt64LittleEndian(reader.Value[sizeof(ulong)..]);
            ulong last = lastUids.GetValueOrDefault(mailboxId);
            if (uid <= last)
            {
                fault = $"mailbox {mailboxId} has unique-id {uid} after {last}; they only ever ascend";
            }

            lastUids[mailboxId] = Math.Max(last, uid);
        }

        return fault;
    }
}
