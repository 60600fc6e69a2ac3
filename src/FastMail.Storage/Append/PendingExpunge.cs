using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>Why messages are removed. The numbers are on disk and never change.</summary>
public enum ExpungeReason : ushort
{
    /// <summary>QUIT of a POP3 session that had marked them (RFC 1939 6).</summary>
    Pop3Quit = 1,

    /// <summary>A rule of retention.</summary>
    Retention = 2,

    /// <summary>An operator.</summary>
    Operator = 3,

    /// <summary>
    /// The disk took too long, and the client was told to come again: the message may not be there twice.
    /// </summary>
    Unacknowledged = 4,
}

/// <summary>
/// The removal of messages from one maildrop, all or none: one record. Made by one producer thread, owned by the log
/// while it is appended. The unique-ids are kept as ranges in the meta, so the header's CRCs protect them and emptying
/// a maildrop costs 128 octets.
/// </summary>
public sealed class PendingExpunge : PendingAppend
{
    /// <summary>Octets of one range: first uid u64, count u64.</summary>
    internal const int RangeBytes = 16;

    private const int RangesPerField = 4095;

    private const int ColdBytes = MetaReader.FieldHeaderBytes + (2 * sizeof(ulong));

    private byte[] _record = [];
    private RecordHeader _header;
    private readonly bool _isOwn;
    private ColdRange _cold;
    private bool _isAppended;

    /// <summary>Unique-ids in any order; copied. Those not in the maildrop (any more) do no harm.</summary>
    public PendingExpunge(ulong mailboxId, ReadOnlySpan<ulong> uids, ExpungeReason reason)
        : this(mailboxId, uids, reason, isOwn: false)
    {
    }

    private PendingExpunge(ulong mailboxId, ReadOnlySpan<ulong> uids, ExpungeReason reason, bool isOwn)
    {
        _isOwn = isOwn;
        MailboxId = mailboxId;
        Reason = reason;
        Ranges = UidRange.Collect(uids);
        Build();
    }

    /// <summary>Whose maildrop.</summary>
    public ulong MailboxId { get; }

    /// <summary>Why.</summary>
    public ExpungeReason Reason { get; }

    /// <inheritdoc/>
    public override long Bytes => _header.TotalBytes;

    internal UidRange[] Ranges { get; }

    internal ReadOnlySpan<byte> Meta => _record.AsSpan(RecordHeader.Bytes, (int)_header.MetaBytes);

    internal override bool IsReady => !_isAppended;

    internal override bool MayUseReserve => true;

    internal override bool IsOwn => _isOwn;

    internal override bool IsUnwinding => _isOwn;

    /// <summary>Made by the appender for a message that was given up while its group was under way.</summary>
    internal static PendingExpunge Unwinding(ulong mailboxId, ulong uid)
    {
        return new PendingExpunge(mailboxId, [uid], ExpungeReason.Unacknowledged, isOwn: true) { _isAppended = true };
    }

    /// <summary>Reads an EXPUNGE record's meta; false when it does not have its shape.</summary>
    internal static bool TryRead(ReadOnlySpan<byte> meta, out ulong mailboxId, List<UidRange> ranges)
    {
        mailboxId = 0;
        bool hasMailbox = false;
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            ReadOnlySpan<byte> value = reader.Value;
            if (reader.Type == MetaType.Expunge && value.Length >= sizeof(ulong))
            {
                mailboxId = BinaryPrimitives.ReadUInt64LittleEndian(value);
                hasMailbox = true;
            }
            else if (reader.Type == MetaType.ExpungeRanges)
            {
                for (; value.Length >= RangeBytes; value = value[RangeBytes..])
                {
                    ranges.Add(UidRange.Read(value));
                }
            }
        }

