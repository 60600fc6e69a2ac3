using System.Text;
using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>What a dialog in text cannot show: the sink's view, the end of connections, reuse.</summary>
public sealed class SmtpSessionTests
{
    private const string Envelope = "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\n";

    [Fact]
    public void The_sink_gets_envelope_and_content_as_they_came()
    {
        var rig = SmtpRig.Create(SmtpRole.Submission);
        Say(rig, "EHLO [192.0.2.7]\r\nAUTH PLAIN AGRlbW9AbG9jYWwudGVzdABzZWNyZXQ=\r\n");
        Say(rig, "MAIL FROM:<@r.test:\"q q\"@b.test> SIZE=77 BODY=8BITMIME SMTPUTF8\r\n");
        Say(rig, "RCPT TO:<U@local.test>\r\nRCPT TO:<postmaster>\r\nDATA\r\nA: b\r\n\r\n..\xE9\r\n.\r\n");
        Assert.Equal("mail \"q q\"@b.test 77 True True demo@local.test", rig.Sink.Seen[0]);
        Assert.Equal("content [192.0.2.7] True True demo@local.test", rig.Sink.Seen[1]);
        var message = Assert.Single(rig.Sink.Stored);
        Assert.Equal(["U@local.test", "postmaster"], message.Recipients);
        Assert.Equal("A: b\r\n\r\n..\xE9\r\n.\r\n", Encoding.Latin1.GetString(message.Wire));
        Assert.True(message.Facts.Has8Bit);
    }

    [Theory]
    [InlineData("EHLO c.test\r\n", 0)]
    [InlineData(Envelope, 1)]
    [InlineData(Envelope + "DATA\r\nhalf", 1)]
    [InlineData(Envelope + "BDAT 5\r\nhal", 1)]
    [InlineData(Envelope + "DATA\r\nbare\n", 1)]
    [InlineData(Envelope + "DATA\r\nwhole\r\n.\r\n", 0)]
    public void A_connection_that_breaks_leaves_nothing_open(string said, int abandoned)
    {
        var rig = SmtpRig.Create();
        Say(rig, said);
        rig.Session.Abandon();
        Assert.Equal(abandoned, rig.Sink.Abandoned);
        Assert.False(rig.Session.IsInTransaction);
    }

    [Theory]
    [InlineData(true, "421 4.4.2 ")]
    [InlineData(false, "421 4.3.2 ")]
    public void The_last_words_tell_why_and_end_the_transaction(bool isTimeout, string expected)
    {
        var rig = SmtpRig.Create();
        Say(rig, Envelope);
        var replies = new byte[1024];
        var length = rig.Session.LastWords(isTimeout, replies);
        Assert.StartsWith(expected, Encoding.ASCII.GetString(replies, 0, length), StringComparison.Ordinal);
        Assert.Equal(1, rig.Sink.Abandoned);
        Assert.Equal(0, rig.Session.LastWords(isTimeout, replies));
        rig.Feed("NOOP\r\n"u8);
        Assert.True(rig.IsClosed);
    }

    [Fact]
    public void A_commit_under_way_outlives_its_connection()
    {
        var sink = new FakeSink();
        var session = NewSession(sink);
        var replies = new byte[1024];
        session.Receive([], replies, out _, out _);
        var text = Encoding.ASCII.GetBytes(Envelope + "DATA\r\nx\r\n.\r\nNOOP\r\n");
        session.Receive(text, replies, out var consumed, out _);
        Assert.Equal(text.Length - 6, consumed);
        Assert.True(session.IsWaiting);
        Assert.True(session.IsInTransaction);
        session.Receive("NOOP\r\n"u8, replies, out consumed, out var written);
        Assert.Equal((0, 0), (consumed, written));
        session.Abandon();
        session.Committed(sink.CompleteCommit());
        Assert.Equal(0, sink.Abandoned);
        Assert.Single(sink.Stored);
    }

