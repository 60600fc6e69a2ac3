using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FastMail.Net;

namespace FastMail.Tests.Net.Tls;

/// <summary>One certificate, made for the run, whatever name is asked for. Any thread.</summary>
internal sealed class TestCertificates : ITlsCertificates
{
    public static readonly TestCertificates Shared = new();

    private readonly TlsCertificate _certificate = Make("test.example");

    public TlsCertificate Select(string serverName) => _certificate;

    public static TlsServer Server(int handshakeCap = 100, TimeSpan? deadline = null) =>
        new(Shared, workers: 1, handshakeCap, deadline ?? TimeSpan.FromSeconds(10));

    private static TlsCertificate Make(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=" + name, key, HashAlgorithmName.SHA256);
        X509Certificate2 certificate =
            request.CreateSelfSigned(DateTimeOffset.UnixEpoch, DateTimeOffset.UnixEpoch.AddYears(200));
        return new TlsCertificate(SslStreamCertificateContext.Create(certificate, null, offline: true), default);
    }
}
