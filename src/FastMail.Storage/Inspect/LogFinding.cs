using System.Buffers.Binary;
using System.Text;

namespace FastMail.Storage;

/// <summary>
/// What an inspection came across: a <see cref="LogRecord"/> or a <see cref="LogProblem"/>. Immutable; whoever got it
/// may keep it.
/// </summary>
public abstract class LogFinding
{
    private protected LogFinding(string path, long offset, ulong lsn)
    {
        Path = path;
        Offset = offset;
        Lsn = lsn;
    }

    /// <summary>The segment file, or the body file.</summary>
    public string Path { get; }

    /// <summary>Octets from the start of the file.</summary>
    public long Offset { get; }

    /// <summary>The same place as an address of the log.</summary>
    public ulong Lsn { get; }
}

/// <summary>What is wrong with a range of the log.</summary>
public enum LogProblemKind
{
    /// <summary>A segment file is not there.</summary>
    MissingSegment,

    /// <summary>The header page of a segment is damaged or belongs elsewhere; its records cannot be checked.</summary>
    SegmentHeader,

    /// <summary>A segment file is shorter or longer than it was made.</summary>
    SegmentLength,

    /// <summary>A range that holds no valid record header, though durable records stood there.</summary>
    Header,

    /// <summary>The envelope or the trace fields of a record fail their CRC.</summary>
    Meta,

    /// <summary>The body of a message fails its CRC, or its body file is missing.</summary>
    Body,

    /// <summary>The octets that fill up a record are not 0: no mail is hit, but the medium decays.</summary>
    Padding,

    /// <summary>Records are missing without any trace of them.</summary>
    Sequence,

    /// <summary>A full segment has no SEAL at its end, or one that disagrees with its records.</summary>
    Seal,

    /// <summary>A record is intact and says what cannot be.</summary>
    Content,

    /// <summary>The log ends before the place that a checkpoint of the index proves to have been durable.</summary>
    MissingEnd,

    /// <summary>
    /// Left over behind the last durable record by a crash and never acknowledged: no damage; the next start of the
    /// server cuts it.
    /// </summary>
    TornTail,

    /// <summary>
    /// A body file that no message names, left over by a crash: no damage; the next start of the server removes it.
    /// </summary>
    UnusedBody,
}

/// <summary>Something wrong in the log. Immutable.</summary>
public sealed class LogProblem : LogFinding
{
    internal LogProblem(string path, long offset, ulong lsn, LogProblemKind kind, long bytes, string text)
        : base(path, offset, lsn)
    {
        Kind = kind;
        Bytes = bytes;
        Text = text;
    }

    /// <summary>What is wrong.</summary>
    public LogProblemKind Kind { get; }

    /// <summary>Length of the range, octets; 0 where something is missing.</summary>
    public long Bytes { get; }

    /// <summary>For people: what was found, in one line.</summary>
    public string Text { get; }

    /// <summary>Records that are known to have been there and cannot be read.</summary>
    public ulong MissingRecords { get; internal init; }

    /// <summary>The record whose body looks punched out; null for every other problem.</summary>
    internal LogRecord? Hole { get; init; }

    /// <summary>True unless it is what any crash may leave.</summary>
    public bool IsDamage => Kind is not (LogProblemKind.TornTail or LogProblemKind.UnusedBody);
}

/// <summary>A recipient of a message record. A value.</summary>
/// <param name="Address">As the envelope has it.</param>
/// <param name="MailboxId">Whose maildrop; null for a relay recipient.</param>
/// <param name="Uid">Unique-id in that maildrop; null for a relay recipient.</param>
public readonly record struct LogRecipient(string Address, ulong? MailboxId, ulong? Uid);

/// <summary>A change of the queue as a record has it. Immutable.</summary>
/// <param name="Seq">Number of the message's record.</param>
/// <param name="Recipient">Which relay recipient, or <see cref="QueueChange.AllRecipients"/>.</param>
/// <param name="State">The state from then on.</param>
/// <param name="DueMicros">When to try next, microseconds since 1970 UTC.</param>
/// <param name="Attempts">Attempts so far.</param>
/// <param name="IsDelayTold">The sender had been told that it takes longer.</param>
/// <param name="Text">The next hop and what it replied.</param>
/// <param name="ForwardPath">Where it goes instead; empty when that did not change.</param>
/// <param name="Route">Where it was to go, and what decided that; empty when that is not known.</param>
/// <param name="Tls">How the connection was protected; empty when there was none, or that is not known.</param>
/// <param name="PreviousLsn">Address of the record with the change before; 0 when there is none.</param>
/// <param name="OriginLsn">Address of the record that this one repeats; 0 when it repeats none.</param>
public sealed record LoggedQueueChange(
    ulong Seq, uint Recipient, QueueState State, long DueMicros, int Attempts, bool IsDelayTold, string Text,
    string ForwardPath, string Route, string Tls, ulong PreviousLsn, ulong OriginLsn);

/// <summary>A record whose header and meta are intact. Immutable; its meta is a copy.</summary>
public sealed class LogRecord : LogFinding
{
    private readonly RecordHeader _header;
    private readonly byte[] _meta;

