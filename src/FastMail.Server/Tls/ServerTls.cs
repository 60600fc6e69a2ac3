using System.Collections.Immutable;
using System.Security.Authentication;
using System.Text;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Server.Configuration;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Tls;

/// <summary>
/// TLS of the running server: certificates, handshake threads, and what sessions are told. Owned by the server, made
/// before its loop and disposed after it; <see cref="Reload"/> from any thread.
/// </summary>
internal sealed class ServerTls : IDisposable, ITlsOffer
{
    private readonly Certificates _certificates;
    private readonly TlsServer _server;

    private ServerTls(Certificates certificates, TlsServer server)
    {
        _certificates = certificates;
        _server = server;
    }

    /// <summary>For listeners that begin in the clear.</summary>
    public ListenerTls OnDemand => new(_server, IsImplicit: false);

    /// <summary>For listeners that begin with the handshake.</summary>
    public ListenerTls Implicit => new(_server, IsImplicit: true);

    /// <inheritdoc/>
    public bool IsAvailable => _server.IsAvailable;

    /// <exception cref="CertificateException">A certificate cannot be used.</exception>
    /// <exception cref="SettingException">Certificates and keys do not pair up.</exception>
    /// <exception cref="IOException">The self-signed certificate cannot be written.</exception>
    public static ServerTls Start(string directory, Settings settings, TimeProvider clock, ILogger log)
    {
        ImmutableArray<CertificateFiles> files = CertificateFiles.Of(settings);
        if (files.IsEmpty)
        {
            bool isNew = SelfSigned.Ensure(directory, settings.Get(ServeKeys.Hostname), clock.GetUtcNow(), out CertificateFiles own);
            log.LogWarning(
                "tls: no certificate is configured (--tls-cert, --tls-key); {Made} {File}, self-signed, which clients must be told to trust",
                isNew ? "made" : "using", own.Certificate);
            files = [own];
        }

        var certificates = new Certificates(files, clock, log);
        var server = new TlsServer(
            certificates,
            Math.Max(1, Environment.ProcessorCount / 2), // half of the cores, as for passwords: the loop keeps its own
            settings.Get(TlsKeys.Handshakes),
            settings.Get(TlsKeys.HandshakeTimeout));
        return new ServerTls(certificates, server);
    }

    /// <summary>What a session is told of its handshake.</summary>
    public static TlsFacts FactsOf(TlsParameters tls) => new(
        Encoding.ASCII.GetBytes($"{(tls.Protocol == SslProtocols.Tls13 ? "TLSv1.3" : "TLSv1.2")} {tls.CipherSuite}"),
        tls.Certificate is null ? default : tls.Certificate.EndPointHash);

    /// <summary>Reads the certificate files again; false when the old ones stay.</summary>
    public bool Reload() => _certificates.Reload();

    public void Dispose()
    {
        _certificates.Dispose();
        _server.Dispose();
    }
}
