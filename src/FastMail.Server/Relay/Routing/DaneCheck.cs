using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FastMail.Protocol.Dns;

namespace FastMail.Server.Relay.Routing;

/// <summary>
/// Whether certificates match the TLSA records of a mail exchanger (RFC 7672 3). Stateless; any thread but the loop's, as
/// it may build a chain.
/// </summary>
internal static class DaneCheck
{
    private const int TrustAnchor = 2; // DANE-TA
    private const int EndEntity = 3; // DANE-EE

    /// <summary>RFC 7672 3.1.3: the usages of authorities are not for SMTP; and what we can compute.</summary>
    public static bool IsUsable(TlsaRecord record) =>
        record is { Usage: TrustAnchor or EndEntity, Selector: 0 or 1, Matching: 0 or 1 or 2 };

    /// <param name="records">Of the host; those that are not usable match nothing.</param>
    /// <param name="host">For whom a certificate under a trust anchor must be.</param>
    /// <param name="certificates">As the host has shown them, its own first, DER.</param>
    /// <param name="otherHost">The name that it may be for as well; null for none.</param>
    public static bool Matches(
        IReadOnlyList<TlsaRecord> records, string host, IReadOnlyList<ReadOnlyMemory<byte>> certificates, string? otherHost = null)
    {
        List<X509Certificate2> chain = [];
        try
        {
            foreach (ReadOnlyMemory<byte> certificate in certificates)
            {
                chain.Add(X509CertificateLoader.LoadCertificate(certificate.Span));
            }

            return chain.Count > 0
                && records.Where(IsUsable).Any(record => record.Usage == EndEntity
                    ? Matches(record, chain[0]) // neither name nor time counts (RFC 7672 3.1.1)
                    : MatchesAnchor(record, chain)
                        && (chain[0].MatchesHostname(host) || (otherHost is not null && chain[0].MatchesHostname(otherHost))));
        }
        catch (CryptographicException)
        {
            return false; // octets that are no certificate
        }
        finally
        {
            chain.ForEach(certificate => certificate.Dispose());
        }
    }

    private static bool MatchesAnchor(TlsaRecord record, List<X509Certificate2> shown)
    {
        foreach (X509Certificate2 anchor in shown)
        {
            if (!Matches(record, anchor))
            {
                continue;
            }

            using var chain = new X509Chain();
            chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
            chain.ChainPolicy.CustomTrustStore.Add(anchor);
            chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
            chain.ChainPolicy.DisableCertificateDownloads = true;
            chain.ChainPolicy.VerificationFlags = X509VerificationFlags.AllowUnknownCertificateAuthority; // judged below
            chain.ChainPolicy.ExtraStore.AddRange(shown.ToArray());
            if (chain.Build(shown[0]) && chain.ChainElements.Any(e => e.Certificate.RawDataMemory.Span.SequenceEqual(anchor.RawData)))
            {
                return true;
            }
        }

        return false;
    }

    private static bool Matches(TlsaRecord record, X509Certificate2 certificate)
    {
        byte[] octets = record.Selector == 0 ? certificate.RawData : certificate.PublicKey.ExportSubjectPublicKeyInfo();
        byte[] expected = record.Matching switch
        {
            1 => SHA256.HashData(octets),
            2 => SHA512.HashData(octets),
            _ => octets,
        };
        return expected.AsSpan().SequenceEqual(record.Association);
    }
}
