using System.Buffers.Binary;

namespace FastMail.Protocol.Dns;

/// <summary>
/// Reads one response (RFC 1035 4.1), from whomever it came: no octet is read that is not there, and each call moves
/// forward. A view of the message with a place in it; dies with the call that received it.
/// </summary>
public ref struct DnsMessage
{
    internal const int HeaderBytes = 12;

    private const int Internet = 1;

    private readonly ReadOnlySpan<byte> _message;
    private readonly int _flags;
    private readonly int _answers;
    private readonly int _authorities;
    private readonly int _records;
    private int _read;
    private int _at;

    private DnsMessage(ReadOnlySpan<byte> message, int at)
    {
        _message = message;
        _flags = BinaryPrimitives.ReadUInt16BigEndian(message[2..]);
        _answers = BinaryPrimitives.ReadUInt16BigEndian(message[6..]);
        _authorities = BinaryPrimitives.ReadUInt16BigEndian(message[8..]);
        _records = _answers + _authorities + BinaryPrimitives.ReadUInt16BigEndian(message[10..]);
        _at = at;
    }

    public readonly DnsCode Code => (DnsCode)(_flags & 0xf);

    /// <summary>There is more than a datagram takes (TC): what came is not the answer.</summary>
    public readonly bool IsTruncated => (_flags & 0x0200) != 0;

    /// <summary>The server says that it has proved everything by DNSSEC (AD); as good as the way to that server.</summary>
    public readonly bool IsAuthentic => (_flags & 0x0020) != 0;

    /// <summary>Opens the response to a question; false when it is anything else.</summary>
    /// <param name="message">What came.</param>
    /// <param name="id">Of the question.</param>
    /// <param name="name">Of the question, as <see cref="DnsName"/> wrote it.</param>
    /// <param name="type">Of the question.</param>
    /// <param name="response">At its first record.</param>
    public static bool TryOpen(
        ReadOnlySpan<byte> message, ushort id, ReadOnlySpan<byte> name, DnsType type, out DnsMessage response)
    {
        response = default;
        Span<byte> asked = stackalloc byte[DnsName.MaxBytes];
        var isResponse = message.Length >= HeaderBytes
            && BinaryPrimitives.ReadUInt16BigEndian(message) == id
            && (message[2] & 0xf8) == 0x80 // a response to a standard query
            && BinaryPrimitives.ReadUInt16BigEndian(message[4..]) == 1;
        if (!isResponse
            || !DnsName.TryRead(message, HeaderBytes, asked, out var length, out var next)
            || !asked[..length].SequenceEqual(name)
            || next + 4 > message.Length
            || BinaryPrimitives.ReadUInt16BigEndian(message[next..]) != (ushort)type
            || BinaryPrimitives.ReadUInt16BigEndian(message[(next + 2)..]) != Internet)
        {
            return false;
        }
        response = new DnsMessage(message, next + 4);
        return true;
    }

    /// <summary>The next record. False at the end, and at what is no record: see <see cref="IsAtEnd"/>.</summary>
    /// <param name="owner">At least <see cref="DnsName.MaxBytes"/>; takes the name that the record belongs to.</param>
    /// <param name="ownerLength">Octets of that name.</param>
    /// <param name="record">A view of the message.</param>
    public bool TryRead(scoped Span<byte> owner, out int ownerLength, out DnsRecord record)
    {
        record = default;
        ownerLength = 0;
        if (IsAtEnd
            || !DnsName.TryRead(_message, _at, owner, out ownerLength, out var next)
            || next + 10 > _message.Length)
        {
            return false;
        }
        var fields = _message[next..];
        var dataLength = BinaryPrimitives.ReadUInt16BigEndian(fields[8..]);
        var dataAt = next + 10;
        if (dataAt + dataLength > _message.Length)
        {
            return false;
        }
        var seconds = BinaryPrimitives.ReadInt32BigEndian(fields[4..]);
        var isInternet = BinaryPrimitives.ReadUInt16BigEndian(fields[2..]) == Internet;
        record = new DnsRecord
        {
            Section = _read < _answers ? DnsSection.Answer
                : _read < _answers + _authorities ? DnsSection.Authority : DnsSection.Additional,
            Type = isInternet ? (DnsType)BinaryPrimitives.ReadUInt16BigEndian(fields) : DnsType.None,
            Seconds = Math.Max(seconds, 0), // RFC 2181 8: a set top bit is 0
            DataAt = dataAt,
            Data = _message.Slice(dataAt, dataLength),
        };
        _at = dataAt + dataLength;
        _read++;
        return true;
    }

    /// <summary>All records that the header counts were read.</summary>
    public readonly bool IsAtEnd => _read == _records;

    /// <summary>A name inside a record's data, such as a CNAME's.</summary>
    /// <param name="at">Its place in the message, e.g. <see cref="DnsRecord.DataAt"/>.</param>
    /// <param name="name">At least <see cref="DnsName.MaxBytes"/>.</param>
    /// <param name="length">Octets of the name.</param>
    /// <param name="next">The place behind it.</param>
    public readonly bool TryReadName(int at, Span<byte> name, out int length, out int next) =>
        DnsName.TryRead(_message, at, name, out length, out next);
}

/// <summary>One resource record (RFC 1035 4.1.3), a view that dies with its message.</summary>
public readonly ref struct DnsRecord
{
    public DnsSection Section { get; init; }

    /// <summary><see cref="DnsType.None"/> outside the class IN.</summary>
    public DnsType Type { get; init; }

    /// <summary>It may be remembered for so long.</summary>
    public int Seconds { get; init; }

    /// <summary>Where <see cref="Data"/> begins in the message; names in it may point elsewhere.</summary>
    public int DataAt { get; init; }

    public ReadOnlySpan<byte> Data { get; init; }
}