    internal LogRecord(string path, long offset, in RecordHeader header, ReadOnlySpan<byte> meta)
        : base(path, offset, header.Lsn)
    {
        _header = header;
        _meta = meta.ToArray(); // the mapping ends before the reader may be done with this
    }

    /// <summary>What it is.</summary>
    public RecordType Type => _header.Type;

    /// <summary>Number of the record.</summary>
    public ulong Seq => _header.Seq;

    /// <summary>When it was appended, microseconds since 1970 UTC.</summary>
    public long TimestampMicros => _header.TimestampMicros;

    /// <summary>Octets of the whole record.</summary>
    public long Bytes => _header.TotalBytes;

    /// <summary>Octets of the trace fields in wire form.</summary>
    public long TraceBytes => _header.TraceBytes;

    /// <summary>Octets of the body in wire form.</summary>
    public long BodyBytes => _header.BodyBytes;

    /// <summary>Size of a message as POP3 tells it (RFC 1939 11).</summary>
    public uint Octets => _header.Octets;

    /// <summary>Flags of a message; none for other records.</summary>
    public MessageFlags MessageFlags => Type == RecordType.Message ? (MessageFlags)_header.Flags : MessageFlags.None;

    /// <summary>A GROUP record right behind which the log was closed in order.</summary>
    public bool IsCleanEnd => Type == RecordType.Group && (_header.Flags & RecordHeader.CleanFlag) != 0;

    /// <summary>The meta fields; read them with <see cref="MetaReader"/>.</summary>
    public ReadOnlyMemory<byte> Meta => _meta;

    internal ref readonly RecordHeader Header => ref _header;

    /// <summary>A text field of the meta; null when there is none.</summary>
    public string? ReadText(MetaType type)
    {
        MetaReader reader = new(_meta);
        while (reader.Read())
        {
            if (reader.Type == type)
            {
                return Encoding.UTF8.GetString(reader.Value);
            }
        }

        return null;
    }

    /// <summary>The file that holds the body of a message; null when the record holds it.</summary>
    public BodyReference? Body =>
        _header.HasExternalBody && BodyReference.TryFind(_meta, out BodyReference body) ? body : null;

    /// <summary>The recipients of a message, in order; those with a malformed field are left out.</summary>
    public List<LogRecipient> ReadRecipients()
    {
        List<LogRecipient> recipients = [];
        MetaReader reader = new(_meta);
        while (reader.Read())
        {
            ReadOnlySpan<byte> value = reader.Value;
            if (reader.Type == MetaType.LocalRecipient && value.Length >= sizeof(ulong) * 2)
            {
                ulong mailboxId = BinaryPrimitives.ReadUInt64LittleEndian(value);
                ulong uid = BinaryPrimitives.ReadUInt64LittleEndian(value[sizeof(ulong)..]);
                recipients.Add(new(Encoding.UTF8.GetString(value[(sizeof(ulong) * 2)..]), mailboxId, uid));
            }
            else if (reader.Type == MetaType.RelayRecipient && value.Length >= sizeof(uint))
            {
                recipients.Add(new(Encoding.UTF8.GetString(value[sizeof(uint)..]), null, null));
            }
        }

        return recipients;
    }

    /// <summary>
    /// Adds the changes of the queue in a QSTATE record, or in that of a message; false when one of them does not have
    /// its shape.
    /// </summary>
    public bool ReadQueueChanges(List<LoggedQueueChange> changes)
    {
        bool isWhole = true;
        MetaReader reader = new(_meta);
        while (reader.Read())
        {
            if (reader.Type != MetaType.QueueChange)
            {
                continue;
            }

            isWhole &= StoredChange.TryRead(reader.Value, out StoredChange change);
            if (isWhole)
            {
                changes.Add(new LoggedQueueChange(
                    change.Seq, change.Recipient, change.State, change.DueMicros, change.Attempts, change.IsDelayTold,
                    Encoding.UTF8.GetString(change.Text), Encoding.UTF8.GetString(change.ForwardPath),
                    Encoding.UTF8.GetString(change.Route), Encoding.UTF8.GetString(change.Tls), change.Previous,
                    change.Origin));
            }
        }

        return isWhole;
    }

    /// <summary>What an EXPUNGE record removes; false for other records and for a malformed one.</summary>
    public bool TryReadExpunge(out ulong mailboxId, out ExpungeReason reason, List<UidRange> ranges)
    {
        mailboxId = 0;
        reason = 0;
        if (Type != RecordType.Expunge || !PendingExpunge.TryRead(_meta, out mailboxId, ranges))
        {
            return false;
        }

        MetaReader reader = new(_meta);
        while (reader.Read())
        {
            if (reader.Type == MetaType.Expunge && reader.Value.Length >= sizeof(ulong) + sizeof(ushort))
            {
                reason = (ExpungeReason)BinaryPrimitives.ReadUInt16LittleEndian(reader.Value[sizeof(ulong)..]);
            }
        }

        return true;
    }

    /// <summary>What a GROUP record says; false for other records and for a malformed one.</summary>
    public bool TryReadGroup(out GroupMeta group)
    {
        group = default;
        return Type == RecordType.Group && GroupMeta.TryRead(_meta, out group);
    }
}
