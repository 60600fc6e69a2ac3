using System.Collections.Frozen;
using System.Collections.Immutable;
using FastMail.Net;

namespace FastMail.Server.Tls;

/// <summary>The certificates of one moment, found by name. Immutable; any thread.</summary>
internal sealed class CertificateSet
{
    private readonly FrozenDictionary<string, TlsCertificate> _byName;

    /// <param name="certificates">At least one; the first is for clients that ask for no name, or for none of ours.</param>
    public CertificateSet(ImmutableArray<LoadedCertificate> certificates)
    {
        Certificates = certificates;
        var byName = new Dictionary<string, TlsCertificate>(StringComparer.OrdinalIgnoreCase);
        foreach (LoadedCertificate certificate in certificates)
        {
            foreach (string name in certificate.Names)
            {
                byName.TryAdd(name, certificate.Service); // the earlier one wins, as the default does
            }
        }

        _byName = byName.ToFrozenDictionary(StringComparer.OrdinalIgnoreCase);
    }

    public ImmutableArray<LoadedCertificate> Certificates { get; }

    /// <summary>The name itself, then the wildcard that covers its first label (RFC 6125 6.4.3), then the default.</summary>
    public TlsCertificate Select(string serverName)
    {
        if (_byName.TryGetValue(serverName, out TlsCertificate? exact))
        {
            return exact;
        }

        int dot = serverName.IndexOf('.', StringComparison.Ordinal);
        return dot > 0 && _byName.TryGetValue("*" + serverName[dot..], out TlsCertificate? wildcard)
            ? wildcard
            : Certificates[0].Service;
    }
}
