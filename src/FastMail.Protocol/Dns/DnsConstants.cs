namespace FastMail.Protocol.Dns;

/// <summary>Types of resource records (RFC 1035 3.2.2 and the registry behind it).</summary>
public enum DnsType
{
    None = 0,
    A = 1,
    Cname = 5,
    Soa = 6,
    Ptr = 12,
    Mx = 15,
    Txt = 16,
    Aaaa = 28,
    Opt = 41,
    Tlsa = 52,
}

/// <summary>Response codes (RFC 1035 4.1.1) that are told apart; there are more.</summary>
public enum DnsCode
{
    NoError = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoSuchName = 3,
    NotImplemented = 4,
    Refused = 5,
}

/// <summary>Where in a message a record stands (RFC 1035 4.1).</summary>
public enum DnsSection
{
    Answer,
    Authority,
    Additional,
}
