using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using FastMail.Net;

namespace FastMail.Server.Dns;

/// <summary>
/// An attempt over TCP (RFC 7766), for answers longer than a datagram: one question, one answer, two octets of length in
/// front of each. See <see cref="DnsAttempt"/>.
/// </summary>
internal sealed class DnsStream : DnsAttempt
{
    private const int LengthBytes = 2;

    private Phase _phase = Phase.Connecting;
    private byte[] _buffer = [];
    private int _filled;
    private int _wanted;

    public DnsStream(DnsExchange exchange, EventLoop loop, IPEndPoint server)
        : base(exchange, loop, new Socket(server.AddressFamily, SocketType.Stream, ProtocolType.Tcp))
    {
        Args.RemoteEndPoint = server;
    }

    private enum Phase
    {
        Connecting,
        Sending,
        ReadingLength,
        ReadingMessage,
    }

    public override void Begin(ReadOnlySpan<byte> query)
    {
        _buffer = new byte[LengthBytes + query.Length];
        BinaryPrimitives.WriteUInt16BigEndian(_buffer, (ushort)query.Length);
        query.CopyTo(_buffer.AsSpan(LengthBytes));
        _wanted = _buffer.Length;
        if (!Socket.ConnectAsync(Args))
        {
            Post();
        }
    }

    protected override void GoOn()
    {
        bool hasEnded = true;
        while (hasEnded)
        {
            if (!TryStep())
            {
                Exchange.Take(this, null);
                return;
            }

            if (_phase == Phase.ReadingMessage && _filled == _wanted)
            {
                Exchange.Take(this, new ArraySegment<byte>(_buffer, 0, _wanted));
                return;
            }

            Args.SetBuffer(_buffer, _filled, _wanted - _filled);
            hasEnded = !(_phase == Phase.Sending ? Socket.SendAsync(Args) : Socket.ReceiveAsync(Args));
        }
    }

    /// <summary>Takes note of the call that has ended and sets up the next one; false when the stream is at its end.</summary>
    private bool TryStep()
    {
        if (Args.SocketError != SocketError.Success || (_phase != Phase.Connecting && Args.BytesTransferred == 0))
        {
            return false;
        }

        if (_phase == Phase.Connecting)
        {
            _phase = Phase.Sending;
            return true;
        }

        _filled += Args.BytesTransferred;
        if (_filled < _wanted || _phase == Phase.ReadingMessage)
        {
            return true;
        }

        _filled = 0;
        (_wanted, _phase) = _phase == Phase.Sending
            ? (LengthBytes, Phase.ReadingLength)
            : (BinaryPrimitives.ReadUInt16BigEndian(_buffer), Phase.ReadingMessage);
        _buffer = new byte[_wanted];
        return _wanted > 0;
    }
}
