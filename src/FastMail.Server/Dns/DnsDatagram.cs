using System.Net;
using System.Net.Sockets;
using FastMail.Net;

namespace FastMail.Server.Dns;

/// <summary>
/// An attempt over UDP: a connected socket, so that the port is new and random and the kernel drops what other hosts
/// send. See <see cref="DnsAttempt"/>.
/// </summary>
internal sealed class DnsDatagram : DnsAttempt
{
    /// <summary>What we announce to take: more is often lost with its fragments (the DNS flag day of 2020).</summary>
    public const ushort MostBytes = 1232;

    private readonly byte[] _received = new byte[MostBytes + 1]; // one more tells what is too long
    private bool _hasBegun;

    public DnsDatagram(DnsExchange exchange, EventLoop loop, IPEndPoint server)
        : base(exchange, loop, new Socket(server.AddressFamily, SocketType.Dgram, ProtocolType.Udp))
    {
        try
        {
            Socket.Connect(server); // of UDP: only names the peer
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override void Begin(ReadOnlySpan<byte> query)
    {
        Socket.Send(query);
        Post(); // which begins to receive
    }

    protected override void GoOn()
    {
        if (_hasBegun)
        {
            Take();
        }

        _hasBegun = true;
        while (Exchange.IsCurrent(this))
        {
            Args.SetBuffer(_received);
            if (Socket.ReceiveAsync(Args))
            {
                return;
            }

            Take();
        }
    }

    private void Take()
    {
        if (Args.SocketError != SocketError.Success)
        {
            Exchange.Take(this, null);
            return;
        }

        // One that is too long is no answer, but the right one may follow it.
        int length = Args.BytesTransferred > MostBytes ? 0 : Args.BytesTransferred;
        Exchange.Take(this, new ArraySegment<byte>(_received, 0, length));
    }
}
