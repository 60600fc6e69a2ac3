using System.Text;
using FastMail.Protocol.Smtp.Client;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol.Client;

/// <summary>What a reply is and what is none.</summary>
public sealed class ReplyReaderTests
{
    [Theory]
    [InlineData("250 ok\r\n", "250 2.0.0 250 ok")]
    [InlineData("250\r\n", "250 2.0.0 250")]
    [InlineData("250 \r\n", "250 2.0.0 250")]
    [InlineData("550 5.1.1 no\r\n", "550 5.1.1 550 5.1.1 no")]
    [InlineData("550 5.1.1\r\n", "550 5.1.1 550 5.1.1")]
    [InlineData("550 4.1.1 no\r\n", "550 5.0.0 550 4.1.1 no")] // a class of its own is no status
    [InlineData("550 5.1.1234 no\r\n", "550 5.0.0 550 5.1.1234 no")]
    [InlineData("550 5.7.123 no\r\n", "550 5.7.123 550 5.7.123 no")]
    [InlineData("250-a\r\n250-\r\n250 b\r\n", "250 2.0.0 250 a b")]
    [InlineData("250 a\0b\t\x80\r\n", @"250 2.0.0 250 a\x00b\x09\x80")]
    [InlineData("354 go\r\n", "354 3.0.0 354 go")]
    [InlineData("250-a\r\n550 b\r\n", "Malformed")]
    [InlineData("2x0 ok\r\n", "Malformed")]
    [InlineData("2\r\n", "Malformed")]
    [InlineData("25\r\n", "Malformed")]
    [InlineData("\r\n", "Malformed")]
    [InlineData("150 a\r\n", "Malformed")]
    [InlineData("600 a\r\n", "Malformed")]
    [InlineData("250_a\r\n", "Malformed")]
    [InlineData("2500 a\r\n", "Malformed")]
    [InlineData("220 a\n", "Malformed")]
    [InlineData("220 a\r b\r\n", "Malformed")]
    [InlineData("220 a\r\r\n", "Malformed")]
    [InlineData(" 220 a\r\n", "Malformed")]
    [InlineData("220 a\r", "Incomplete")]
    [InlineData("220-a\r\n", "Incomplete")]
    [InlineData("", "Incomplete")]
    public void A_reply_is_read_strictly(string wire, string expected) => Assert.Equal(expected, Read(wire, 1));

    [Fact]
    public void A_line_and_a_reply_have_bounds()
    {
        var line = new string('x', 2048 - 6);
        Assert.StartsWith("220 2.0.0 220 x", Read($"220 {line}\r\n", 7));
        Assert.Equal("TooLong", Read($"220 {line}x\r\n", 7));
        Assert.Equal("TooLong", Read("220 " + new string('x', 1 << 20), 4096));
        var lines = string.Concat(Enumerable.Repeat("250-x\r\n", 127));
        Assert.StartsWith("250 2.0.0 250 x x", Read(lines + "250 x\r\n", 5));
        Assert.Equal("TooLong", Read(lines + "250-x\r\n250 x\r\n", 5));
        Assert.Equal("TooLong", Read(string.Concat(Enumerable.Repeat($"250-{line}\r\n", 5)), 5));
    }

    [Fact]
    public void Replies_mean_the_same_however_they_are_cut()
    {
        string[] pieces = ["250 ok\r\n", "250-", "550 ", "5.1.1 ", "\r\n", "\r", "\n", "x", "250-a\r\n", "354\r\n", "\0", "99"];
        var streams = (from parts in Gen.Elements(pieces).ArrayOf()
                       from cut in Gen.Choose(1, 9)
                       select (string.Concat(parts), cut)).ToArbitrary();
        Prop.ForAll(streams, stream => Read(stream.Item1, int.MaxValue) == Read(stream.Item1, stream.cut))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(2000));
    }

    [Fact]
    public void A_text_that_does_not_fit_is_cut_between_characters()
    {
        var reader = default(ReplyReader);
        Assert.Equal(ReplyStatus.Complete, reader.Read("550 ab\0c\r\n"u8, out var reply, out _));
        for (var room = 0; room < 16; room++)
        {
            var text = new byte[room];
            var length = new DeliveryReply(DeliveryOutcome.Failed, ClientPhase.Rcpt, reply).WriteText(text);
            Assert.StartsWith(Encoding.ASCII.GetString(text, 0, length), @"550 ab\x00c");
        }
    }

    /// <summary>All replies of the stream, and what stands behind them.</summary>
    internal static string Read(string wire, int piece)
    {
        var octets = Encoding.Latin1.GetBytes(wire);
        var reader = default(ReplyReader);
        var found = new StringBuilder();
        var (start, end) = (0, 0);
        while (true)
        {
            var status = reader.Read(octets.AsSpan(start, end - start), out var reply, out var consumed);
            start += consumed;
            if (status == ReplyStatus.Complete)
            {
                var text = new byte[64 * 1024];
                var length = new DeliveryReply(DeliveryOutcome.Delivered, ClientPhase.Mail, reply).WriteText(text);
                found.Append($"{reply.Code} {reply.Status} ").Append(Encoding.ASCII.GetString(text, 0, length)).Append('|');
            }
            else if (status != ReplyStatus.Incomplete || end == octets.Length)
            {
                var isOnlyStatus = found.Length == 0;
                return isOnlyStatus || status != ReplyStatus.Incomplete || start < octets.Length
                    ? found.Append(status).ToString()
                    : found.ToString().TrimEnd('|');
            }
            else
            {
                end = (int)Math.Min((long)end + piece, octets.Length);
            }
        }
    }
}
