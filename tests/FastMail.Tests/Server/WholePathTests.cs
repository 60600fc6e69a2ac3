using System.Net.Security;
using System.Net.Sockets;
using System.Text;
using Xunit;

namespace FastMail.Tests.Server;

[Collection(nameof(Allocations))]
public sealed class WholePathTests
{
    private readonly byte[] _buffer = new byte[1 << 20];

    [Fact]
    public async Task Mail_sent_over_SMTP_is_collected_over_POP3_byte_for_byte()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        using Socket smtp = fixture.Connect("mx");
        Say(smtp, "", "\r\n");
        Say(smtp, "HELO c.test\r\n", "\r\n");
        Assert.StartsWith("250 2.1.0", Say(smtp, "MAIL FROM:<a@b.test>\r\n", "\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("250 2.1.5", Say(smtp, "RCPT TO:<u@local.test>\r\n", "\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("250 2.1.5", Say(smtp, "RCPT TO:<v@local.test>\r\n", "\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("354", Say(smtp, "DATA\r\n", "\r\n"), StringComparison.Ordinal);
        Assert.StartsWith("250 2.0.0", Say(smtp, "Subject: x\r\n\r\n..dot\r\n.\r\n", "\r\n"), StringComparison.Ordinal);

        foreach (string user in new[] { "u", "v" })
        {
            using Socket pop3 = fixture.Connect("pop3");
            Say(pop3, "", "\r\n");
            Say(pop3, $"USER {user}@local.test\r\n", "\r\n");
            Assert.StartsWith("+OK", Say(pop3, "PASS secret\r\n", "\r\n"), StringComparison.Ordinal);
            string message = Say(pop3, "RETR 1\r\n", "\r\n.\r\n");
            Assert.EndsWith("\r\nSubject: x\r\n\r\n..dot\r\n.\r\n", message, StringComparison.Ordinal);
            Assert.Contains("\r\nReturn-Path: <a@b.test>\r\nReceived: from c.test", message, StringComparison.Ordinal);
            Assert.StartsWith("+OK", Say(pop3, "QUIT\r\n", "\r\n"), StringComparison.Ordinal);
        }
    }

    [ReleaseFact]
    public Task Receiving_allocates_nothing_per_message_on_the_loop() => ReceiveWithoutGarbageAsync();

    [ReleaseFact]
    public Task Nor_does_receiving_into_a_maildrop_with_a_quota() =>
        ReceiveWithoutGarbageAsync("quota.octets=1GiB", "quota.messages=1000000");

    private async Task ReceiveWithoutGarbageAsync(params string[] settings)
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(settings);
        using Socket smtp = fixture.Connect("mx");
        Say(smtp, "", "\r\n");
        Say(smtp, "HELO c.test\r\n", "\r\n");
        byte[] envelope = "MAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n"u8.ToArray();
        byte[] content = Encoding.ASCII.GetBytes("Subject: x\r\n\r\n" + new string('x', 900) + "\r\n.\r\n");
        for (int i = 0; i < 5000; i++) // past tiering; the index array of 8192 entries is there then
        {
            Send(smtp, envelope, content);
        }

        long least = Allocations.Least(5, () => LoopAllocations.Read(fixture.Server.Loop), () =>
        {
            for (int i = 0; i < 600; i++)
            {
                Send(smtp, envelope, content);
            }
        });

        Assert.Equal(0, least);
    }

    [ReleaseFact]
    public async Task Receiving_and_collecting_over_TLS_allocates_nothing_per_message_on_the_loop()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        await using SslStream smtp = await fixture.ConnectTlsAsync("mx", "STARTTLS\r\n");
        await using SslStream pop3 = await fixture.ConnectTlsAsync("pop3s");
        Dialog.Say(smtp, "EHLO c.test\r\n"u8, "250 ENHANCEDSTATUSCODES\r\n"u8, _buffer);
        byte[] envelope = "MAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n"u8.ToArray();
        byte[] content = Encoding.ASCII.GetBytes("Subject: x\r\n\r\n" + new string('x', 900) + "\r\n.\r\n");
        void Send()
        {
            Dialog.Say(smtp, envelope, "<CR><LF>.<CR><LF>\r\n"u8, _buffer);
            Dialog.Say(smtp, content, "\r\n"u8, _buffer);
        }

        Send();
        Dialog.Say(pop3, "USER u@local.test\r\n"u8, "+OK\r\n"u8, _buffer);
        Dialog.Say(pop3, "PASS secret\r\n"u8, " octets)\r\n"u8, _buffer);
        void SendAndCollect(int times)
        {
            for (int i = 0; i < times; i++)
            {
                Send();
                Dialog.Say(pop3, "RETR 1\r\n"u8, "\r\n.\r\n"u8, _buffer);
            }
        }

        SendAndCollect(5000); // past tiering; the index array of 8192 entries is there then
        long least = Allocations.Least(5, () => LoopAllocations.Read(fixture.Server.Loop), () => SendAndCollect(500));

        Assert.Equal(0, least);
    }

    [ReleaseFact]
    public async Task A_connection_allocates_what_its_socket_needs_and_little_more()
    {
        const int Connections = 200;
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        void ConnectAndQuit(int times)
        {
            for (int i = 0; i < times; i++)
            {
                using Socket smtp = fixture.Connect("mx");
                Dialog.Say(smtp, "QUIT\r\n"u8, "2.0.0 Bye\r\n"u8, _buffer);
            }
        }

        ConnectAndQuit(1000); // past tiering, and the pools are filled
        long each = Allocations.Least(5, () => LoopAllocations.Read(fixture.Server.Loop), () => ConnectAndQuit(Connections)) / Connections;

        Assert.InRange(each, 1, 1024); // the accepted socket, its handle and its addresses
    }

    private void Send(Socket smtp, byte[] envelope, byte[] content)
    {
        Dialog.Say(smtp, envelope, "<CR><LF>.<CR><LF>\r\n"u8, _buffer);
        int length = Dialog.Say(smtp, content, "\r\n"u8, _buffer);
        Assert.True(_buffer.AsSpan(0, length).StartsWith("250 "u8));
    }

    private string Say(Socket socket, string sent, string end) => Encoding.ASCII.GetString(
        _buffer, 0, Dialog.Say(socket, Encoding.ASCII.GetBytes(sent), Encoding.ASCII.GetBytes(end), _buffer));
}
