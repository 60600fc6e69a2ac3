namespace FastMail.Protocol.Smtp;

/// <summary>Extensions that a listener offers if its operator can keep what they promise.</summary>
[Flags]
public enum SmtpExtensions
{
    None = 0,

    /// <summary>Delivery status notifications: RET, ENVID, NOTIFY, ORCPT (RFC 3461).</summary>
    Dsn = 1 << 0,

    /// <summary>BY= (RFC 2852).</summary>
    DeliverBy = 1 << 1,

    /// <summary>MT-PRIORITY= (RFC 6710).</summary>
    MtPriority = 1 << 2,

    /// <summary>REQUIRETLS (RFC 8689); only ever offered over TLS.</summary>
    RequireTls = 1 << 3,

    /// <summary>ETRN (RFC 1985): mail that waits for a domain is sent now.</summary>
    Etrn = 1 << 4,

    /// <summary>HOLDFOR= and HOLDUNTIL= (RFC 4865), up to <see cref="SmtpSessionOptions.LongestHold"/>.</summary>
    FutureRelease = 1 << 6,
}

/// <summary>When the sender wants to hear of a recipient (RFC 3461 4.1).</summary>
[Flags]
public enum DsnNotify
{
    /// <summary>NOTIFY was not given.</summary>
    Unsaid = 0,
    Success = 1 << 0,
    Failure = 1 << 1,
    Delay = 1 << 2,

    /// <summary>Stands alone.</summary>
    Never = 1 << 3,
}

/// <summary>What a report of failure returns (RFC 3461 4.3).</summary>
public enum DsnReturn
{
    /// <summary>RET was not given.</summary>
    Unsaid,
    Full,
    Headers,
}

/// <summary>HOLDFOR= or HOLDUNTIL= of MAIL (RFC 4865 4).</summary>
/// <param name="Seconds">From the receipt of the command, or since 1970 UTC.</param>
/// <param name="IsUntil">HOLDUNTIL: the message is due at that date; whether it lies in the past nobody has looked.</param>
public readonly record struct FutureRelease(long Seconds, bool IsUntil);

/// <summary>BY= of MAIL (RFC 2852 4).</summary>
/// <param name="Seconds">From the receipt of the command; may be negative when the mode is to notify.</param>
/// <param name="IsReturn">Too late means returned (R); else the sender is notified and delivery goes on (N).</param>
/// <param name="IsTraced">The sender wants to hear of relays on the way (T).</param>
public readonly record struct DeliverBy(long Seconds, bool IsReturn, bool IsTraced);
