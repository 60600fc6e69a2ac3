using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>
/// Hostile and odd input, one case a row: the state it is sent in, the octets, the replies that must come (each by its
/// beginning, <c>;</c> between them), whether the server closes, and how many messages it has stored.
/// </summary>
public sealed class BadInputTests
{
    private const string Bare = "550 5.5.2";
    private const string Smuggled =
        @"MAIL FROM:<admin@smuggled.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n";

    [Theory]
    [InlineData("SMUG-IN-lf.crlf", @"hi\n.\r\n", Bare, 0)]
    [InlineData("SMUG-IN-crlf.lf", @"hi\r\n.\n", Bare, 0)]
    [InlineData("SMUG-IN-cr.cr", @"hi\r.\r", Bare, 0)]
    [InlineData("SMUG-IN-cr.lf", @"hi\r.\n", Bare, 0)]
    [InlineData("SMUG-IN-cr.crlf", @"hi\r.\r\n", Bare, 0)]
    [InlineData("SMUG-IN-crlf.cr", @"hi\r\n.\r", Bare, 0)]
    [InlineData("SMUG-IN-crlf.crcrlf", @"hi\r\n.\r\r\n", Bare, 0)]
    [InlineData("SMUG-IN-crcrlf.crcrlf", @"hi\r\r\n.\r\r\n", Bare, 0)]
    [InlineData("SMUG-IN-nul-before-dot", @"hi\r\n\x00.\r\n", "550 5.6.0", 0)]
    [InlineData("SMUG-IN-nul-after-dot", @"hi\r\n.\x00\r\n", "550 5.6.0", 0)]
    [InlineData("SMUG-IN-lf-nul.lf", @"hi\n\x00.\n", Bare, 0)]
    [InlineData("SMUG-IN-lfcr.lfcr", @"hi\n\r.\n\r", Bare, 0)]
    [InlineData("SMUG-IN-crlflf.crlf", @"hi\r\n\n.\r\n", Bare, 0)]
    [InlineData("SMUG-IN-nel-utf8", @"hi\xc2\x85.\xc2\x85", "250", 1)]
    [InlineData("SMUG-IN-u2028", @"hi\xe2\x80\xa8.\xe2\x80\xa8", "250", 1)]
    [InlineData("SMUG-IN-tab-after-dot", @"hi\r\n.\t\r\n", "250", 1)]
    [InlineData("SMUG-IN-space-before-dot", @"hi\r\n .\r\n", "250", 1)]
    [InlineData("SMUG-IN-dotdot", @"hi\r\n..\r\n", "250", 1)]
    public void No_second_message_rides_inside_the_first(string id, string disguise, string reply, int stored) =>
        Play(id, "data", @"Subject: t\r\n\r\n" + disguise + Smuggled, reply, closes: false, stored);

    [Theory]
    [InlineData("SMUG-IN-crcrlf.crlf", @"hi\r\r\n.\r\nMAIL FROM:<c@d.test>\r\n", "550 5.5.2;250 2.1.0", 0)]
    [InlineData("SMUG-IN-start-dot-lf", @".\nx\r\n.\r\n", Bare, 0)]
    [InlineData("SMUG-IN-start-dot-cr", @".\rx\r\n.\r\n", Bare, 0)]
    [InlineData("SMUG-IN-empty-message", @".\r\n", "250", 1)]
    [InlineData("SMUG-IN-split-eod", @"hi\r\n.\r\n", "250", 1)]
    [InlineData("SMUG-IN-split-lf-eod", @"hi\n.\r\n\r\n.\r\n", Bare, 0)]
    [InlineData("SMUG-IN-bare-cr-body", @"a\rb\r\n.\r\n", Bare, 0)]
    [InlineData("SMUG-IN-bare-lf-body", @"a\nb\r\n.\r\n", Bare, 0)]
    [InlineData("SMUG-IN-nul-body", @"a\x00b\r\n.\r\n", "550 5.6.0", 0)]
    [InlineData("SMUG-IN-legal-pipeline", @"hi\r\n.\r\nMAIL FROM:<c@d.test>\r\n", "250 2.0.0;250 2.1.0", 1)]
    [InlineData("DATA-line-64k", @"{{65536*x}}\r\n.\r\n", "250", 1)]
    [InlineData("DATA-line-1M", @"{{900000*x}}\r\n.\r\n", "554 5.6.0", 0)]
    [InlineData("DATA-too-large", @"{{1000001*x}}\r\n.\r\n", "552 5.3.4", 0)]
    [InlineData("DATA-too-large-and-bare", @"{{1000001*x}}\r\na\nb\r\n.\r\n", Bare, 0)]
    [InlineData("DATA-8bit-no8bitmime", @"\xe9t\xe9\r\n.\r\n", "250", 1)]
    public void Content_ends_at_the_true_end_of_data(string id, string content, string reply, int stored) =>
        Play(id, "data", content, reply, closes: false, stored);

