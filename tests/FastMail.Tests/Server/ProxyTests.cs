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
}
