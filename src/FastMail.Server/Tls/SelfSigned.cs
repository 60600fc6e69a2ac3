using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

namespace FastMail.Server.Tls;

/// <summary>
/// The certificate for a server that was given none: made once, in the data directory, so that clients which remember it
/// find it again. Runs at start only.
/// </summary>
internal static class SelfSigned
{
    /// <summary>Certificate and private key in one file, which only its owner may read.</summary>
    public const string FileName = "self-signed.pem";

    private const int Years = 10;

    /// <summary>The file, which is made when it is missing; true when it was.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    public static bool Ensure(string directory, string hostname, DateTimeOffset now, out CertificateFiles files)
    {
        string path = Path.Join(directory, FileName);
        files = new CertificateFiles(path, path);
        if (File.Exists(path))
        {
            return false;
        }

        DurableFile.Write(path, Encoding.ASCII.GetBytes(Make(hostname, now)));
        return true;
    }

    /// <summary>P-256: its handshakes cost a fraction of RSA's, and every client that knows TLS 1.2 takes it.</summary>
    private static string Make(string hostname, DateTimeOffset now)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var name = new X500DistinguishedNameBuilder();
        name.AddCommonName(hostname.Length <= 64 ? hostname : "FastMail"); // RFC 5280 A.1: ub-common-name
        var request = new CertificateRequest(name.Build(), key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName(hostname);
        names.AddDnsName("localhost");
        names.AddIpAddress(IPAddress.Loopback);
        names.AddIpAddress(IPAddress.IPv6Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(false, false, 0, critical: true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.DigitalSignature, critical: true));
        request.CertificateExtensions.Add(
            new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1")], critical: false)); // serverAuth
        using X509Certificate2 certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddYears(Years));
        return certificate.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem() + "\n";
    }
}
