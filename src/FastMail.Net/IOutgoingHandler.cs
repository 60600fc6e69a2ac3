using System.Net;
using System.Net.Sockets;

namespace FastMail.Net;

/// <summary>
/// The side of a conversation that we began: bytes in, bytes out, as for a server. Owned by whoever connects; entered on
/// the loop thread only. After <see cref="IConnectionHandler.Opened"/> (where TLS comes first, after
/// <see cref="IConnectionHandler.Secured"/>) the first call is a Receive without input.
/// </summary>
public interface IOutgoingHandler : IConnectionHandler
{
    /// <summary>There is no connection; comes instead of Opened, and Closed does not follow.</summary>
    /// <param name="connection">What <see cref="EventLoop.Connect"/> has returned; not to be touched any more.</param>
    /// <param name="error">Why.</param>
    void ConnectFailed(Connection connection, SocketError error);

    /// <summary>
    /// Something is under way that a stopping loop waits for, within its drain. Where there is nothing, the handler hears
    /// LastWords and the connection is closed.
    /// </summary>
    bool IsBusy { get; }
}

/// <summary>Where to connect and for how long to try. Immutable value; any thread.</summary>
/// <param name="EndPoint">An <see cref="IPEndPoint"/> or a <see cref="UnixDomainSocketEndPoint"/>.</param>
/// <param name="Deadline">For the connection to stand; TLS has one of its own.</param>
public readonly record struct ConnectTarget(EndPoint EndPoint, TimeSpan Deadline)
{
    /// <summary>The address to come from; null leaves it to the system.</summary>
    public IPAddress? Source { get; init; }

    /// <summary>The TLS that may come, or comes first; null: none.</summary>
    public OutgoingTls? Tls { get; init; }
}

/// <summary>Why a connection is over.</summary>
public enum ConnectionEnd
{
    /// <summary>It is not.</summary>
    None,

    /// <summary>The handler closed or aborted it, or threw.</summary>
    ByHandler,

    /// <summary>The peer has ended in order.</summary>
    ByPeer,

    /// <summary>Reset, unreachable, or nothing acknowledged for too long.</summary>
    Broken,

    /// <summary>A deadline has passed.</summary>
    TimedOut,

    /// <summary>The handshake came to nothing.</summary>
    TlsFailed,

    /// <summary>The loop stops.</summary>
    Stopping,
}
