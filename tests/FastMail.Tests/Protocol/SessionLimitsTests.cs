using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol;

public sealed class SessionLimitsTests
{
    private const string ToData = "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n";

    [Theory]
    [InlineData(100, "250 2.0.0")]
    [InlineData(101, "554 5.6.0 Line")]
    public void A_line_of_content_may_be_as_long_as_the_limit(int octets, string reply)
    {
        var limits = new SessionLimits { ContentLineBytes = 100 };
        var line = new string('x', octets);
        AssertLastReply(limits, $"A: b\r\n\r\n{line}\r\n.\r\n", reply);
        AssertLastReply(limits, $"A: b\r\n\r\nfirst\r\n{line}\r\nlast\r\n.\r\n", reply);
        AssertLastReply(limits, $"A: b\r\n\r\n..{line[1..]}\r\n.\r\n", reply); // the stuffed dot does not count
    }

    [Theory]
    [InlineData(3, "250 2.0.0")]
    [InlineData(4, "554 5.6.0 Header")]
    public void A_header_may_have_as_many_lines_as_the_limit(int lines, string reply)
    {
        var limits = new SessionLimits { HeaderLines = 3 };
        var header = string.Concat(Enumerable.Repeat("X: a\r\n", lines - 1)) + " folded\r\n";
        AssertLastReply(limits, $"{header}\r\nbody\r\nbody\r\nbody\r\nbody\r\n.\r\n", reply);
        AssertLastReply(limits, $"{header}.\r\n", reply); // no empty line: all of it is header
    }

    [Theory]
    [InlineData(100, "250 2.0.0")]
    [InlineData(101, "554 5.6.0 Header")]
    public void A_header_may_have_as_many_octets_as_the_limit(int octets, string reply)
    {
        var limits = new SessionLimits { HeaderBytes = 100 };
        var header = "X: " + new string('a', octets - 7) + "\r\n\r\n";
        AssertLastReply(limits, $"{header}body {new string('b', 500)}\r\n.\r\n", reply);
    }

    [Fact]
    public void Content_that_begins_with_no_field_has_no_header_that_could_be_too_long()
    {
        var limits = new SessionLimits { HeaderLines = 3, HeaderBytes = 100 };
        AssertLastReply(limits, string.Concat(Enumerable.Repeat("just a line of text\r\n", 20)) + ".\r\n", "250 2.0.0");
    }

    [Fact]
    public void A_chunk_with_too_long_a_line_ends_the_transaction_at_once()
    {
        var rig = Rig(new SessionLimits { ContentLineBytes = 10 });
        rig.Feed(Encoding.ASCII.GetBytes(ToData[..^6] + "BDAT 21\r\n0123456789012345678\r\nBDAT 2 LAST\r\nxx"));
        Assert.Contains("\r\n554 5.6.0 Line of content too long\r\n503 5.5.1", rig.Sent, StringComparison.Ordinal);
        Assert.Empty(rig.Sink.Stored);
    }

    [Fact]
    public void Errors_beyond_the_prompt_ones_are_each_followed_by_a_pause_until_the_session_closes()
    {
        var rig = Rig(SessionLimits.Default);
        rig.Session.HasPauses = true;
        for (var i = 0; i < 30 && !rig.IsClosed; i++)
        {
            rig.Feed("FOO\r\n"u8);
            Assert.Equal(Math.Clamp(i + 1 - 10, 0, 10), rig.Pauses.Count);
        }

        Assert.All(rig.Pauses, pause => Assert.Equal(TimeSpan.FromSeconds(1), pause));
        Assert.Equal(20, rig.Sent.Split("500 5.5.2").Length - 1);
        Assert.EndsWith("421 4.7.0 Too many errors, closing connection\r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void Refused_recipients_cost_pauses_but_not_the_session()
    {
        var rig = Rig(SessionLimits.Default);
        rig.Session.HasPauses = true;
        rig.Feed("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n"u8);
        for (var i = 0; i < 100; i++)
        {
            rig.Feed("RCPT TO:<nobody@local.test>\r\n"u8);
        }

        rig.Feed("RCPT TO:<u@local.test>\r\n"u8);
        Assert.EndsWith("250 2.1.5 Recipient ok\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.Equal(90, rig.Pauses.Count);
    }

    [Fact]
    public void A_tarpit_takes_its_time_from_the_first_error_on()
    {
        var rig = Rig(new SessionLimits { Tarpit = TimeSpan.FromSeconds(7) });
        rig.Session.HasPauses = true;
        rig.Feed("EHLO c.test\r\nFOO\r\nNOOP\r\n"u8);
        Assert.Equal([TimeSpan.FromSeconds(7)], rig.Pauses);
    }

    [Fact]
    public void An_exempt_session_never_pauses()
    {
        var rig = Rig(new SessionLimits { Tarpit = TimeSpan.FromSeconds(7) });
        rig.Feed("EHLO c.test\r\n"u8);
        for (var i = 0; i < 20; i++)
        {
            rig.Feed("FOO\r\n"u8);
        }

        Assert.Empty(rig.Pauses);
    }

    [Theory]
    [InlineData(false, "220 mx.test")]
    [InlineData(true, "554 5.5.1")]
    public void A_client_that_speaks_before_a_delayed_greeting_is_refused(bool speaks, string reply)
    {
        var rig = Rig(new SessionLimits { GreetingPause = TimeSpan.FromSeconds(3) }, greets: false);
        rig.HasInputAfterPause = speaks;
        rig.Session.PauseBeforeGreeting();
        rig.Feed(default);
        Assert.Equal([TimeSpan.FromSeconds(3)], rig.Pauses);
        Assert.StartsWith(reply, rig.Sent, StringComparison.Ordinal);
        Assert.Equal(speaks, rig.IsClosed);
    }

    [Fact]
    public void Overload_refuses_the_transaction_and_closes()
    {
        var rig = Rig(SessionLimits.Default);
        rig.Sink.MailRefusal = SmtpReply.Overloaded;
        rig.Feed("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nNOOP\r\n"u8);
        Assert.EndsWith("421 4.3.2 Overloaded, try again later\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.True(rig.IsClosed);
    }

    private static SmtpRig Rig(SessionLimits limits, bool greets = true)
    {
        var rig = SmtpRig.Create(limits: limits);
        if (greets)
        {
            rig.Feed(default);
        }

        return rig;
    }

    private static void AssertLastReply(SessionLimits limits, string content, string reply)
    {
        foreach (var segment in new[] { int.MaxValue, 1, 7, 64 })
        {
            var rig = Rig(limits);
            rig.FeedSplit(Encoding.ASCII.GetBytes(ToData + content), segment);
            var last = rig.Sent.TrimEnd().Split("\r\n")[^1];
            Assert.StartsWith(reply, last, StringComparison.Ordinal);
            Assert.Equal(reply.StartsWith("250", StringComparison.Ordinal) ? 1 : 0, rig.Sink.Stored.Count);
        }
    }
}
