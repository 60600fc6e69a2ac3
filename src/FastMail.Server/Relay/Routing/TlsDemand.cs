using System.Security.Cryptography.X509Certificates;
using FastMail.Protocol.Dns;

namespace FastMail.Server.Relay.Routing;

/// <summary>How much TLS a next hop must have. In the order of strength.</summary>
internal enum TlsLevel
{
    /// <summary>Mail goes in the clear even where TLS is offered.</summary>
    None,

    /// <summary>TLS with any certificate where it is offered and works, else in the clear (RFC 7435).</summary>
    May,

    /// <summary>TLS with any certificate, or the host is not used.</summary>
    Encrypt,

    /// <summary>TLS with a certificate for the host's name from an authority we trust, or the host is not used.</summary>
    Verify,

    /// <summary>TLS with the certificate that the host's zone names (RFC 7672), or the host is not used.</summary>
    Dane,
}

/// <summary>
/// What the TLS of one host must be like, and whether a certificate will do. Immutable; any thread.
/// </summary>
internal sealed class TlsDemand
{
    private readonly IReadOnlyList<TlsaRecord> _records;

    /// <param name="level">See <see cref="Level"/>.</param>
    /// <param name="serverName">See <see cref="ServerName"/>.</param>
    /// <param name="reason">See <see cref="Reason"/>.</param>
    /// <param name="anchors">See <see cref="TrustAnchors"/>.</param>
    /// <param name="records">What the certificate must match; for <see cref="TlsLevel.Dane"/>.</param>
    /// <param name="host">The mail exchanger, which the certificate may be for as well then (RFC 7672 3.2.2).</param>
    public TlsDemand(
        TlsLevel level,
        string serverName,
        string reason,
        X509Certificate2Collection? anchors = null,
        IReadOnlyList<TlsaRecord>? records = null,
        string? host = null)
    {
        Level = level;
        ServerName = serverName;
        Reason = reason;
        TrustAnchors = anchors;
        _records = records ?? [];
        Vouch = level == TlsLevel.Dane ? certificates => DaneCheck.Matches(_records, ServerName, certificates, host) : null;
    }

    public TlsLevel Level { get; }

    /// <summary>The name asked for in the handshake (SNI), which the certificate must be for where names count.</summary>
    public string ServerName { get; }

    /// <summary>The setting, policy or record that demands it, for people.</summary>
    public string Reason { get; }

    /// <summary>Authorities to believe; null for those of this machine.</summary>
    public X509Certificate2Collection? TrustAnchors { get; }

    /// <summary>
    /// Whether the certificates that the host has shown, leaf first, DER, match its zone's records; null where that does
    /// not count. Not for the loop: it may build a chain.
    /// </summary>
    public Func<IReadOnlyList<ReadOnlyMemory<byte>>, bool>? Vouch { get; }

    /// <summary>Without it the host must not be used; it is never replaced by a connection in the clear.</summary>
    public bool IsEnforced => Level >= TlsLevel.Encrypt;

    /// <summary>Null when the certificate will do, else why it will not, for people.</summary>
    /// <param name="isChainTrusted">It comes from an authority we trust, in its time.</param>
    /// <param name="isNameRight">It is for <see cref="ServerName"/>.</param>
    /// <param name="isVouchedFor">What <see cref="Vouch"/> has said.</param>
    public string? Judge(bool isChainTrusted, bool isNameRight, bool isVouchedFor) => Level switch
    {
        TlsLevel.Dane when !isVouchedFor => $"the certificate of {ServerName} matches none of its TLSA records",
        TlsLevel.Verify when !isChainTrusted => $"the certificate of {ServerName} is not from a trusted authority, or not valid now",
        TlsLevel.Verify when !isNameRight => $"the certificate is not for {ServerName}",
        _ => null,
    };

    /// <summary>
    /// Nobody between the domain and us can have chosen <see cref="ServerName"/>: the operator has named it, or DNSSEC has
    /// proved it.
    /// </summary>
    public bool IsNameSure { get; init; }

    /// <summary>
    /// The certificate proves that this is the host that was meant, as messages with REQUIRETLS want it (RFC 8689 4.2.1).
    /// </summary>
    /// <inheritdoc cref="Judge"/>
    public bool Verifies(bool isChainTrusted, bool isNameRight, bool isVouchedFor) => Level switch
    {
        TlsLevel.Dane => isVouchedFor,
        TlsLevel.Verify => isChainTrusted && isNameRight,
        _ => IsNameSure && isChainTrusted && isNameRight,
    };

    /// <summary>Whether the certificate counted and what has proved it, for people. Only of one that will do.</summary>
    public string Tell() => Level switch
    {
        TlsLevel.Dane => $"certificate verified by DANE ({Reason})",
        TlsLevel.Verify => $"certificate verified by WebPKI ({Reason})",
        TlsLevel.Encrypt => $"certificate not verified (encrypt, {Reason})",
        _ => $"certificate not verified (opportunistic, {Reason})",
    };

    public override string ToString() => $"{Level.ToString().ToLowerInvariant()} ({Reason})";
}
