using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>Whether a record could be read.</summary>
public enum ReadStatus
{
    /// <summary>It is intact.</summary>
    Ok,

    /// <summary>
    /// The record is intact; its body is in a file of its own, which has not been looked at.
    /// </summary>
    External,

    /// <summary>There is no durable message at that address.</summary>
    NotFound,

    /// <summary>Its checksum fails: these bytes are gone.</summary>
    Damaged,

    /// <summary>The disk cannot give it just now.</summary>
    Unavailable,
}

/// <summary>
/// A message whose checksums were just verified. A view of the segment's mapping, valid while the
/// <see cref="ReadLease"/> is held through which it was read; any thread.
/// </summary>
public readonly struct StoredMessage
{
    private readonly RecordHeader _header;

    internal StoredMessage(in RecordHeader header, ReadOnlyMemory<byte> record)
    {
        _header = header;
        Meta = record.Slice(RecordHeader.Bytes, (int)header.MetaBytes);
        uint bodyBytes = header.HasExternalBody ? 0 : header.BodyBytes;
        Wire = record.Slice(RecordHeader.Bytes + (int)header.MetaBytes, (int)(header.TraceBytes + bodyBytes));
        if (header.HasExternalBody)
        {
            _ = BodyReference.TryFind(Meta.Span, out BodyReference body);
            Body = body;
        }

        MetaReader reader = new(Meta.Span);
        while (reader.Read())
        {
            if (reader.Type is MetaType.TraceFacts or MetaType.HeaderWireBytes && reader.Value.Length >= sizeof(int))
            {
                uint value = BinaryPrimitives.ReadUInt32LittleEndian(reader.Value);
                if (reader.Type == MetaType.TraceFacts)
                {
                    ReturnPathBytes = (int)value;
                }
                else
                {
                    HeaderWireBytes = value;
                }
            }
        }
    }

    /// <summary>Address of the record.</summary>
    public ulong Lsn => _header.Lsn;

    /// <summary>Number of the record.</summary>
    public ulong Seq => _header.Seq;

    /// <summary>
    /// Trace fields and body in wire form, <c>CRLF.CRLF</c> at the end: what RETR sends after its +OK line. Of a message
    /// that was <see cref="ReadStatus.External"/> the trace fields only.
    /// </summary>
    public ReadOnlyMemory<byte> Wire { get; }

    /// <summary>The file with the body of a message that was <see cref="ReadStatus.External"/>.</summary>
    public BodyReference Body { get; }

    /// <summary>Octets of trace and body in wire form, wherever the body is.</summary>
    public long WireBytes => (long)_header.TraceBytes + _header.BodyBytes;

    /// <summary>CRC-32C of the body.</summary>
    internal uint BodyCrc => _header.BodyCrc;

    /// <summary>Octets of the Return-Path field at the start of <see cref="Wire"/>: relay begins behind it.</summary>
    public int ReturnPathBytes { get; }

    /// <summary>Octets of trace and header section in wire form, with the empty line that ends it.</summary>
    public long HeaderWireBytes { get; }

    /// <summary>Octets of the trace fields at the start of <see cref="Wire"/>.</summary>
    public int TraceBytes => (int)_header.TraceBytes;

    /// <summary>Size as POP3 tells it (RFC 1939 11).</summary>
    public uint Octets => _header.Octets;

    /// <summary>Flags of the message.</summary>
    public MessageFlags Flags => (MessageFlags)_header.Flags;

    /// <summary>When it was appended, microseconds since 1970 UTC; never less than that of an earlier record.</summary>
    public long TimestampMicros => _header.TimestampMicros;

    /// <summary>The envelope; read it with <see cref="MetaReader"/>.</summary>
    public ReadOnlyMemory<byte> Meta { get; }
}
