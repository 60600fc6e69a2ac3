using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Smtp.Client;

/// <summary>How sessions with one destination behave; shared by all of them and never changed.</summary>
public sealed record SmtpClientOptions
{
    /// <summary>Our name in EHLO, ASCII, at most 255 octets: a domain or an address literal.</summary>
    public required ReadOnlyMemory<byte> Hostname { get; init; }

    /// <summary>The host speaks LMTP (RFC 2033).</summary>
    public bool IsLmtp { get; init; }

    /// <summary>None where the connection can do no TLS; what TLS comes before the greeting is not its matter.</summary>
    public TlsPolicy Tls { get; init; } = TlsPolicy.May;

    /// <summary>Who we are to the host; without AUTH no transaction begins then. Null: it is not asked.</summary>
    public ClientCredentials? Credentials { get; init; }

    /// <summary>PLAIN and LOGIN outside TLS: on loopback, or where the operator says so by name.</summary>
    public bool AllowsCleartextAuth { get; init; }

    /// <summary>Makes the client's nonces of SCRAM.</summary>
    public ServerNonce Nonce { get; init; } = SaslExchange.RandomNonce;

    /// <summary>
    /// Content goes by BDAT where the host takes it, it is short and few of its lines are stuffed: without waiting for 354.
    /// </summary>
    public bool UsesChunking { get; init; } = true;

    /// <summary>Transactions of one session, at least 1; the host's MAILMAX may be less.</summary>
    public int MaxTransactions { get; init; } = 1000;

    /// <summary>
    /// Recipients of one transaction where the host says nothing (RFC 5321 4.5.3.1.8: at least 100 are taken).
    /// </summary>
    public int MaxRecipients { get; init; } = 100;

    public ClientTimeouts Timeouts { get; init; } = ClientTimeouts.Default;
}

/// <summary>How long a host may take for each of its replies (RFC 5321 4.5.3.2, whose least are the defaults).</summary>
public sealed record ClientTimeouts
{
    public static readonly ClientTimeouts Default = new();

    public TimeSpan Greeting { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>EHLO, HELO, LHLO, STARTTLS, AUTH and RSET.</summary>
    public TimeSpan Hello { get; init; } = TimeSpan.FromMinutes(5);

    public TimeSpan Mail { get; init; } = TimeSpan.FromMinutes(5);

    public TimeSpan Rcpt { get; init; } = TimeSpan.FromMinutes(5);

    public TimeSpan Data { get; init; } = TimeSpan.FromMinutes(2);

    /// <summary>For a part of the content to be taken.</summary>
    public TimeSpan Block { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>For the reply to the content, which the host has to keep first.</summary>
    public TimeSpan EndOfData { get; init; } = TimeSpan.FromMinutes(10);
}
