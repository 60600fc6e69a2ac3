using System.Net.Security;
using System.Security.Authentication;

namespace FastMail.Net;

/// <summary>What a handshake agreed upon. Immutable; any thread.</summary>
/// <param name="Protocol">TLS 1.2 or TLS 1.3.</param>
/// <param name="CipherSuite">The suite by its registered number.</param>
/// <param name="Certificate">The one that was shown to the client; null where we are the client.</param>
/// <param name="Peer">What the host has shown; null where we are the host.</param>
public sealed record TlsParameters(
    SslProtocols Protocol, TlsCipherSuite CipherSuite, TlsCertificate? Certificate, TlsPeer? Peer = null);
