using System.Buffers;
using System.Text;
using FastMail.LoadTest.Smtp;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>What is a reply, what is not yet one, and what never will be.</summary>
public sealed class ReplyParserTests
{
    [Theory]
    [InlineData("250 ok\r\n", 250)]
    [InlineData("250\r\n", 250)]
    [InlineData("250 \r\n", 250)]
    [InlineData("354 go ahead\r\n", 354)]
    [InlineData("250-a\r\n250-\r\n250 SIZE 9\r\n", 250)]
    [InlineData("550-5.1.1 no\r\n550 5.1.1 such user\r\n", 550)]
    public void A_whole_reply_is_done_and_every_part_of_it_is_not(string text, int code)
    {
        byte[] reply = Encoding.ASCII.GetBytes(text);
        for (int length = 0; length < reply.Length; length++)
        {
            Assert.Equal(
                OperationStatus.NeedMoreData, ReplyParser.Parse(reply.AsSpan(0, length), out int none, out _));
            Assert.Equal(0, none);
        }

        byte[] withNext = [.. reply, .. "250 next\r\n"u8];
        Assert.Equal(OperationStatus.Done, ReplyParser.Parse(withNext, out int consumed, out int parsed));
        Assert.Equal(reply.Length, consumed);
        Assert.Equal(code, parsed);
    }

    [Theory]
    [InlineData("250 bare line feed\n")]
    [InlineData("250 bare\rreturn\r\n")]
    [InlineData("25 short\r\n")]
    [InlineData("150 one\r\n")]
    [InlineData("650 six\r\n")]
    [InlineData("260 tens\r\n")]
    [InlineData("25x letter\r\n")]
    [InlineData("2500 four digits\r\n")]
    [InlineData("250=sign\r\n")]
    [InlineData("250-first\r\n251 other code\r\n")]
    [InlineData("+OK POP3\r\n")]
    [InlineData("\r\n")]
    public void Anything_else_is_refused(string text)
    {
        Assert.Equal(
            OperationStatus.InvalidData, ReplyParser.Parse(Encoding.ASCII.GetBytes(text), out int consumed, out _));
        Assert.Equal(0, consumed);
    }

    [Fact]
    public void A_line_without_end_is_refused_once_it_is_too_long()
    {
        byte[] endless = new byte[ReplyParser.LongestLine + 1];
        endless.AsSpan().Fill((byte)'2');
        Assert.Equal(OperationStatus.InvalidData, ReplyParser.Parse(endless, out _, out _));
        Assert.Equal(OperationStatus.NeedMoreData, ReplyParser.Parse(endless.AsSpan(1), out _, out _));
    }
}
