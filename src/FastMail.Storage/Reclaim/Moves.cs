using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>A message of a mailbox. A value.</summary>
internal readonly record struct MailboxUid(ulong MailboxId, ulong Uid)
{
    /// <summary>Reads the value of a local recipient's field; false when it is too short.</summary>
    public static bool TryRead(ReadOnlySpan<byte> field, out MailboxUid recipient)
    {
        recipient = default;
        if (field.Length < sizeof(ulong) * 2)
        {
            return false;
        }

        recipient = new(
            BinaryPrimitives.ReadUInt64LittleEndian(field), BinaryPrimitives.ReadUInt64LittleEndian(field[8..]));
        return true;
    }

    /// <summary>Adds the local recipients of a message; answers how many relay recipients it has.</summary>
    public static int ReadAll(ReadOnlySpan<byte> meta, List<MailboxUid> recipients)
    {
        int relayed = 0;
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            relayed += reader.Type == MetaType.RelayRecipient ? 1 : 0;
            if (reader.Type == MetaType.LocalRecipient && TryRead(reader.Value, out MailboxUid recipient))
            {
                recipients.Add(recipient);
            }
        }

        return relayed;
    }
}

/// <summary>A record that was copied to another place. A value.</summary>
/// <param name="From">Its address so far.</param>
/// <param name="To">Address of the copy.</param>
/// <param name="HeaderCrc">Of the copy.</param>
/// <param name="Bytes">Length, as <see cref="MaildropEntry.RecordBytes"/> tells it.</param>
/// <param name="Seq">Its number.</param>
/// <param name="IsRelayed">It has relay recipients, whatever became of them.</param>
internal readonly record struct MovedRecord(
    ulong From, ulong To, uint HeaderCrc, long Bytes, ulong Seq, bool IsRelayed);

/// <summary>A message of one mailbox that was copied. A value.</summary>
/// <param name="Uid">Which.</param>
/// <param name="Record">Its record, in the list of all that were copied.</param>
internal readonly record struct MovedEntry(ulong Uid, int Record);

/// <summary>
/// Segments whose live records are being copied: a removal of one of their messages may come too late for the copy.
/// A value.
/// </summary>
internal sealed record MoveUnderWay(Segment[] Sources, ulong ColdLsn)
{
    public bool Includes(ulong lsn)
    {
        return SegmentList.Find(Sources, lsn) is not null;
    }
}

/// <summary>
/// The lowest and highest base address of some cold segments; the default stands for none. A value.
/// </summary>
internal readonly record struct ColdRange(ulong Lowest, ulong Highest)
{
    public bool IsEmpty => Highest == 0;

    public ColdRange With(ulong baseLsn)
    {
        return IsEmpty ? new(baseLsn, baseLsn) : new(Math.Min(Lowest, baseLsn), Math.Max(Highest, baseLsn));
    }

    public bool Includes(Segment segment)
    {
        return !IsEmpty && segment.BaseLsn >= Lowest && segment.BaseLsn <= Highest;
    }
}
