using System.Buffers;
using System.Net;
using FastMail.Net;
using FastMail.Protocol;

namespace FastMail.Server.Proxy;

/// <summary>
/// One connection from a proxy: reads the header, gives the connection its client's address, and from then on only
/// passes the calls on. A peer that is no proxy of ours, a malformed header and none in time are closed without a word.
/// Made for one connection; loop thread only.
/// </summary>
internal sealed class ProxiedHandler(ProxiedHandlers home) : IConnectionHandler
{
    private static readonly TimeSpan HeaderTimeout = TimeSpan.FromSeconds(5);

    private Connection? _connection;
    private IConnectionHandler? _inner;

    public void Opened(Connection connection)
    {
        _connection = connection;
        if (home.Peers.Contains(connection.RemoteEndPoint.Address))
        {
            connection.SetDeadline(HeaderTimeout);
        }
        else
        {
            connection.Abort();
        }
    }

    public void Secured(TlsParameters tls) => _inner!.Secured(tls);

    public Turn Receive(
        ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
    {
        if (_inner is not null)
        {
            return _inner.Receive(received, replies, out consumed, out written, out body);
        }

        written = 0;
        body = default;
        Span<byte> address = stackalloc byte[16];
        OperationStatus status = ProxyHeader.Parse(received, address, out ProxyHeader header, out consumed);
        if (status == OperationStatus.NeedMoreData)
        {
            return Turn.Receive;
        }

        if (status != OperationStatus.Done)
        {
            return Turn.Close;
        }

        IPEndPoint client = header.Address.IsEmpty
            ? _connection!.RemoteEndPoint
            : new IPEndPoint(Folded(new IPAddress(header.Address)), header.Port);
        if (!_connection!.TryDeclareClient(client))
        {
            // A client that wants TLS first could not read why.
            ReadOnlySpan<byte> refusal = home.BeginsWithTls ? default : home.ClientRefusal.Span;
            refusal.CopyTo(replies);
            written = refusal.Length;
            return Turn.Close;
        }

        _inner = home.Inner.Rent();
        _inner.Opened(_connection);
        return home.BeginsWithTls ? Turn.Secure : Turn.Continue;
    }

    public int LastWords(CloseReason reason, Span<byte> replies) => _inner?.LastWords(reason, replies) ?? 0;

    public void Closed()
    {
        _connection = null;
        _inner?.Closed();
    }

    /// <summary>When the connection is over: what goes back to its own pool.</summary>
    internal IConnectionHandler? TakeInner()
    {
        IConnectionHandler? inner = _inner;
        _inner = null;
        return inner;
    }

    /// <summary>One client, one address: <c>::ffff:192.0.2.1</c> is 192.0.2.1.</summary>
    private static IPAddress Folded(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
}
