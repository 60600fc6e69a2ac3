using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using Xunit;

namespace FastMail.Tests.Server;

/// <summary>Clients that come through a proxy.</summary>
public sealed class ProxyTests
{
    private readonly byte[] _buffer = new byte[1 << 16];

    [Fact]
    public async Task The_client_that_the_header_names_is_the_client()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "proxy.listeners=mx", "proxy.peers=127.0.0.1", "limits.connections_per_address=1");
        using Socket smtp = fixture.Connect("mx");
        Say(smtp, "PROXY TCP6 ::ffff:192.0.2.9 ::1 1 25\r\nEHLO c.test\r\n", "ENHANCEDSTATUSCODES\r\n");
        Say(smtp, "MAIL FROM:<a@b.test>\r\n", "\r\n");
        Say(smtp, "RCPT TO:<u@local.test>\r\n", "\r\n");
        Say(smtp, "DATA\r\n", "\r\n");
        Assert.StartsWith("250", Say(smtp, "Subject: x\r\n\r\n.\r\n", "\r\n"), StringComparison.Ordinal);

        // What is counted by client counts the client that was named, and is its own again when it has gone.
        using Socket second = fixture.Connect("mx");
        Assert.StartsWith("421", Say(second, "PROXY TCP4 192.0.2.9 192.0.2.1 2 25\r\n", "\r\n"), StringComparison.Ordinal);
        using Socket other = fixture.Connect("mx");
        Assert.StartsWith("220", Say(other, "PROXY TCP4 192.0.2.10 192.0.2.1 2 25\r\n", "\r\n"), StringComparison.Ordinal);

        using Socket pop3 = fixture.Connect("pop3");
        Say(pop3, "", "\r\n");
        Say(pop3, "USER u@local.test\r\n", "\r\n");
        Say(pop3, $"PASS {ServerFixture.Password}\r\n", "\r\n");
        Assert.Contains("from c.test ([192.0.2.9])", Say(pop3, "RETR 1\r\n", "\r\n.\r\n"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("127.0.0.1", "EHLO c.test\r\n")]
    [InlineData("192.0.2.1", "PROXY TCP4 192.0.2.9 192.0.2.1 1 25\r\n")]
    [InlineData("", "PROXY UNKNOWN\r\n")]
    public async Task Without_a_header_from_a_listed_peer_there_is_no_service(string peers, string said)
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync("proxy.listeners=mx", $"proxy.peers={peers}");
        using Socket smtp = fixture.Connect("mx");
        Assert.Equal("", Rest(smtp, said));
    }

    [Theory]
    [InlineData("submissions", false, 0)]
    [InlineData("submissions", false, 1)]
    [InlineData("submissions", false, 48)]
    [InlineData("pop3s", false, 0)]
    [InlineData("pop3s", true, 0)]
    [InlineData("pop3s", true, 5)]
    public async Task Behind_the_header_TLS_begins_and_what_came_with_it_in_one_segment_counts(
        string role, bool isBinary, int cut)
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "proxy.listeners=submissions,pop3s", "proxy.peers=127.0.0.1", "limits.connections_per_address=1");
        using SslStream tls = await fixture.ConnectTlsAsync(role, wrap: stream => new Proxying(stream, Header(isBinary), cut));
        byte[] quit = "QUIT\r\n"u8.ToArray();
        string answer = Encoding.ASCII.GetString(_buffer, 0, Dialog.Say(tls, quit, "\r\n"u8, _buffer));
        Assert.StartsWith(role == "pop3s" ? "+OK" : "221", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_over_its_limit_behind_a_proxy_is_closed_before_TLS()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "proxy.listeners=pop3s", "proxy.peers=127.0.0.1", "limits.connections_per_address=1");
        using SslStream first = await fixture.ConnectTlsAsync(
            "pop3s", wrap: stream => new Proxying(stream, Header(isBinary: true), 0));
        using Socket second = fixture.Connect("pop3s");
        Assert.Equal("", Rest(second, "PROXY TCP4 192.0.2.9 192.0.2.1 2 995\r\n"));
        using Socket plain = fixture.Connect("pop3s"); // neither a header nor a ClientHello is waited for any longer
        Assert.Equal("", Rest(plain, "PROXY TCP4 192.0.2.10 192.0.2.1 2 995\r\nCAPA\r\n"));
    }

    private static byte[] Header(bool isBinary) => isBinary
        ? [.. "\r\n\r\n\0\r\nQUIT\n"u8, 0x21, 0x11, 0, 12, 192, 0, 2, 9, 192, 0, 2, 1, 0, 1, 3, 227]
        : [.. "PROXY TCP4 192.0.2.9 192.0.2.1 1 465\r\n"u8];

    /// <summary>What comes until the end of the connection.</summary>
    private string Rest(Socket socket, string said)
    {
        try
        {
            socket.Send(Encoding.ASCII.GetBytes(said));
            return Encoding.ASCII.GetString(_buffer, 0, socket.Receive(_buffer));
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.ConnectionReset or SocketError.Shutdown)
        {
            return ""; // closed with our octets unread
        }
    }

    private string Say(Socket socket, string sent, string end) => Encoding.ASCII.GetString(
        _buffer, 0, Dialog.Say(socket, Encoding.ASCII.GetBytes(sent), Encoding.ASCII.GetBytes(end), _buffer));

    /// <summary>
    /// Puts the header in front of the first octets and sends both in one segment, or in two with a cut at that octet.
    /// </summary>
    private sealed class Proxying(NetworkStream inner, byte[] header, int cut) : Stream
    {
        private byte[]? _header = header;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => throw new NotSupportedException();

        public override long Position
        {
            get => throw new NotSupportedException();
            set => throw new NotSupportedException();
        }

        public override void Write(byte[] buffer, int offset, int count)
        {
            byte[] octets = [.. _header ?? [], .. buffer.AsSpan(offset, count)];
            int first = _header is null ? 0 : cut;
            _header = null;
            inner.Write(octets, 0, first);
            inner.Write(octets, first, octets.Length - first);
        }

        public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
        {
            Write(buffer, offset, count);
            return Task.CompletedTask;
        }

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
        {
            Write(buffer.ToArray(), 0, buffer.Length);
            return ValueTask.CompletedTask;
        }

        public override int Read(byte[] buffer, int offset, int count) => inner.Read(buffer, offset, count);

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            inner.ReadAsync(buffer, offset, count, cancellationToken);

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            inner.ReadAsync(buffer, cancellationToken);

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
}