        return hasMailbox;
    }

    /// <summary>Reads what <see cref="AimAt"/> wrote; empty when the record says nothing of the kind.</summary>
    internal static ColdRange ReadCold(ReadOnlySpan<byte> meta)
    {
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            if (reader.Type == MetaType.ExpungeCold && reader.Value.Length >= 2 * sizeof(ulong))
            {
                return new ColdRange(
                    BinaryPrimitives.ReadUInt64LittleEndian(reader.Value),
                    BinaryPrimitives.ReadUInt64LittleEndian(reader.Value[sizeof(ulong)..]));
            }
        }

        return default;
    }

    /// <summary>
    /// Copies of the messages lie in these cold segments too: the removal must be kept as long as one of them exists.
    /// Before it is appended.
    /// </summary>
    internal void AimAt(in ColdRange cold)
    {
        if (!cold.IsEmpty)
        {
            _cold = cold;
            Build();
        }
    }

    internal override void Enqueued()
    {
        _isAppended = true;
    }

    internal override int Prepare(MaildropTable maildrops)
    {
        return maildrops.PrepareRemoval(MailboxId);
    }

    internal override RecordHeader Stamp(in RecordStamp stamp, MaildropTable maildrops, VectorList vectors)
    {
        Lsn = stamp.Lsn;
        Seq = stamp.Seq;
        _header.Lsn = stamp.Lsn;
        _header.Seq = stamp.Seq;
        _header.TimestampMicros = stamp.TimestampMicros;
        _header.Write(_record, stamp.Salt);
        vectors.Add(_record, 0, _record.Length);
        return _header;
    }

    internal override void Apply(MaildropTable maildrops)
    {
        maildrops.Remove(MailboxId, Ranges);
        if (!_cold.IsEmpty)
        {
            maildrops.NoteColdExpunge(Lsn);
        }
    }

    private void Build()
    {
        int fields = (Ranges.Length + RangesPerField - 1) / RangesPerField;
        int metaBytes = MetaReader.FieldHeaderBytes + sizeof(ulong) + sizeof(ushort)
            + (fields * MetaReader.FieldHeaderBytes) + (Ranges.Length * RangeBytes) + (_cold.IsEmpty ? 0 : ColdBytes);
        _header = new RecordHeader
        {
            Type = RecordType.Expunge,
            MetaBytes = (uint)metaBytes,
            TotalBytes = checked((uint)RecordHeader.TotalFor(metaBytes)),
        };
        _record = GC.AllocateArray<byte>((int)_header.TotalBytes, pinned: true);
        WriteMeta(_record.AsSpan(RecordHeader.Bytes));
        _header.MetaCrc = Crc32C.Extend(0, _record.AsSpan(RecordHeader.Bytes, metaBytes));
    }

    private void WriteMeta(Span<byte> meta)
    {
        MetaReader.WriteFieldHeader(meta, MetaType.Expunge, sizeof(ulong) + sizeof(ushort));
        meta = meta[MetaReader.FieldHeaderBytes..];
        BinaryPrimitives.WriteUInt64LittleEndian(meta, MailboxId);
        BinaryPrimitives.WriteUInt16LittleEndian(meta[sizeof(ulong)..], (ushort)Reason);
        meta = meta[(sizeof(ulong) + sizeof(ushort))..];
        for (int first = 0; first < Ranges.Length; first += RangesPerField)
        {
            ReadOnlySpan<UidRange> part = Ranges.AsSpan(first, Math.Min(RangesPerField, Ranges.Length - first));
            MetaReader.WriteFieldHeader(meta, MetaType.ExpungeRanges, part.Length * RangeBytes);
            meta = meta[MetaReader.FieldHeaderBytes..];
            foreach (UidRange range in part)
            {
                range.Write(meta);
                meta = meta[RangeBytes..];
            }
        }

        if (!_cold.IsEmpty)
        {
            MetaReader.WriteFieldHeader(meta, MetaType.ExpungeCold, 2 * sizeof(ulong));
            BinaryPrimitives.WriteUInt64LittleEndian(meta[MetaReader.FieldHeaderBytes..], _cold.Lowest);
            BinaryPrimitives.WriteUInt64LittleEndian(
                meta[(MetaReader.FieldHeaderBytes + sizeof(ulong))..], _cold.Highest);
        }
    }
}

/// <summary>Consecutive unique-ids. A value.</summary>
/// <param name="First">The lowest.</param>
/// <param name="Count">How many.</param>
public readonly record struct UidRange(ulong First, ulong Count)
{
    /// <summary>The same unique-ids, ascending, as few ranges as possible.</summary>
    internal static UidRange[] Collect(ReadOnlySpan<ulong> uids)
    {
        ulong[] sorted = uids.ToArray();
        Array.Sort(sorted);
        List<UidRange> ranges = [];
        foreach (ulong uid in sorted)
        {
            if (ranges.Count > 0 && uid < ranges[^1].First + ranges[^1].Count)
            {
                continue; // named twice
            }

            if (ranges.Count > 0 && uid == ranges[^1].First + ranges[^1].Count)
            {
                ranges[^1] = ranges[^1] with { Count = ranges[^1].Count + 1 };
            }
            else
            {
                ranges.Add(new UidRange(uid, 1));
            }
        }

        return [.. ranges];
    }

    internal static UidRange Read(ReadOnlySpan<byte> source)
    {
        return new UidRange(
            BinaryPrimitives.ReadUInt64LittleEndian(source), BinaryPrimitives.ReadUInt64LittleEndian(source[8..]));
    }

    internal void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, First);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], Count);
    }
}
