using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>
/// Types of the meta fields of a record. The numbers are on disk and never change. Reserved: 21 message-id,
/// 22 idempotency key. What is said of one recipient follows that recipient's field.
/// </summary>
public enum MetaType : ushort
{
    /// <summary>The reverse-path without angle brackets; empty for the null reverse-path.</summary>
    ReversePath = 1,

    /// <summary>mailboxId u64, uid u64, address.</summary>
    LocalRecipient = 2,

    /// <summary>queue index u32, address.</summary>
    RelayRecipient = 3,

    /// <summary>returnPathBytes u32: length of the Return-Path field at the start of the trace.</summary>
    TraceFacts = 4,

    /// <summary>u32: trace and header section in wire form, with the empty line that ends it.</summary>
    HeaderWireBytes = 5,

    /// <summary>Name of the transaction, ASCII.</summary>
    TransactionId = 6,

    /// <summary>Address of the client, ASCII.</summary>
    ClientAddress = 7,

    /// <summary>Argument of EHLO or HELO.</summary>
    Helo = 8,

    /// <summary>Who authenticated.</summary>
    AuthIdentity = 9,

    /// <summary>mailboxId u64, reason u16 (of an EXPUNGE record).</summary>
    Expunge = 10,

    /// <summary>Up to 4,095 times first uid u64, count u64, ascending (of an EXPUNGE record).</summary>
    ExpungeRanges = 11,

    /// <summary>id u64, length u64: the file that holds the body (of a message with an external body).</summary>
    BodyFile = 12,

    /// <summary>Base address u64 of the cold segment whose records replace their originals (of a MOVE record).</summary>
    MovedTo = 13,

    /// <summary>
    /// Up to 4,095 times base u64, end u64: segments that hold nothing live any more (of a MOVE record).
    /// </summary>
    Retired = 14,

    /// <summary>
    /// lowest u64, highest u64: base addresses of the cold segments in which the expunged messages lie (of an EXPUNGE
    /// record; absent when none does).
    /// </summary>
    ExpungeCold = 15,

    /// <summary>ORCPT of the recipient before it, as it was given (RFC 3461 4.2).</summary>
    OriginalRecipient = 16,

    /// <summary>NOTIFY of the recipient before it, u8: 1 success, 2 failure, 4 delay, 8 never.</summary>
    Notify = 17,

    /// <summary>ENVID as it was given, in xtext (RFC 3461 4.4).</summary>
    EnvelopeId = 18,

    /// <summary>RET, u8: 1 full, 2 headers.</summary>
    Return = 19,

    /// <summary>Version and cipher suite of the TLS session the message came over, ASCII; absent in the clear.</summary>
    Tls = 20,

    /// <summary>
    /// The unique-id that an imported message brought along, ASCII; one that begins with NUL does not count.
    /// </summary>
    UniqueId = 23,

    /// <summary>BY: the deadline in microseconds since 1970 UTC i64, then u8: 1 return, 2 trace.</summary>
    DeliverBy = 24,

    /// <summary>MT-PRIORITY, i8, -9 to 9.</summary>
    Priority = 25,

    /// <summary>AUTH of MAIL as it was given, in xtext: a claim (RFC 4954 5).</summary>
    AuthMailbox = 26,

    /// <summary>Nothing: room that header fields added at the end did not need.</summary>
    Padding = 27,

    /// <summary>REQUIRETLS was given (RFC 8689); no value.</summary>
    RequireTls = 28,

    /// <summary>When an imported message first arrived somewhere, microseconds since 1970 UTC i64.</summary>
    Arrival = 29,

    /// <summary>
    /// What became of a relay recipient of some message, see <see cref="QueueChange"/> (of a QSTATE record, or of a
    /// message that was written together with it).
    /// </summary>
    QueueChange = 30,

    /// <summary>
    /// HOLDFOR or HOLDUNTIL (RFC 4865): when it may be delivered at the earliest, microseconds since 1970 UTC i64, then
    /// the seconds of HOLDFOR u32, 0 for HOLDUNTIL, then the value as it was given, ASCII, which may be missing.
    /// </summary>
    FutureRelease = 31,

    /// <summary>
    /// The relay recipient before it has the message in a maildrop of this server: all that it waits for is that the
    /// sender is told so (RFC 3461 4.1). Empty, or when the message arrived if that was in another record, microseconds
    /// since 1970 UTC i64.
    /// </summary>
    Stored = 32,

    /// <summary>
    /// A maildrop of this server that the relay recipient before it means, by the address of its account, UTF-8; one
    /// field for each, one behind the other. Absent where that is to be seen when its time has come.
    /// </summary>
    Maildrop = 33,
}

/// <summary>
/// Walks the meta fields of a record: <c>type u16, length u16, value</c>. A view over the record's bytes; dies with
/// them.
/// </summary>
public ref struct MetaReader
{
    /// <summary>Octets in front of each value.</summary>
    public const int FieldHeaderBytes = 4;

    private ReadOnlySpan<byte> _rest;

    /// <summary>Begins at the first field.</summary>
    public MetaReader(ReadOnlySpan<byte> meta)
    {
        _rest = meta;
        Type = default;
        Value = default;
    }

    /// <summary>Type of the field just read.</summary>
    public MetaType Type { get; private set; }

    /// <summary>Value of the field just read.</summary>
    public ReadOnlySpan<byte> Value { get; private set; }

    /// <summary>True when there was another field; false at the end, and at a field that overruns the meta.</summary>
    public bool Read()
    {
        if (_rest.Length < FieldHeaderBytes)
        {
            return false;
        }

        int length = BinaryPrimitives.ReadUInt16LittleEndian(_rest[2..]);
        if (_rest.Length - FieldHeaderBytes < length)
        {
            return false;
        }

        Type = (MetaType)BinaryPrimitives.ReadUInt16LittleEndian(_rest);
        Value = _rest.Slice(FieldHeaderBytes, length);
        _rest = _rest[(FieldHeaderBytes + length)..];
        return true;
    }

    /// <summary>Writes the four octets in front of a value.</summary>
    internal static void WriteFieldHeader(Span<byte> destination, MetaType type, int length)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(destination, (ushort)type);
        BinaryPrimitives.WriteUInt16LittleEndian(destination[2..], checked((ushort)length));
    }
}
