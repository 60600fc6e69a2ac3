using System.Net.Sockets;
using FastMail.Net;

namespace FastMail.Server.Dns;

/// <summary>
/// The socket of one attempt of an exchange. Owned by the exchange; loop thread only, but for the ends of socket calls,
/// which post it there. What ends after the attempt was given up is dropped.
/// </summary>
internal abstract class DnsAttempt : ILoopWork, IDisposable
{
    private readonly EventLoop _loop;
    private bool _isDisposed;

    protected DnsAttempt(DnsExchange exchange, EventLoop loop, Socket socket)
    {
        Exchange = exchange;
        _loop = loop;
        Socket = socket;
        Args.Completed += (_, _) => _loop.Post(this);
    }

    protected DnsExchange Exchange { get; }

    protected Socket Socket { get; }

    protected SocketAsyncEventArgs Args { get; } = new();

    /// <summary>Sends the question. What comes of it is told from the loop, never inside this call.</summary>
    /// <exception cref="SocketException">It cannot be sent.</exception>
    public abstract void Begin(ReadOnlySpan<byte> query);

    public void Dispose()
    {
        if (!_isDisposed)
        {
            _isDisposed = true;
            Socket.Dispose();
            Args.Dispose(); // a call under way is ended by the closed socket
        }
    }

    void ILoopWork.Run()
    {
        if (!_isDisposed)
        {
            GoOn();
        }
    }

    /// <summary>The attempt may begin to receive, or a socket call has ended.</summary>
    protected abstract void GoOn();

    /// <summary>Has <see cref="GoOn"/> called from the loop.</summary>
    protected void Post() => _loop.Post(this);
}
