using System.Net.Security;
using System.Runtime.InteropServices;
using System.Security.Authentication;
using System.Security.Authentication.ExtendedProtection;

namespace FastMail.Net;

/// <summary>What a handshake agreed upon. Immutable; any thread.</summary>
/// <param name="Protocol">TLS 1.2 or TLS 1.3.</param>
/// <param name="CipherSuite">The suite by its registered number.</param>
/// <param name="Certificate">The one that was shown to the client.</param>
/// <param name="Unique">
/// Channel binding tls-unique (RFC 5929 3): the first Finished message. Empty for TLS 1.3, where it is not defined.
/// </param>
public sealed record TlsParameters(
    SslProtocols Protocol, TlsCipherSuite CipherSuite, TlsCertificate Certificate, ReadOnlyMemory<byte> Unique)
{
    private static ReadOnlySpan<byte> UniquePrefix => "tls-unique:"u8;

    internal static TlsParameters Of(SslStream stream, TlsCertificate certificate) => new(
        stream.SslProtocol,
        stream.NegotiatedCipherSuite,
        certificate,
        stream.SslProtocol == SslProtocols.Tls12 ? UniqueOf(stream) : default);

    /// <summary>The runtime hands out SEC_CHANNEL_BINDINGS: a header, the prefix, then the octets of the RFC.</summary>
    private static byte[] UniqueOf(SslStream stream)
    {
        using ChannelBinding? binding = stream.TransportContext.GetChannelBinding(ChannelBindingKind.Unique);
        if (binding is null)
        {
            return [];
        }

        byte[] octets = new byte[binding.Size];
        Marshal.Copy(binding.DangerousGetHandle(), octets, 0, octets.Length);
        int prefix = octets.AsSpan().IndexOf(UniquePrefix);
        return prefix < 0 ? [] : octets[(prefix + UniquePrefix.Length)..];
    }
}
