using System.Net.Sockets;
using System.Text;
using Xunit;

namespace FastMail.Tests.Server;

/// <summary>Date and Message-ID of submitted mail (RFC 6409 8).</summary>
public sealed class SubmissionFieldsTests
{
    private readonly byte[] _buffer = new byte[1 << 16];

    [Theory]
    [InlineData("Subject: x\r\n\r\nbody\r\n", true, true)]
    [InlineData("Subject: x\r\ndate: d\r\n\r\nMessage-ID: in the body\r\n", false, true)]
    [InlineData("MESSAGE-ID: <a@b>\r\n\r\nDate: in the body\r\n", true, false)]
    [InlineData("Date: d\r\nMessage-ID: <a@b>\r\n\r\nbody\r\n", false, false)]
    [InlineData("Subject: only a header\r\n", true, true)]
    public async Task What_is_missing_is_added_in_front_and_the_rest_stays_as_it_was(
        string content, bool addsDate, bool addsMessageId)
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        using (Socket smtp = fixture.Connect("submission"))
        {
            Say(smtp, "", "\r\n");
            Say(smtp, "EHLO c.test\r\n", "ENHANCEDSTATUSCODES\r\n");
            Assert.StartsWith("235", Say(smtp, $"AUTH PLAIN {Plain()}\r\n", "\r\n"), StringComparison.Ordinal);
            Assert.StartsWith("250", Say(smtp, "MAIL FROM:<u@local.test>\r\n", "\r\n"), StringComparison.Ordinal);
            Assert.StartsWith("250", Say(smtp, "RCPT TO:<v@local.test>\r\n", "\r\n"), StringComparison.Ordinal);
            Say(smtp, "DATA\r\n", "\r\n");
            Assert.StartsWith("250", Say(smtp, content + ".\r\n", "\r\n"), StringComparison.Ordinal);
        }

        using Socket pop3 = fixture.Connect("pop3");
        Say(pop3, "", "\r\n");
        Say(pop3, "USER v@local.test\r\n", "\r\n");
        Say(pop3, $"PASS {ServerFixture.Password}\r\n", "\r\n");
        string size = Say(pop3, "LIST 1\r\n", "\r\n").Split(' ')[2].TrimEnd();
        string message = Say(pop3, "RETR 1\r\n", "\r\n.\r\n");
        message = message[(message.IndexOf("\r\n", StringComparison.Ordinal) + 2)..^3];
        Assert.Equal(size, message.Length.ToString(System.Globalization.CultureInfo.InvariantCulture));
        string trace = message[..message.IndexOf(content, StringComparison.Ordinal)];
        Assert.StartsWith("Return-Path: <u@local.test>\r\nReceived: ", trace, StringComparison.Ordinal);
        Assert.Equal(addsDate, trace.Contains("\r\nDate: ", StringComparison.Ordinal));
        Assert.Equal(addsMessageId, trace.Contains("\r\nMessage-ID: <", StringComparison.Ordinal));
        Assert.EndsWith("\r\n", trace, StringComparison.Ordinal);
        Assert.Equal(content + (content.Contains("\r\n\r\n", StringComparison.Ordinal) ? "" : "\r\n"), message[trace.Length..]);
    }

    private static string Plain() =>
        Convert.ToBase64String(Encoding.ASCII.GetBytes($"\0u@local.test\0{ServerFixture.Password}"));

    private string Say(Socket socket, string sent, string end) => Encoding.ASCII.GetString(
        _buffer, 0, Dialog.Say(socket, Encoding.ASCII.GetBytes(sent), Encoding.ASCII.GetBytes(end), _buffer));
}