    [Theory]
    [InlineData("CMD-bare-lf", "ehlo", @"NOOP\n", "500 5.5.2", true)]
    [InlineData("CMD-bare-cr", "ehlo", @"NOOP\rNOOP\r\n", "500 5.5.2", true)]
    [InlineData("CMD-lfcr", "ehlo", @"NOOP\n\rNOOP\n\r", "500 5.5.2", true)]
    [InlineData("CMD-crcrlf", "ehlo", @"NOOP\r\r\n", "500 5.5.2", true)]
    [InlineData("CMD-nul-prefix", "ehlo", @"\x00NOOP\r\n", "500 5.5.2", true)]
    [InlineData("CMD-turkish-i", "connect", @"ma\xc4\xb1l from:<a@b.test>\r\n", "500 5.5.2", false)]
    [InlineData("CMD-empty-line", "ehlo", @"\r\n", "500 5.5.2", false)]
    [InlineData("CMD-space-line", "ehlo", @"   \r\n", "500 5.5.2", false)]
    [InlineData("CMD-trailing-space", "ehlo", @"NOOP \r\n", "250", false)]
    [InlineData("CMD-tab-sep", "ehlo", @"MAIL\tFROM:<a@b.test>\r\n", "500", false)]
    [InlineData("CMD-line-512", "ehlo", @"NOOP {{505*a}}\r\n", "250", false)]
    [InlineData("CMD-line-2048", "ehlo", @"NOOP {{2041*a}}\r\n", "250", false)]
    [InlineData("CMD-line-2049", "ehlo", @"NOOP {{2042*a}}\r\nNOOP\r\n", "500 5.5.2;250", false)]
    [InlineData("CMD-line-3000-bare-lf", "ehlo", @"NOOP {{3000*a}}\nNOOP\r\n", "500 5.5.2", true)]
    [InlineData("CMD-line-1M-nolf", "ehlo", @"{{1048576*A}}", "500 5.5.2", true)]
    [InlineData("CMD-http-get", "connect", @"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "500", true)]
    [InlineData("CMD-http-post", "connect", @"POST / HTTP/1.1\r\n\r\nEHLO x\r\n", "500", true)]
    [InlineData("CMD-http-connect", "connect", @"CONNECT x:25 HTTP/1.0\r\n\r\n", "500", true)]
    [InlineData("CMD-header-as-cmd", "ehlo", @"Subject: hello\r\n", "500", true)]
    [InlineData("CMD-tls-hello-plain", "connect", @"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "500", true)]
    [InlineData("CMD-ssl2-hello", "connect", @"\x80\x2e\x01\x00\x02", "500", true)]
    [InlineData("CMD-telnet-iac", "connect", @"\xff\xfb\x01EHLO x\r\n", "500 5.5.2", false)]
    [InlineData("CMD-utf16", "connect", @"E\x00H\x00L\x00O\x00 \x00x\x00\r\x00\n\x00", "500", true)]
    [InlineData("CMD-ehlo-pipelined", "connect", @"HELO x\r\nMAIL FROM:<a@b.test>\r\n", "250;250 2.1.0", false)]
    [InlineData("CMD-data-after-quit", "ehlo", @"QUIT\r\nMAIL FROM:<a@b.test>\r\n", "221", true)]
    [InlineData("CMD-debug-wiz", "ehlo", @"WIZ\r\nDEBUG\r\n", "500;500", false)]
    [InlineData("CMD-etrn", "ehlo", @"ETRN #',1); select 1;--\r\n", "502 5.5.1", false)]
    [InlineData("CMD-send", "ehlo", @"SEND FROM:<a@b.test>\r\n", "500", false)]
    [InlineData("CMD-help-8bit", "ehlo", @"HELP \xff\r\n", "214", false)]
    [InlineData("HELO-empty-sp", "connect", @"EHLO \r\n", "501 5.5.4", false)]
    [InlineData("HELO-utf8", "connect", @"EHLO \xc3\xa9.test\r\n", "501 5.5.4", false)]
    [InlineData("HELO-bad-literal", "connect", @"EHLO [999.1.1.1]\r\n", "501 5.5.4", false)]
    [InlineData("HELO-v6-overflow", "connect", @"EHLO [IPv6:{{40*1:}}1]\r\n", "501 5.5.4", false)]
    [InlineData("HELO-log-inject", "connect", @"EHLO x\x1b[2J\x07\r\n", "501 5.5.4", false)]
    [InlineData("HELO-crlf-pct", "connect", @"EHLO a%0d%0aX\r\n", "501 5.5.4", false)]
    [InlineData("TLS-args", "ehlo", @"STARTTLS now\r\n", "501 5.5.4", false)]
    public void Commands(string id, string state, string octets, string replies, bool closes) =>
        Play(id, state, octets, replies, closes, 0);

    [Theory]
    [InlineData("MAIL-space-colon", @" <a@b.test>", "250")]
    [InlineData("MAIL-double-lt", @"<<a@b.test>>", "501 5.1.7")]
    [InlineData("MAIL-unclosed", @"<a@b.test", "501 5.1.7")]
    [InlineData("MAIL-trailing-junk", @"<a@b.test>junk", "501 5.5.4")]
    [InlineData("MAIL-empty-quoted", @"<\""\""@b.test>", "250")]
    [InlineData("MAIL-quoted-gt", @"<\""a>b\""@b.test>", "250")]
    [InlineData("MAIL-quoted-unterminated", @"<\""a@b.test>", "501 5.1.7")]
    [InlineData("MAIL-shell", @"<;for i in 0 1 2;do read r;done;sh;exit 0;>", "501 5.1.7")]
    [InlineData("MAIL-expansion", @"<${run{\\x2fbin\\x2fsh}}@b.test>", "501 5.1.7")]
    [InlineData("MAIL-utf8-ok", @"<\xc3\xa9@b.test> SMTPUTF8", "250")]
    [InlineData("MAIL-utf8-not-asked", @"<\xc3\xa9@b.test>", "553 5.6.7")]
    [InlineData("MAIL-utf8-invalid", @"<\xff\xfe@b.test> SMTPUTF8", "501 5.1.7")]
    [InlineData("MAIL-utf8-overlong", @"<\xc0\xae@b.test> SMTPUTF8", "501 5.1.7")]
    [InlineData("MAIL-utf8-surrogate", @"<\xed\xa0\x80@b.test> SMTPUTF8", "501 5.1.7")]
    [InlineData("MAIL-utf8-truncated", @"<a\xe2\x82@b.test> SMTPUTF8", "501 5.1.7")]
    [InlineData("MAIL-utf8-homograph", @"<admin@\xd0\xb0pple.test> SMTPUTF8", "250")]
    [InlineData("MAIL-utf8-fullwidth-at", @"<a\xef\xbc\xa0b.test> SMTPUTF8", "501 5.1.7")]
    [InlineData("MAIL-smtputf8-value", @"<a@b.test> SMTPUTF8=1", "501 5.5.4")]
    [InlineData("MAIL-local-64", @"<{{64*a}}@b.test>", "250")]
    [InlineData("MAIL-local-65", @"<{{65*a}}@b.test>", "501 5.1.7")]
    [InlineData("MAIL-domain-256", @"<a@{{64*abc.}}test>", "501 5.1.7")]
    [InlineData("MAIL-label-64", @"<a@{{64*a}}.test>", "501 5.1.7")]
    [InlineData("MAIL-literal-ok", @"<a@[192.0.2.1]>", "250")]
    [InlineData("MAIL-literal-octal", @"<a@[0300.0250.1.1]>", "501 5.1.7")]
    [InlineData("MAIL-literal-hex", @"<a@[0x7f000001]>", "501 5.1.7")]
    [InlineData("MAIL-literal-v4mapped", @"<a@[IPv6:::ffff:127.0.0.1]>", "250")]
    [InlineData("MAIL-source-route", @"<@one.test,@two.test:a@b.test>", "250")]
    [InlineData("MAIL-route-deep", @"<{{400*@a.test,}}@z.test:a@b.test>", "500")]
    [InlineData("MAIL-comment", @"<a(comment)@b.test>", "501 5.1.7")]
    [InlineData("MAIL-dots", @"<.a..b.@b.test>", "501 5.1.7")]
    [InlineData("MAIL-trail-dot", @"<a@b.test.>", "501 5.1.7")]
    [InlineData("MAIL-underscore", @"<a@b_c.test>", "501 5.1.7")]
    [InlineData("MAIL-postmaster-alone", @"<postmaster>", "501 5.1.7")]
    [InlineData("MAIL-unknown-param", @"<a@b.test> FOO=BAR", "555 5.5.4")]
    [InlineData("MAIL-param-no-name", @"<a@b.test> =x", "501 5.5.4")]
    [InlineData("MAIL-size-neg", @"<a@b.test> SIZE=-1", "501 5.5.4")]
    [InlineData("MAIL-size-plus", @"<a@b.test> SIZE=+5", "501 5.5.4")]
    [InlineData("MAIL-size-sp", @"<a@b.test> SIZE= 5", "501 5.5.4")]
    [InlineData("MAIL-size-none", @"<a@b.test> SIZE", "501 5.5.4")]
    [InlineData("MAIL-size-twice", @"<a@b.test> SIZE=1 SIZE=1", "501 5.5.4")]
    [InlineData("MAIL-size-2e63", @"<a@b.test> SIZE=9223372036854775808", "552 5.3.4")]
    [InlineData("MAIL-size-20nines", @"<a@b.test> SIZE=99999999999999999999", "552 5.3.4")]
    [InlineData("MAIL-size-hex", @"<a@b.test> SIZE=0x10", "501 5.5.4")]
    [InlineData("MAIL-size-arabic", @"<a@b.test> SIZE=\xd9\xa1\xd9\xa2", "501 5.5.4")]
    [InlineData("MAIL-body-bad", @"<a@b.test> BODY=FOO", "501 5.5.4")]
    [InlineData("MAIL-body-binary", @"<a@b.test> BODY=BINARYMIME", "250")]
    public void Reverse_paths(string id, string path, string reply) =>
        Play(id, "ehlo", "MAIL FROM:" + path + @"\r\n", reply, closes: false, 0);

    [Theory]
    [InlineData("MAIL-space-before-colon", @"MAIL FROM :<a@b.test>\r\n", "501 5.5.4")]
    [InlineData("MAIL-no-argument", @"MAIL\r\n", "501 5.5.4")]
    [InlineData("MAIL-auth-on-mx", @"MAIL FROM:<a@b.test> AUTH=<>\r\n", "555 5.5.4")]
    [InlineData("RCPT-no-mail", @"RCPT TO:<u@local.test>\r\n", "503 5.5.1")]
    public void Odd_envelopes(string id, string octets, string reply) =>
        Play(id, "ehlo", octets, reply, closes: false, 0);

    [Theory]
    [InlineData("RCPT-unknown", "<nobody-x@local.test>", "550 5.1.1")]
    [InlineData("RCPT-case", "<U@LOCAL.TEST>", "250")]
    [InlineData("RCPT-null", "<>", "501 5.1.3")]
    [InlineData("RCPT-notify", "<u@local.test> NOTIFY=NEVER,SUCCESS", "501 5.5.4")]
    [InlineData("RCPT-traversal", "<../../etc/passwd@local.test>", "501 5.1.3")]
    [InlineData("RCPT-traversal-enc", "<..%2f..%2fetc@local.test>", "501 5.1.3")]
    [InlineData("RCPT-traversal-quoted", @"<\""/../x\""@local.test>", "550 5.1.1")]
    [InlineData("RCPT-dev", @"<\""|/bin/sh\""@local.test>", "550 5.1.1")]
    [InlineData("RCPT-file-addr", "</tmp/x>", "501 5.1.3")]
    [InlineData("RELAY-plain", "<x@relay.test>", "550 5.7.1")]
    [InlineData("RELAY-pct-local", "<x%relay.test@local.test>", "550 5.1.1")]
    [InlineData("RELAY-quoted-whole", @"<\""x@relay.test\"">", "501 5.1.3")]
    [InlineData("RELAY-two-at-literal", "<x@relay.test@[127.0.0.1]>", "501 5.1.3")]
    [InlineData("RELAY-quoted-at-literal", @"<\""x@relay.test\""@[127.0.0.1]>", "550 5.7.1")]
    [InlineData("RELAY-quoted-at-local", @"<\""x@relay.test\""@local.test>", "550 5.1.1")]
    [InlineData("RELAY-route-local", "<@local.test:x@relay.test>", "550 5.7.1")]
    [InlineData("RELAY-bang", "<relay.test!x>", "501 5.1.3")]
    [InlineData("RELAY-bang-literal", "<relay.test!x@[127.0.0.1]>", "550 5.7.1")]
    [InlineData("RELAY-no-brackets", "x@relay.test", "501 5.1.3")]
    [InlineData("RELAY-semicolon", "<x@relay.test;y@local.test>", "501 5.1.3")]
    [InlineData("RELAY-comma", "<u@local.test,x@relay.test>", "501 5.1.3")]
    [InlineData("RELAY-case-domain", "<x@RELAY.TEST>", "550 5.7.1")]
    [InlineData("RELAY-space-domain", "<x@local.test relay.test>", "501 5.1.3")]
    [InlineData("RELAY-idn-dot", @"<x@relay\xe3\x80\x82test>", "501 5.1.3")]
    public void Forward_paths(string id, string path, string reply) =>
        Play(id, "mail", "RCPT TO:" + path + @"\r\n", reply, closes: false, 0);

    [Theory]
    [InlineData("RELAY-nul-domain", @"RCPT TO:<x@local.test\x00.relay.test>\r\n", "500 5.5.2", true, 0)]
    [InlineData("RELAY-crlf-domain", @"RCPT TO:<x@local.test\n@relay.test>\r\n", "500 5.5.2", true, 0)]
    [InlineData("MAIL-xclient-mid", @"XCLIENT ADDR=127.0.0.1\r\n", "503 5.5.1", false, 0)]
    [InlineData("DATA-no-rcpt", @"DATA\r\n", "503 5.5.1", false, 0)]
    public void Inside_a_transaction(string id, string octets, string replies, bool closes, int stored) =>
        Play(id, "mail", octets, replies, closes, stored);

    [Theory]
    [InlineData("BDAT-ok", @"BDAT 5 LAST\r\nhi!\r\n", "250", false, 1)]
    [InlineData("BDAT-zero-last", @"BDAT 3\r\nabcBDAT 0 LAST\r\n", "250;250", false, 1)]
    [InlineData("BDAT-plus", @"BDAT +5 LAST\r\nhello", "501 5.5.4", true, 0)]
    [InlineData("BDAT-2e63", @"BDAT 9223372036854775808 LAST\r\n", "552 5.3.4", true, 0)]
    [InlineData("BDAT-2e64p5", @"BDAT 18446744073709551621 LAST\r\nhello", "552", true, 0)]
    [InlineData("BDAT-2e32p5", @"BDAT 4294967301 LAST\r\nhello", "552 5.3.4", true, 0)]
    [InlineData("BDAT-hex", @"BDAT 0x5 LAST\r\nhello", "501 5.5.4", true, 0)]
    [InlineData("BDAT-missing", @"BDAT\r\n", "501 5.5.4", true, 0)]
    [InlineData("BDAT-not-last", @"BDAT 5 FIRST\r\nhello", "501 5.5.4", true, 0)]
    [InlineData("BDAT-rset-mid", @"BDAT 3\r\nabcRSET\r\nBDAT 3 LAST\r\nabc", "250;250;503", false, 0)]
    [InlineData("BDAT-after-last", @"BDAT 3 LAST\r\nabcBDAT 3 LAST\r\nabc", "250;503", false, 1)]
    [InlineData("BDAT-leading-dot", @"BDAT 5 LAST\r\n.abc\n", "550 5.5.2", false, 0)]
    [InlineData("BDAT-cr-at-the-end", @"BDAT 4 LAST\r\nabc\r", "550 5.5.2", false, 0)]
    [InlineData("BDAT-oversize-drain", @"BDAT 1000001 LAST\r\n{{1000001*x}}NOOP\r\n", "552 5.3.4;250", false, 0)]
    [InlineData("BDAT-starttls-mid", @"BDAT 3\r\nabcSTARTTLS\r\n", "250;503 5.5.1", false, 0)]
    public void Chunks(string id, string octets, string replies, bool closes, int stored) =>
        Play(id, "rcpt", octets, replies, closes, stored);

    [Fact]
    public void The_bad_command_after_twenty_closes_the_session() =>
        Play("CMD-too-many-unknown", "ehlo", @"{{25*FOO\r\n}}", Times(20, "500 5.5.2") + ";421 4.7.0", closes: true, 0);

    [Fact]
    public void Commands_that_carry_no_mail_become_errors_and_then_the_end() =>
        Play("CMD-noop-flood", "helo", @"{{200*NOOP\r\n}}",
            Times(99, "250") + ";" + Times(20, "450 4.7.0") + ";421 4.7.0", closes: true, 0);

    [Fact]
    public void One_recipient_more_than_allowed_is_put_off() =>
        Play("RCPT-flood", "mail", @"{{1001*RCPT TO:<u@local.test>\r\n}}",
            Times(1000, "250") + ";452 4.5.3", closes: false, 0);

    [Fact]
    public void The_eleventh_wrong_password_closes_the_session()
    {
        var rig = SmtpRig.Create(SmtpRole.Submission);
        rig.Feed(Script.Octets(@"EHLO x\r\n{{50*AUTH PLAIN AGEAYg==\r\n}}"));
        var replies = rig.Sent.Split("\r\n");
        Assert.Equal(10, replies.Count(line => line.StartsWith("535 5.7.8", StringComparison.Ordinal)));
        Assert.Equal("421 4.7.0 Too many errors, closing connection", replies[^2]);
        Assert.True(rig.IsClosed);
    }

    [Theory]
    [InlineData(@"AUTH PLAIN {{65536*A}}\r\nNOOP\r\n")]
    [InlineData(@"AUTH PLAIN\r\n{{12287*A}}\r\nNOOP\r\n")]
    public void An_authentication_line_too_long_is_refused_and_skipped(string octets)
    {
        foreach (var segment in new[] { int.MaxValue, 1000 })
        {
            var rig = SmtpRig.Create(SmtpRole.Submission);
            rig.Feed(Script.Octets(@"EHLO x\r\n"));
            rig.FeedSplit(Script.Octets(octets.Replace("65536", "60000", StringComparison.Ordinal)), segment);
            Assert.EndsWith(
                "500 5.5.6 Authentication line too long\r\n250 2.0.0 Ok\r\n", rig.Sent, StringComparison.Ordinal);
        }
    }

    private static string Times(int count, string reply) => string.Join(';', Enumerable.Repeat(reply, count));

    private static void Play(string id, string state, string octets, string replies, bool closes, int stored)
    {
        foreach (var segment in new[] { int.MaxValue, 1, 7 })
        {
            var text = Script.Octets(octets);
            if (segment == 1 && text.Length > 100_000)
            {
                continue;
            }
            var rig = SmtpRig.Create();
            rig.Feed(Script.Octets(Preamble(state)));
            var before = rig.Sent.Length;
            rig.FeedSplit(text, segment == 7 ? Math.Max(7, text.Length / 1000) : segment);
            var sent = rig.Sent[before..].Split("\r\n")[..^1];
            var expected = replies.Split(';');
            Assert.True(expected.Length == sent.Length, $"{id} by {segment}: {string.Join(" / ", sent)}");
            for (var i = 0; i < sent.Length; i++)
            {
                Assert.True(sent[i].StartsWith(expected[i], StringComparison.Ordinal), $"{id} by {segment}: {sent[i]}");
            }
            Assert.True(closes == rig.IsClosed, $"{id} by {segment}: closed is {rig.IsClosed}");
            Assert.Equal(stored, rig.Sink.Stored.Count);
        }
    }

    private static string Preamble(string state) => state switch
    {
        "connect" => "",
        "helo" => @"HELO c.test\r\n",
        "ehlo" => @"EHLO c.test\r\n",
        "mail" => Preamble("ehlo") + @"MAIL FROM:<a@b.test> SMTPUTF8\r\n",
        "rcpt" => Preamble("mail") + @"RCPT TO:<u@local.test>\r\n",
        "data" => Preamble("rcpt") + @"DATA\r\n",
        _ => throw new ArgumentOutOfRangeException(nameof(state), state, "unknown"),
    };
}
