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

/// <summary>Why nobody knows; what may be tried next depends on it.</summary>
public enum DnsFailure
{
    None,

    /// <summary>In time there was no answer, or too many questions were under way.</summary>
    NoAnswer,

    /// <summary>It does not fit into a datagram (TC): TCP may bring it.</summary>
    Truncated,

    /// <summary>The server does not understand the question (FORMERR, NOTIMP): without EDNS0 it may.</summary>
    NotUnderstood,

    /// <summary>SERVFAIL, REFUSED or a code that nobody knows: another server may do better.</summary>
    Refused,

    /// <summary>Octets that are no message, or a chain of names without an end.</summary>
    Broken,
}

/// <summary>What a response says to the question. Immutable; any thread.</summary>
public sealed class DnsAnswer
{
    /// <summary>Records kept of one answer; of more MX records the best, of more others the first.</summary>
    public const int MaxRecords = 64;

    private const int MaxAliases = 8; // CNAMEs in a row; resolvers give up at about as many
    private const int DefaultAbsentSeconds = 60; // where no SOA says how long a name stays absent
    private const int SoaNumbersBytes = 20;

    public static readonly DnsAnswer Failed = Failing(DnsFailure.NoAnswer);

    private static readonly DnsAnswer Truncated = Failing(DnsFailure.Truncated);
    private static readonly DnsAnswer NotUnderstood = Failing(DnsFailure.NotUnderstood);
    private static readonly DnsAnswer Refused = Failing(DnsFailure.Refused);
    private static readonly DnsAnswer Broken = Failing(DnsFailure.Broken);

    private DnsAnswer(DnsOutcome outcome, IReadOnlyList<byte[]> data, int seconds)
    {
        Outcome = outcome;
        Data = data;
        Seconds = seconds;
    }

    public DnsOutcome Outcome { get; private init; }

    public DnsFailure Failure { get; private init; }

    /// <summary>
    /// The data of each record of the type asked for: four octets for A, sixteen for AAAA. Names in it (MX, PTR) are
    /// written out and in lower case, as <see cref="DnsName"/> reads them.
    /// </summary>
    public IReadOnlyList<byte[]> Data { get; }

    /// <summary>It may be remembered for so long.</summary>
    public int Seconds { get; }

    /// <summary>There is no such name (NXDOMAIN), and not only nothing of that type at it.</summary>
    public bool IsNameAbsent { get; private init; }

    /// <summary>Proved by DNSSEC, says the server.</summary>
    public bool IsAuthentic { get; private init; }

    /// <summary>
    /// The name at the end of the CNAMEs, as <see cref="DnsName.TryGetHost"/> says it; null when there were none, or it is
    /// none of a host.
    /// </summary>
    public string? Alias { get; private init; }

    /// <summary>Octets of the data.</summary>
    public int DataBytes => Data.Sum(data => data.Length);

    /// <summary>The same from a server whose word is no proof.</summary>
    public DnsAnswer Unproven() => !IsAuthentic
        ? this
        : new DnsAnswer(Outcome, Data, Seconds) { Failure = Failure, IsNameAbsent = IsNameAbsent, Alias = Alias };

    /// <summary>
    /// Reads what came for a question, CNAMEs followed in whichever order they stand. Null when it is not the response to
    /// the question at all: then the right one may still come.
    /// </summary>
    public static DnsAnswer? Read(ReadOnlySpan<byte> message, ushort id, ReadOnlySpan<byte> name, DnsType type)
    {
        if (!DnsMessage.TryOpen(message, id, name, type, out var response))
        {
            return null;
        }
        if (response.IsTruncated)
        {
            return Truncated;
        }
        if (response.Code is not (DnsCode.NoError or DnsCode.NoSuchName))
        {
            return response.Code is DnsCode.FormatError or DnsCode.NotImplemented ? NotUnderstood : Refused;
        }
        Span<byte> wanted = stackalloc byte[DnsName.MaxBytes];
        name.CopyTo(wanted);
        var search = new Search(wanted, name.Length, type);
        for (var aliases = 0; aliases <= MaxAliases; aliases++)
        {
            if (!search.TryScan(response))
            {
                return Broken;
            }
            if (search.Data.Count > 0)
            {
                return new DnsAnswer(DnsOutcome.Found, search.Data, search.Seconds)
                {
                    IsAuthentic = response.IsAuthentic,
                    Alias = aliases > 0 && DnsName.TryGetHost(search.Name, out var alias) ? alias : null,
                };
            }
            if (!search.HasAlias)
            {
                return new DnsAnswer(DnsOutcome.Absent, [], search.AbsentSeconds)
                {
                    IsNameAbsent = response.Code == DnsCode.NoSuchName,
                    IsAuthentic = response.IsAuthentic,
                };
            }
        }
        return Broken;
    }

