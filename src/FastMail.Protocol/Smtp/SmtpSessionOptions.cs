using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Smtp;

/// <summary>What a listener is for.</summary>
public enum SmtpRole
{
    /// <summary>Receives mail for hosted mailboxes from anybody.</summary>
    Mx,

    /// <summary>Takes mail from our own users (RFC 6409).</summary>
    Submission,

    /// <summary>Receives mail for hosted mailboxes from a mail system beside us (RFC 2033).</summary>
    Lmtp,
}

/// <summary>How the sessions of one listener behave; shared by all of them and never changed.</summary>
public sealed record SmtpSessionOptions
{
    /// <summary>Our name in the greeting and in EHLO, ASCII, at most 255 octets.</summary>
    public required ReadOnlyMemory<byte> Hostname { get; init; }

    public required SmtpRole Role { get; init; }

    /// <summary>Largest message without dot-stuffing, octets; told by SIZE (RFC 1870).</summary>
    public long MaxMessageBytes { get; init; } = 50L * 1024 * 1024;

    /// <summary>Recipients of one transaction (RFC 5321 4.5.3.1.8 asks for 100 at least).</summary>
    public int MaxRecipients { get; init; } = 1000;

    /// <summary>What is offered beyond what every listener offers.</summary>
    public SmtpExtensions Extensions { get; init; }

    /// <summary>What FUTURERELEASE announces; whole seconds.</summary>
    public TimeSpan LongestHold { get; init; } = TimeSpan.FromDays(30);

    /// <summary>Dates what FUTURERELEASE announces.</summary>
    public TimeProvider Clock { get; init; } = TimeProvider.System;

    /// <summary>How long lines, headers and patience are.</summary>
    public SessionLimits Limits { get; init; } = SessionLimits.Default;

    /// <summary>
    /// AUTH is advertised and taken although nothing hides it on the way. Only for <see cref="SmtpRole.Submission"/>,
    /// which always offers it over TLS.
    /// </summary>
    public bool OffersAuth { get; init; }

    /// <summary>The mechanisms of AUTH; SCRAM-SHA-256-PLUS only where there are channel bindings.</summary>
    public SaslMechanisms Mechanisms { get; init; } = SaslMechanisms.Plain | SaslMechanisms.Login;

    /// <summary>Failed AUTH attempts of one session; one more is answered 421 and closes it.</summary>
    public int MaxLoginFailures { get; init; } = 10;

    /// <summary>Makes the server's nonces of SCRAM.</summary>
    public ServerNonce ServerNonce { get; init; } = SaslExchange.RandomNonce;

    /// <summary>STARTTLS is advertised while the session is in the clear; null: there is no TLS to offer.</summary>
    public ITlsOffer? Tls { get; init; }

    /// <summary>MAIL is refused with 530 until AUTH has succeeded.</summary>
    public bool RequiresAuth { get; init; }
}
