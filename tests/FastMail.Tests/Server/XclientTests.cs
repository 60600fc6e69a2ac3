using System.Net.Sockets;
using System.Text;
using Xunit;

namespace FastMail.Tests.Server;

/// <summary>Clients whom a go-between that speaks SMTP tells of.</summary>
public sealed class XclientTests
{
    private readonly byte[] _buffer = new byte[1 << 16];

    [Fact]
    public async Task The_client_that_XCLIENT_names_is_limited_and_traced()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "xclient.peers=127.0.0.1", "limits.connections_per_address=1");
        using Socket smtp = fixture.Connect("mx");
        Say(smtp, "", "\r\n");
        Assert.StartsWith(
            "220", Say(smtp, "XCLIENT ADDR=IPV6:::ffff:192.0.2.9 HELO=c.test\r\n", "\r\n"), StringComparison.Ordinal);
        Say(smtp, "EHLO proxy.test\r\n", "ENHANCEDSTATUSCODES\r\n");
        Say(smtp, "MAIL FROM:<a@b.test>\r\n", "\r\n");
        Assert.StartsWith("550", Say(smtp, "RCPT TO:<x@elsewhere.test>\r\n", "\r\n"), StringComparison.Ordinal);
        Say(smtp, "RCPT TO:<u@local.test>\r\n", "\r\n");
        Say(smtp, "DATA\r\n", "\r\n");
        Assert.StartsWith("250", Say(smtp, "Subject: x\r\n\r\n.\r\n", "\r\n"), StringComparison.Ordinal);

        // Its one connection is taken; when the go-between brings another client, it is free again.
        using Socket second = fixture.Connect("mx");
        Say(second, "", "\r\n");
        Assert.StartsWith("421 4.7.0", Say(second, "XCLIENT ADDR=192.0.2.9\r\n", "\r\n"), StringComparison.Ordinal);
        Say(smtp, "XCLIENT ADDR=192.0.2.10\r\n", "\r\n");
        using Socket third = fixture.Connect("mx");
        Say(third, "", "\r\n");
        Assert.StartsWith("220", Say(third, "XCLIENT ADDR=192.0.2.9\r\n", "\r\n"), StringComparison.Ordinal);

        using Socket pop3 = fixture.Connect("pop3");
        Say(pop3, "", "\r\n");
        Say(pop3, "USER u@local.test\r\n", "\r\n");
        Say(pop3, $"PASS {ServerFixture.Password}\r\n", "\r\n");
        Assert.Contains("from c.test ([192.0.2.9])", Say(pop3, "RETR 1\r\n", "\r\n.\r\n"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("")]
    [InlineData("192.0.2.0/24")]
    public async Task Nobody_else_may_say_it(string peers)
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync($"xclient.peers={peers}");
        using Socket smtp = fixture.Connect("mx");
        Say(smtp, "", "\r\n");
        Assert.StartsWith("550 5.7.1", Say(smtp, "XCLIENT ADDR=192.0.2.9\r\n", "\r\n"), StringComparison.Ordinal);
        Assert.DoesNotContain(
            "XCLIENT", Say(smtp, "EHLO c.test\r\n", "ENHANCEDSTATUSCODES\r\n"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_client_that_guesses_passwords_is_counted_and_not_its_go_between()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "xclient.peers=127.0.0.1", "auth.failure_delay=0", "auth.pair_failures=1");
        for (int client = 1; client <= 2; client++)
        {
            using System.Net.Security.SslStream smtp = await fixture.ConnectTlsAsync("submissions");
            Say(smtp, $"XCLIENT ADDR=192.0.2.{client}\r\n", "\r\n");
            Say(smtp, "EHLO c.test\r\n", "ENHANCEDSTATUSCODES\r\n");
            string wrong = Convert.ToBase64String(Encoding.ASCII.GetBytes("\0u@local.test\0wrong"));
            Assert.StartsWith("535", Say(smtp, $"AUTH PLAIN {wrong}\r\n", "\r\n"), StringComparison.Ordinal);
            Assert.StartsWith("454", Say(smtp, $"AUTH PLAIN {wrong}\r\n", "\r\n"), StringComparison.Ordinal);
        }
    }

    private string Say(Socket socket, string sent, string end) => Encoding.ASCII.GetString(
        _buffer, 0, Dialog.Say(socket, Encoding.ASCII.GetBytes(sent), Encoding.ASCII.GetBytes(end), _buffer));

    private string Say(Stream stream, string sent, string end) => Encoding.ASCII.GetString(
        _buffer, 0, Dialog.Say(stream, Encoding.ASCII.GetBytes(sent), Encoding.ASCII.GetBytes(end), _buffer));
}