    private static DnsAnswer Failing(DnsFailure failure) => new(DnsOutcome.Failed, [], 0) { Failure = failure };

    /// <summary>The records of one name, or the name that it is an alias of. A view; dies with the reading.</summary>
    private ref struct Search
    {
        private readonly Span<byte> _wanted;
        private readonly DnsType _type;
        private int _wantedLength;

        public Search(Span<byte> wanted, int wantedLength, DnsType type)
        {
            _wanted = wanted;
            _wantedLength = wantedLength;
            _type = type;
        }

        /// <summary>The name that is looked for now.</summary>
        public ReadOnlySpan<byte> Name => _wanted[.._wantedLength];

        public List<byte[]> Data { get; } = [];

        public int Seconds { get; private set; } = int.MaxValue;

        public int AbsentSeconds { get; private set; } = DefaultAbsentSeconds;

        /// <summary>There were no records, and the name looked for is another one now.</summary>
        public bool HasAlias { get; private set; }

        /// <summary>One pass over the whole message; false when it is none.</summary>
        public bool TryScan(DnsMessage response)
        {
            HasAlias = false;
            Span<byte> owner = stackalloc byte[DnsName.MaxBytes];
            Span<byte> alias = stackalloc byte[DnsName.MaxBytes];
            var aliasLength = 0;
            var aliasSeconds = int.MaxValue;
            while (response.TryRead(owner, out var ownerLength, out var record))
            {
                if (record is { Section: DnsSection.Authority, Type: DnsType.Soa, Data.Length: > SoaNumbersBytes })
                {
                    // RFC 2308 5: the last number of the SOA, or its own lifetime if that is shorter.
                    var least = BinaryPrimitives.ReadUInt32BigEndian(record.Data[^sizeof(uint)..]);
                    AbsentSeconds = (int)Math.Min(least, (uint)record.Seconds);
                }
                if (record.Section != DnsSection.Answer
                    || !owner[..ownerLength].SequenceEqual(_wanted[.._wantedLength]))
                {
                    continue;
                }
                if (record.Type == _type)
                {
                    if (!TryAdd(response, record))
                    {
                        return false;
                    }
                }
                else if (record.Type == DnsType.Cname)
                {
                    if (!response.TryReadName(record.DataAt, alias, out aliasLength, out _))
                    {
                        return false;
                    }
                    aliasSeconds = record.Seconds;
                }
            }
            if (Data.Count == 0 && aliasLength > 0)
            {
                HasAlias = true;
                alias[..aliasLength].CopyTo(_wanted);
                _wantedLength = aliasLength;
                Seconds = Math.Min(Seconds, aliasSeconds);
            }
            return response.IsAtEnd;
        }

        private bool TryAdd(in DnsMessage response, in DnsRecord record)
        {
            var namesAt = _type switch { DnsType.Mx => 2, DnsType.Ptr => 0, _ => -1 };
            if (namesAt >= 0)
            {
                Span<byte> name = stackalloc byte[DnsName.MaxBytes];
                if (record.Data.Length <= namesAt
                    || !response.TryReadName(record.DataAt + namesAt, name, out var length, out _))
                {
                    return false;
                }
                Keep([.. record.Data[..namesAt], .. name[..length]], record.Seconds);
                return true;
            }
            if ((_type, record.Data.Length) is (DnsType.A, 4) or (DnsType.Aaaa, 16)
                || _type is not (DnsType.A or DnsType.Aaaa))
            {
                Keep(record.Data.ToArray(), record.Seconds);
            }
            return true;
        }

        private void Keep(byte[] data, int seconds)
        {
            Seconds = Math.Min(Seconds, seconds);
            if (Data.Count < MaxRecords)
            {
                Data.Add(data);
                return;
            }
            if (_type != DnsType.Mx)
            {
                return;
            }
            var worst = 0;
            for (var i = 1; i < Data.Count; i++)
            {
                worst = Preference(Data[i]) > Preference(Data[worst]) ? i : worst;
            }
            if (Preference(data) < Preference(Data[worst]))
            {
                Data[worst] = data;
            }
        }

        private static int Preference(byte[] data) => BinaryPrimitives.ReadUInt16BigEndian(data);
    }
}
