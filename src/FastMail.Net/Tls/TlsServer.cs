using System.Net.Security;
using System.Security.Authentication;

namespace FastMail.Net;

/// <summary>Chooses the certificate for a handshake. Shared by all connections; entered by handshake workers.</summary>
public interface ITlsCertificates
{
    /// <param name="serverName">What the client asked for by SNI (RFC 6066 3); empty when it did not say.</param>
    TlsCertificate Select(string serverName);
}

/// <summary>A certificate in service, with what does not change from handshake to handshake. Immutable; any thread.</summary>
public sealed class TlsCertificate
{
    /// <param name="context">The certificate, its key and its chain; tickets and resumable sessions belong to it.</param>
    /// <param name="endPointHash">Channel binding tls-server-end-point (RFC 5929 4.1): hash of the certificate.</param>
    public TlsCertificate(SslStreamCertificateContext context, ReadOnlyMemory<byte> endPointHash)
    {
        EndPointHash = endPointHash;
        Options = new SslServerAuthenticationOptions
        {
            ServerCertificateContext = context,
            EnabledSslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13, // RFC 8996
            AllowRenegotiation = false, // a client that asks for it makes us pay for another handshake
            ClientCertificateRequired = false,
        };
    }

    public ReadOnlyMemory<byte> EndPointHash { get; }

    internal SslServerAuthenticationOptions Options { get; }
}

/// <summary>
/// TLS for the listeners of one loop: the certificates, and how many handshakes may be under way. Owned by whoever starts
/// the loop, disposed after it. The counters are for any thread and may lag; the rest is for the loop thread.
/// </summary>
public sealed class TlsServer : TlsEnd
{
    private readonly int _handshakeCap;

    /// <param name="certificates">Chooses the certificate.</param>
    /// <param name="workers">Threads for handshakes; each does about a thousand a second, so few are enough.</param>
    /// <param name="handshakeCap">Handshakes under way at a time; each holds some 40 KiB.</param>
    /// <param name="handshakeDeadline">From the first octet that could come to the last, however slowly they come.</param>
    public TlsServer(ITlsCertificates certificates, int workers, int handshakeCap, TimeSpan handshakeDeadline)
        : base(workers, handshakeDeadline)
    {
        _handshakeCap = handshakeCap;
        SelectOptions = (stream, hello, layer, _) =>
        {
            TlsCertificate certificate = certificates.Select(hello.ServerName ?? "");
            ((TlsLayer)layer!).Certificate = certificate;
            return ValueTask.FromResult(certificate.Options);
        };
    }

    /// <summary>Fewer handshakes are under way than the cap.</summary>
    public bool IsAvailable => Handshakes < _handshakeCap;

    internal ServerOptionsSelectionCallback SelectOptions { get; }
}

/// <summary>How a listener uses TLS.</summary>
/// <param name="Server">What it takes.</param>
/// <param name="IsImplicit">TLS comes before the first word (RFC 8314); otherwise a handler asks for it by Turn.Secure.</param>
public sealed record ListenerTls(TlsServer Server, bool IsImplicit);
