namespace FastMail.Protocol.Sasl;

/// <summary>
/// What the TLS channel of one connection can be told by (RFC 5929, RFC 9266). Belongs to the connection; entered from
/// its session's calls only.
/// </summary>
public interface IChannelBindings
{
    /// <summary>Octets of the longest binding: a SHA-512 of the certificate.</summary>
    const int MaxBytes = 64;

    /// <summary>
    /// Writes the binding of a type; returns its length, or -1 when this channel cannot give it.
    /// </summary>
    int Write(ChannelBinding type, Span<byte> destination);
}

/// <summary>Types of channel binding that SCRAM-PLUS takes.</summary>
public enum ChannelBinding
{
    /// <summary><c>tls-exporter</c>: keying material of the handshake (RFC 9266).</summary>
    TlsExporter,

    /// <summary><c>tls-server-end-point</c>: hash of the server's certificate (RFC 5929 4).</summary>
    TlsServerEndPoint,
}
