using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Text;

namespace FastMail.Tests.Net.Tls;

/// <summary>A blocking client that speaks lines over TLS. Owned by one test, on its thread.</summary>
internal sealed class TlsClient : IDisposable
{
    private readonly SslStream _stream;
    private readonly byte[] _buffer = new byte[64 * 1024];
    private int _start;
    private int _end;

    /// <param name="transport">Connected; said to be in the clear so far.</param>
    public TlsClient(Stream transport, SslProtocols protocols = SslProtocols.None)
    {
        _stream = new SslStream(transport);
        _stream.AuthenticateAsClient(new SslClientAuthenticationOptions
        {
            TargetHost = "test.example",
            EnabledSslProtocols = protocols,
            RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate is not null, // made by the test
        });
    }

    public SslStream Stream => _stream;

    public static TlsClient Connect(IPEndPoint server, SslProtocols protocols = SslProtocols.None) =>
        new(ConnectInTheClear(server), protocols);

    public static NetworkStream ConnectInTheClear(IPEndPoint server)
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        socket.ReceiveTimeout = (int)LoopFixture.Patience.TotalMilliseconds;
        socket.SendTimeout = socket.ReceiveTimeout;
        socket.Connect(server);
        return new NetworkStream(socket, ownsSocket: true);
    }

    public void Send(string text) => Send(Encoding.ASCII.GetBytes(text));

    public void Send(ReadOnlySpan<byte> octets) => _stream.Write(octets);

    /// <summary>A line without its CRLF; null at the server's end.</summary>
    public string? ReadLine()
    {
        StringBuilder line = new();
        while (ReadOctet() is { } octet)
        {
            if (octet == '\n')
            {
                return line.ToString().TrimEnd('\r');
            }

            line.Append((char)octet);
        }

        return line.Length == 0 ? null : line.ToString();
    }

    public byte[] ReadExactly(int octets)
    {
        byte[] read = new byte[octets];
        int kept = Math.Min(octets, _end - _start);
        _buffer.AsSpan(_start, kept).CopyTo(read);
        _start += kept;
        _stream.ReadExactly(read.AsSpan(kept));
        return read;
    }

    public void Dispose() => _stream.Dispose();

    private byte? ReadOctet()
    {
        if (_start == _end)
        {
            _start = 0;
            _end = _stream.Read(_buffer);
        }

        return _end == 0 ? null : _buffer[_start++];
    }
}

/// <summary>Hands over what is written in pieces of one size, each its own segment. Owned by one test.</summary>
internal sealed class Splitting(NetworkStream inner, int octets) : Stream
{
    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        for (; !buffer.IsEmpty; buffer = buffer[Math.Min(octets, buffer.Length)..])
        {
            inner.Write(buffer[..Math.Min(octets, buffer.Length)]);
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override int Read(Span<byte> buffer) => inner.Read(buffer[..Math.Min(octets, buffer.Length)]);

    public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

    public override void Flush() => inner.Flush();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            inner.Dispose();
        }

        base.Dispose(disposing);
    }
}
