using System.Collections.Immutable;
using FastMail.Net;

namespace FastMail.Server.Tls;

/// <summary>The certificates of one moment, found by name. Immutable; any thread.</summary>
internal sealed class CertificateSet
{
    private readonly Dictionary<string, LoadedCertificate> _byName = new(StringComparer.OrdinalIgnoreCase);

    /// <param name="certificates">At least one; the first is for clients that ask for no name, or for none of ours.</param>
    public CertificateSet(ImmutableArray<LoadedCertificate> certificates)
    {
        Certificates = certificates;
        foreach (LoadedCertificate certificate in certificates)
        {
            foreach (string name in certificate.Names)
            {
                _byName.TryAdd(name, certificate); // the earlier one wins, as the default does
            }
        }
    }

    public ImmutableArray<LoadedCertificate> Certificates { get; }

    /// <summary>Completes the chains, so that no handshake waits for it.</summary>
    public void Complete()
    {
        foreach (LoadedCertificate certificate in Certificates)
        {
            _ = certificate.Service;
        }
    }

    /// <summary>The name itself, then the wildcard that covers its first label (RFC 6125 6.4.3), then the default.</summary>
    public TlsCertificate Select(string serverName)
    {
        if (_byName.TryGetValue(serverName, out LoadedCertificate? exact))
        {
            return exact.Service;
        }

        int dot = serverName.IndexOf('.', StringComparison.Ordinal);
        return dot > 0 && _byName.TryGetValue("*" + serverName[dot..], out LoadedCertificate? wildcard)
            ? wildcard.Service
            : Certificates[0].Service;
    }
}
