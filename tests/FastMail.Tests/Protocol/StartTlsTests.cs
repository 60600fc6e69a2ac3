using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>What STARTTLS and STLS must never let through; the common course is in the dialogs.</summary>
public sealed class StartTlsTests
{
    /// <summary>CVE-2011-0411: somebody on the way puts commands behind STARTTLS, to be run inside TLS.</summary>
    [Theory]
    [InlineData("STARTTLS\r\nRSET\r\n")]
    [InlineData("STARTTLS\r\nNO")]
    [InlineData("STARTTLS\r\n\r")]
    [InlineData("NOOP\r\nSTARTTLS\r\nMAIL FROM:<a@b.test>\r\n")]
    public void Input_that_comes_along_with_STARTTLS_ends_the_session(string said)
    {
        var rig = SmtpRig.Create(tls: new FakeTlsOffer());
        rig.Feed("EHLO c.test\r\n"u8);
        rig.Feed(Script.Octets(said));
        Assert.EndsWith("554 5.5.0 Input behind STARTTLS, closing connection\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.True(rig.IsClosed);
        Assert.Empty(rig.Sink.Seen);
    }

    [Fact]
    public void Input_in_the_clear_that_comes_between_STARTTLS_and_the_handshake_is_never_run()
    {
        var rig = SmtpRig.Create(tls: new FakeTlsOffer());
        rig.Feed("EHLO c.test\r\nSTARTTLS\r\n"u8);
        var before = rig.Sent;
        rig.Feed("EHLO evil.test\r\nMAIL FROM:<evil@b.test>\r\nNO"u8);
        Assert.Equal(before, rig.Sent);
        rig.Secure();
        rig.Feed("OP\r\n"u8);
        Assert.Equal(before + "500 5.5.2 Command not recognized\r\n", rig.Sent);
        Assert.Empty(rig.Sink.Seen);
    }

    [Fact]
    public void STLS_with_input_behind_it_ends_the_session()
    {
        var rig = Pop3Rig.Create(new FakeMaildrop("x\r\n"), tls: new FakeTlsOffer());
        rig.Feed("STLS\r\nUSER u\r\n"u8);
        Assert.EndsWith("-ERR input behind STLS, closing connection\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.True(rig.IsClosed);
    }

    [Fact]
    public void TLS_that_cannot_be_had_for_now_is_put_off_and_the_session_goes_on()
    {
        var offer = new FakeTlsOffer { IsAvailable = false };
        var smtp = SmtpRig.Create(tls: offer);
        smtp.Feed("EHLO c.test\r\n"u8);
        smtp.Feed("STARTTLS\r\n"u8);
        Assert.EndsWith("454 4.7.0 TLS not available now, try again later\r\n", smtp.Sent, StringComparison.Ordinal);
        smtp.Feed("NOOP\r\n"u8);
        Assert.EndsWith("\r\n250 2.0.0 Ok\r\n", smtp.Sent, StringComparison.Ordinal);

        var pop3 = Pop3Rig.Create(new FakeMaildrop("x\r\n"), tls: offer);
        pop3.Feed("STLS\r\n"u8);
        Assert.EndsWith("-ERR [SYS/TEMP] TLS is not available now, try again later\r\n", pop3.Sent, StringComparison.Ordinal);

        offer.IsAvailable = true;
        smtp.Feed("STARTTLS\r\n"u8);
        Assert.True(smtp.Session.IsStartingTls);
    }

    [Fact]
    public void Who_logged_in_before_TLS_must_do_it_again()
    {
        var rig = SmtpRig.Create(SmtpRole.Submission, tls: new FakeTlsOffer());
        rig.Feed("EHLO c.test\r\nSTARTTLS\r\n"u8);
        rig.Secure();
        rig.Feed("EHLO c.test\r\nAUTH PLAIN AGRlbW9AbG9jYWwudGVzdABzZWNyZXQ=\r\n"u8);
        Assert.True(rig.Session.IsAuthenticated);
        Assert.Same(Rig.Facts, rig.Session.Tls);
        Assert.Same(Rig.Facts, rig.Session.ChannelBindings);
        rig.Session.Abandon();
        rig.Session.Reset();
        Assert.Null(rig.Session.Tls);
        Assert.False(rig.Session.IsAuthenticated);
    }

    [Fact]
    public void TLS_that_comes_first_is_known_at_the_greeting()
    {
        var rig = SmtpRig.Create(SmtpRole.Submission, tls: new FakeTlsOffer());
        rig.Session.Secured(Rig.Facts);
        rig.Feed("EHLO c.test\r\n"u8);
        Assert.StartsWith("220 ", rig.Sent, StringComparison.Ordinal);
        Assert.Contains("250-AUTH ", rig.Sent, StringComparison.Ordinal);
        Assert.DoesNotContain("STARTTLS", rig.Sent, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("TLS-args", "STARTTLS now\r\n", "501 5.5.4")]
    [InlineData("TLS-not-offered", "STARTTLS\r\n", "502 5.5.1")]
    public void Without_TLS_to_offer_STARTTLS_is_refused(string id, string said, string reply)
    {
        var rig = SmtpRig.Create();
        rig.Feed("EHLO c.test\r\n"u8);
        var before = rig.Sent.Length;
        rig.Feed(Script.Octets(said));
        Assert.True(rig.Sent[before..].StartsWith(reply, StringComparison.Ordinal), id);
    }
}
