using System.Buffers.Binary;

namespace FastMail.Protocol.Dns;

/// <summary>How a question ended.</summary>
public enum DnsOutcome
{
    /// <summary>There are records.</summary>
    Found,

    /// <summary>There is no such name, or nothing of that type at it.</summary>
    Absent,

    /// <summary>Nobody knows: no answer in time, a failing server, or an answer that is none.</summary>
    Failed,
}

/// <summary>What a response says to the question. Immutable; any thread.</summary>
public sealed class DnsAnswer
{
    private const int MaxRecords = 64; // of one answer; the rest is not kept
    private const int DefaultAbsentSeconds = 60; // where no SOA says how long a name stays absent
    private const int SoaNumbersBytes = 20;

    public static readonly DnsAnswer Failed = new(DnsOutcome.Failed, [], 0);

    private DnsAnswer(DnsOutcome outcome, IReadOnlyList<byte[]> data, int seconds)
    {
        Outcome = outcome;
        Data = data;
        Seconds = seconds;
    }

    public DnsOutcome Outcome { get; }

    /// <summary>The data of each record of the type asked for: four octets for A, sixteen for AAAA.</summary>
    public IReadOnlyList<byte[]> Data { get; }

    /// <summary>It may be remembered for so long.</summary>
    public int Seconds { get; }

    /// <summary>
    /// Reads what came for a question whose data holds no names (A, AAAA, TXT, TLSA), CNAMEs followed in the order in
    /// which they stand. Null when it is not the response to the question at all: then the right one may still come.
    /// </summary>
    public static DnsAnswer? Read(ReadOnlySpan<byte> message, ushort id, ReadOnlySpan<byte> name, DnsType type)
    {
        if (!DnsMessage.TryOpen(message, id, name, type, out var response))
        {
            return null;
        }
        if (response.IsTruncated || response.Code is not (DnsCode.NoError or DnsCode.NoSuchName))
        {
            return Failed;
        }
        List<byte[]> data = [];
        var seconds = int.MaxValue;
        var absentSeconds = DefaultAbsentSeconds;
        Span<byte> owner = stackalloc byte[DnsName.MaxBytes];
        Span<byte> wanted = stackalloc byte[DnsName.MaxBytes];
        name.CopyTo(wanted);
        var wantedLength = name.Length;
        while (response.TryRead(owner, out var ownerLength, out var record))
        {
            if (record is { Section: DnsSection.Authority, Type: DnsType.Soa, Data.Length: > SoaNumbersBytes })
            {
                // RFC 2308 5: the last number of the SOA, or its own lifetime if that is shorter.
                var least = BinaryPrimitives.ReadUInt32BigEndian(record.Data[^sizeof(uint)..]);
                absentSeconds = (int)Math.Min(least, (uint)record.Seconds);
            }
            if (record.Section != DnsSection.Answer || !owner[..ownerLength].SequenceEqual(wanted[..wantedLength]))
            {
                continue;
            }
            if (record.Type == type && HasRightLength(record) && data.Count < MaxRecords)
            {
                data.Add(record.Data.ToArray());
                seconds = Math.Min(seconds, record.Seconds);
            }
            else if (record.Type == DnsType.Cname)
            {
                if (!response.TryReadName(record.DataAt, wanted, out wantedLength, out _))
                {
                    return Failed;
                }
                seconds = Math.Min(seconds, record.Seconds);
            }
        }
        if (!response.IsAtEnd)
        {
            return Failed;
        }
        return data.Count > 0
            ? new DnsAnswer(DnsOutcome.Found, data, seconds)
            : new DnsAnswer(DnsOutcome.Absent, [], absentSeconds);
    }

    private static bool HasRightLength(in DnsRecord record) => record.Type switch
    {
        DnsType.A => record.Data.Length == 4,
        DnsType.Aaaa => record.Data.Length == 16,
        _ => true,
    };
}
