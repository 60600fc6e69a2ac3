using System.Diagnostics.CodeAnalysis;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;

namespace FastMail.Net;

/// <summary>TLS for the outgoing connections of one loop. Owned by whoever starts the loop, disposed after it.</summary>
/// <param name="workers">Threads for handshakes.</param>
/// <param name="handshakeDeadline">For a whole handshake, however slowly the peer answers.</param>
public sealed class TlsClient(int workers, TimeSpan handshakeDeadline) : TlsEnd(workers, handshakeDeadline);

/// <summary>
/// How connections to one host use TLS. A handshake never fails because of the certificate: what the host has shown is
/// in <see cref="TlsPeer"/>, and whoever connects judges it before a word is said. Immutable; any thread.
/// </summary>
/// <param name="client">What it takes.</param>
/// <param name="serverName">For SNI, and the name that the certificate is compared with.</param>
/// <param name="isImplicit">TLS comes before the first word (RFC 8314); otherwise a handler asks for it by Turn.Secure.</param>
public sealed class OutgoingTls(TlsClient client, string serverName, bool isImplicit)
{
    public TlsClient Client { get; } = client;

    public string ServerName { get; } = serverName;

    public bool IsImplicit { get; } = isImplicit;

    /// <summary>Shown to a host that asks who we are.</summary>
    public SslStreamCertificateContext? ClientCertificate { get; init; }

    /// <summary>In place of the system's.</summary>
    public X509Certificate2Collection? TrustAnchors { get; init; }

    /// <summary>
    /// Asked on a worker with what the host has shown, DER, its own first: DANE, or a pinned key. The answer is
    /// <see cref="TlsPeer.IsVouchedFor"/>.
    /// </summary>
    public Func<IReadOnlyList<ReadOnlyMemory<byte>>, bool>? Vouch { get; init; }

    /// <summary>For one handshake; what the peer shows is told to <paramref name="seen"/>, on the worker.</summary>
    [SuppressMessage("Security", "CA5359", Justification = "What was shown is kept in TlsPeer; policy decides behind it.")]
    internal SslClientAuthenticationOptions Options(Action<TlsPeer> seen)
    {
        X509ChainPolicy policy = new()
        {
            DisableCertificateDownloads = true, // whoever a certificate names must not make us fetch anything
            RevocationMode = X509RevocationMode.NoCheck,
        };
        if (TrustAnchors is not null)
        {
            policy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            policy.CustomTrustStore.AddRange(TrustAnchors);
        }

        return new SslClientAuthenticationOptions
        {
            TargetHost = ServerName,
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13, // RFC 8996
            AllowRenegotiation = false,
            CertificateChainPolicy = policy,
            ClientCertificateContext = ClientCertificate,
            RemoteCertificateValidationCallback = (_, certificate, chain, errors) =>
            {
                seen(See(certificate as X509Certificate2, chain, errors));
                return true; // the caller judges
            },
        };
    }

    private TlsPeer See(X509Certificate2? own, X509Chain? chain, SslPolicyErrors errors)
    {
        List<ReadOnlyMemory<byte>> shown = [];
        if (own is not null)
        {
            shown.Add(own.RawData);
            foreach (X509Certificate2 other in chain?.ChainPolicy.ExtraStore ?? [])
            {
                if (!other.RawDataMemory.Span.SequenceEqual(own.RawDataMemory.Span))
                {
                    shown.Add(other.RawData);
                }
            }
        }

        const SslPolicyErrors untrusted =
            SslPolicyErrors.RemoteCertificateChainErrors | SslPolicyErrors.RemoteCertificateNotAvailable;
        const SslPolicyErrors unnamed =
            SslPolicyErrors.RemoteCertificateNameMismatch | SslPolicyErrors.RemoteCertificateNotAvailable;
        return new TlsPeer(
            (errors & untrusted) == 0,
            (errors & unnamed) == 0,
            own is not null && Vouch is not null && Vouch(shown),
            shown);
    }
}

/// <summary>What a host has shown of itself in the handshake. Immutable; any thread.</summary>
/// <param name="IsChainTrusted">The certificate is in force and leads to a trust anchor.</param>
/// <param name="IsNameRight">The certificate is for the name that was asked for.</param>
/// <param name="IsVouchedFor">What <see cref="OutgoingTls.Vouch"/> has said.</param>
/// <param name="Certificates">DER, its own first.</param>
public sealed record TlsPeer(
    bool IsChainTrusted, bool IsNameRight, bool IsVouchedFor, IReadOnlyList<ReadOnlyMemory<byte>> Certificates);
