using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Pop3;

/// <summary>How long messages are kept, as far as that is known before login (RFC 2449 6.7).</summary>
/// <param name="Days">The least number of days; null for ever.</param>
/// <param name="IsPerUser">It may be another one after login.</param>
public readonly record struct Expiry(int? Days, bool IsPerUser);

/// <summary>How the POP3 sessions of one listener behave; shared by all of them and never changed.</summary>
public sealed record Pop3SessionOptions
{
    /// <summary>Our name in the greeting, ASCII, at most 255 octets.</summary>
    public required ReadOnlyMemory<byte> Hostname { get; init; }

    /// <summary>What CAPA tells of the implementation after login (RFC 2449 6.9), at most 64 octets.</summary>
    public ReadOnlyMemory<byte> ImplementationName { get; init; } = "FastMail"u8.ToArray();

    /// <summary>How many errors are borne and how.</summary>
    public SessionLimits Limits { get; init; } = SessionLimits.Default;

    /// <summary>Credentials are taken although nothing hides them on the way; over TLS they always are.</summary>
    public bool AllowsCleartext { get; init; }

    /// <summary>STLS is advertised while the session is in the clear; null: there is no TLS to offer.</summary>
    public ITlsOffer? Tls { get; init; }

    /// <summary>The mechanisms of AUTH (RFC 5034); SCRAM-SHA-256-PLUS only where there are channel bindings.</summary>
    public SaslMechanisms Mechanisms { get; init; } = SaslMechanisms.Plain | SaslMechanisms.Login;

    /// <summary>Failed logins of one session; one more closes it.</summary>
    public int MaxLoginFailures { get; init; } = 10;

    /// <summary>Makes the server's nonces of SCRAM.</summary>
    public ServerNonce ServerNonce { get; init; } = SaslExchange.RandomNonce;

    /// <summary>
    /// A message in UTF-8 is refused to a client that has not said UTF8 (RFC 6856 3.1 permits it). Most clients choke
    /// on the refusal and none on the message.
    /// </summary>
    public bool IsStrictUtf8 { get; init; }

    /// <summary>
    /// What EXPIRE tells before login; afterwards the maildrop knows (<see cref="IMaildrop.ExpireDays"/>). Asked by CAPA,
    /// so it may change.
    /// </summary>
    public Func<Expiry> Expiry { get; init; } = static () => default;

    /// <summary>Seconds between two logins of one user (RFC 2449 6.5); 0 when it does not matter.</summary>
    public int LoginDelaySeconds { get; init; }
}
