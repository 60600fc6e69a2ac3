using System.Diagnostics.CodeAnalysis;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace FastMail.LoadTest.Kernel;

/// <summary>When TLS begins.</summary>
internal enum TlsStart
{
    None,

    /// <summary>After the server has agreed in the clear: STARTTLS (RFC 3207), STLS (RFC 2595).</summary>
    StartTls,

    /// <summary>With the first octet (RFC 8314).</summary>
    Implicit,
}

/// <summary>How connections are secured. Immutable; any thread.</summary>
internal sealed class TlsPlan
{
    /// <param name="start">When.</param>
    /// <param name="name">Whose certificate it must be; also told to the server (SNI).</param>
    /// <param name="authorities">Who may vouch for it; null for whom the system trusts.</param>
    /// <param name="isInsecure">Any certificate will do.</param>
    /// <param name="mayResume">Whether a connection may take up an earlier one's session.</param>
    [SuppressMessage("Security", "CA5359", Justification = "--tls-insecure asks for it; no secret of value is sent")]
    internal TlsPlan(
        TlsStart start, string name, X509Certificate2Collection? authorities, bool isInsecure, bool mayResume)
    {
        Start = start;
        Options = new SslClientAuthenticationOptions
        {
            TargetHost = name,
            AllowTlsResume = mayResume,
            RemoteCertificateValidationCallback = isInsecure ? (_, _, _, _) => true : null,
        };
        if (authorities is not null)
        {
            Options.CertificateChainPolicy = new X509ChainPolicy
            {
                TrustMode = X509ChainTrustMode.CustomRootTrust,
                RevocationMode = X509RevocationMode.NoCheck,
                DisableCertificateDownloads = true,
            };
            Options.CertificateChainPolicy.CustomTrustStore.AddRange(authorities);
        }
    }

    internal TlsStart Start { get; }

    internal SslClientAuthenticationOptions Options { get; }
}