    [Fact]
    public void Content_the_sink_refuses_is_not_asked_for()
    {
        var rig = SmtpRig.Create();
        rig.Sink.ContentRefusal = SmtpReply.InsufficientStorage;
        Say(rig, Envelope + "DATA\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nBDAT 4 LAST\r\nDATANOOP\r\n");
        Assert.EndsWith(
            "452 4.3.1 Insufficient system storage\r\n250 2.1.0 Sender ok\r\n250 2.1.5 Recipient ok\r\n"
            + "452 4.3.1 Insufficient system storage\r\n250 2.0.0 Ok\r\n",
            rig.Sent, StringComparison.Ordinal);
        Assert.Equal(2, rig.Sink.Abandoned);
    }

    [Fact]
    public void A_failed_commit_is_answered_as_the_sink_says_and_the_dialog_goes_on()
    {
        var rig = SmtpRig.Create();
        rig.Sink.CommitReply = SmtpReply.LocalError;
        Say(rig, Envelope + "DATA\r\nx\r\n.\r\n");
        rig.Sink.CommitReply = SmtpReply.Accepted;
        Say(rig, "MAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\nx\r\n.\r\n");
        Assert.Contains("\r\n451 4.3.0 Local error, try again later\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.EndsWith("250 2.0.0 Ok: queued as T2\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.Single(rig.Sink.Stored);
    }

    [Fact]
    public void Content_too_large_is_given_up_before_it_ends()
    {
        var rig = SmtpRig.Create(maxMessageBytes: 100);
        Say(rig, Envelope + "DATA\r\n" + new string('x', 104));
        Assert.Equal(1, rig.Sink.Abandoned);
        Say(rig, "\r\n.\r\n");
        Assert.EndsWith("552 5.3.4 Message too big\r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(98, 1)]
    [InlineData(99, 0)]
    public void The_size_limit_counts_what_the_recipient_gets(int letters, int stored)
    {
        var rig = SmtpRig.Create(maxMessageBytes: 100);
        Say(rig, Envelope + "DATA\r\n." + "." + new string('x', letters - 1) + "\r\n.\r\n");
        Assert.Equal(stored, rig.Sink.Stored.Count);
    }

    [Fact]
    public void A_full_password_queue_is_a_temporary_failure()
    {
        var rig = SmtpRig.Create(SmtpRole.Submission);
        rig.Authenticator.IsFull = true;
        Say(rig, "EHLO c\r\nAUTH PLAIN AGEAYg==\r\nNOOP\r\n");
        Assert.EndsWith(
            "454 4.7.0 Temporary authentication failure\r\n250 2.0.0 Ok\r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void A_session_that_was_reset_knows_nothing_of_its_last_client()
    {
        var sink = new FakeSink();
        var session = NewSession(sink);
        var replies = new byte[4096];
        session.Receive(Encoding.ASCII.GetBytes(Envelope + "RCPT TO:<v@local.test>\r\n"), replies, out _, out _);
        session.Abandon();
        session.Reset();
        session.Receive("RCPT TO:<v@local.test>\r\n"u8, replies, out _, out var written);
        Assert.Equal(
            "220 mx.test ESMTP FastMail\r\n503 5.5.1 Bad sequence of commands\r\n",
            Encoding.ASCII.GetString(replies, 0, written));
    }

    [Fact]
    public void XCLIENT_tells_address_and_port_and_its_HELO_stands_for_the_EHLO_of_the_go_between()
    {
        var rig = SmtpRig.Create().WithXclient();
        Say(rig, "EHLO proxy.test\r\nXCLIENT ADDR=IPV6:2001:db8::7 PORT=99 HELO=c.test\r\nEHLO proxy.test\r\n");
        Say(rig, "MAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n.\r\n");
        Assert.Equal(["20010DB8000000000000000000000007:99"], rig.Declared);
        Assert.Contains(rig.Sink.Seen, seen => seen.StartsWith("content c.test ", StringComparison.Ordinal));
    }

    private static SmtpSession NewSession(FakeSink sink) => new(
        new SmtpSessionOptions { Hostname = "mx.test"u8.ToArray(), Role = SmtpRole.Mx }, sink, new FakeAuthenticator());

    private static void Say(SmtpRig rig, string text) => rig.Feed(Encoding.Latin1.GetBytes(text));
}
