namespace FastMail.Protocol.Smtp.Client;

/// <summary>Where a dialog with a host stands, or what a reply was said to.</summary>
public enum ClientPhase : byte
{
    Greeting,
    Hello,
    StartTls,
    Auth,

    /// <summary>Nothing is owed by either side.</summary>
    Idle,
    Mail,
    Rcpt,
    Data,
    EndOfData,
    Reset,
}

/// <summary>How much a destination is trusted without TLS.</summary>
public enum TlsPolicy : byte
{
    /// <summary>TLS is not begun, whatever the host offers.</summary>
    None,

    /// <summary>TLS when it is offered, with whatever certificate; otherwise in the clear (RFC 7435).</summary>
    May,

    /// <summary>TLS or nothing, with whatever certificate.</summary>
    Encrypt,

    /// <summary>TLS with a certificate that the caller trusts, or nothing.</summary>
    Verify,
}

/// <summary>What a host offers in answer to EHLO or LHLO.</summary>
[Flags]
public enum SmtpOffers
{
    None = 0,

    /// <summary>RFC 2920.</summary>
    Pipelining = 1 << 0,

    /// <summary>RFC 6152.</summary>
    EightBitMime = 1 << 1,

    /// <summary>RFC 6531.</summary>
    SmtpUtf8 = 1 << 2,

    /// <summary>RFC 3030.</summary>
    Chunking = 1 << 3,

    /// <summary>RFC 3461.</summary>
    Dsn = 1 << 4,

    /// <summary>RFC 3207.</summary>
    StartTls = 1 << 5,

    /// <summary>RFC 4954, with any mechanism.</summary>
    Auth = 1 << 6,

    /// <summary>RFC 8689.</summary>
    RequireTls = 1 << 7,

    /// <summary>RFC 6710.</summary>
    MtPriority = 1 << 8,

    /// <summary>RFC 2852.</summary>
    DeliverBy = 1 << 9,

    /// <summary>RFC 1870.</summary>
    Size = 1 << 10,

    /// <summary>RFC 2034.</summary>
    EnhancedStatusCodes = 1 << 11,

    /// <summary>RFC 9422.</summary>
    Limits = 1 << 12,
}

/// <summary>How a connection came to its end, as far as the words about it differ.</summary>
public enum ClientLoss
{
    /// <summary>The host has closed or reset it.</summary>
    Closed,

    /// <summary>The host did not answer in time.</summary>
    TimedOut,

    /// <summary>The TLS handshake has failed.</summary>
    TlsFailed,

    /// <summary>We stop.</summary>
    Stopping,
}
