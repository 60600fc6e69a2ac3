using FastMail.Protocol.Sasl;

namespace FastMail.Protocol;

/// <summary>
/// What a session may know of the TLS it runs over. Made once a handshake by whoever does TLS; immutable, any thread.
/// </summary>
/// <param name="Description">
/// Version and cipher suite for trace fields and logs, ASCII without parentheses, at most 64 octets:
/// <c>TLSv1.3 TLS_AES_256_GCM_SHA384</c>.
/// </param>
/// <param name="ServerEndPoint">
/// Channel binding tls-server-end-point (RFC 5929 4.1), the hash of our certificate; empty where that is not defined.
/// </param>
public sealed record TlsFacts(ReadOnlyMemory<byte> Description, ReadOnlyMemory<byte> ServerEndPoint) : IChannelBindings
{
    /// <summary>The channel can be told by something.</summary>
    public bool HasBindings => !ServerEndPoint.IsEmpty;

    /// <inheritdoc/>
    public int Write(ChannelBinding type, Span<byte> destination)
    {
        // No tls-exporter (RFC 9266): the runtime's TLS exports no keying material.
        if (type != ChannelBinding.TlsServerEndPoint || !HasBindings)
        {
            return -1;
        }
        ServerEndPoint.Span.CopyTo(destination);
        return ServerEndPoint.Length;
    }
}

/// <summary>Whether a session may begin TLS now. Shared by the sessions of a listener; entered from their calls.</summary>
public interface ITlsOffer
{
    /// <summary>False for the time being: too many handshakes are under way. The session answers 454 4.7.0.</summary>
    bool IsAvailable { get; }
}
