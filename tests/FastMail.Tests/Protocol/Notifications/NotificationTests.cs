using System.Text;
using FastMail.Protocol.Notifications;
using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol.Notifications;

/// <summary>Notifications as their recipients see them, and who gets one.</summary>
public sealed class NotificationTests
{
    [Fact]
    public void A_common_failure_reads_like_this()
    {
        var text = new NotificationRig { EnvelopeId = "QQ+2B314159" }.Write(out var facts);
        Assert.Equal(
            """
            Date: Mon, 2 Nov 2026 04:05:06 +0000
            From: Mail Delivery System <postmaster@mx.test>
            To: <a@b.test>
            Subject: Your mail could not be delivered
            Message-ID: <4F2K@mx.test>
            Auto-Submitted: auto-replied
            MIME-Version: 1.0
            Content-Type: multipart/report; report-type=delivery-status;
            {tab}boundary="=_4F2K.abcdef"


            --=_4F2K.abcdef
            Content-Type: text/plain; charset=us-ascii

            This is the mail system at mx.test.

            Your message could not be delivered, and will not be tried again, to:

              <u@far.test>
                mx1.far.test[192.0.2.1]:25 said: 550 5.1.1 no such user

            Behind this text follow a report for programs and your message.

            --=_4F2K.abcdef
            Content-Type: message/delivery-status

            Original-Envelope-Id: QQ+314159
            Reporting-MTA: dns; mx.test
            Arrival-Date: Mon, 2 Nov 2026 02:05:06 +0000

            Final-Recipient: rfc822; u@far.test
            Action: failed
            Status: 5.1.1
            Remote-MTA: dns; mx1.far.test
            Diagnostic-Code: smtp; 550 5.1.1 no such user
            Last-Attempt-Date: Mon, 2 Nov 2026 04:05:06 +0000
            Final-Log-ID: 3ZZZ

            --=_4F2K.abcdef
            Content-Type: message/rfc822

            Subject: hello

            Hello.

            --=_4F2K.abcdef--

            """.Replace("{tab}", "\t", StringComparison.Ordinal).ReplaceLineEndings("\r\n"),
            text);
        Assert.Equal(text.Length, facts.Octets);
        Assert.Equal(text.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4, facts.HeaderWireBytes);
        Assert.False(facts.Has8Bit || facts.HasLongLine || facts.NeedsSmtpUtf8);
    }

    [Fact]
    public void A_delay_says_until_when_it_goes_on_and_returns_the_header_only()
    {
        var recipient = NotificationRig.Failed("u@far.test", "connection refused") with
        {
            Action = DeliveryAction.Delayed,
            Status = "5.1.1"u8.ToArray(), // not a status of a delay
            IsSmtpReply = false,
            WillRetryUntil = NotificationRig.Now.AddDays(5),
        };
        var text = new NotificationRig { Recipients = [recipient], Return = DsnReturn.Full }.Write();
        Assert.Contains("Subject: Your mail is delayed\r\n", text, StringComparison.Ordinal);
        Assert.Contains("It will be tried until Sat, 7 Nov 2026 04:05:06 +0000.\r\n", text, StringComparison.Ordinal);
        Assert.Contains(
            "Action: delayed\r\nStatus: 4.0.0\r\nRemote-MTA: dns; mx1.far.test\r\n"
            + "Diagnostic-Code: x-fastmail; connection refused\r\n", text, StringComparison.Ordinal);
        Assert.Contains("Will-Retry-Until: Sat, 7 Nov 2026 04:05:06 +0000\r\n", text, StringComparison.Ordinal);
        Assert.EndsWith(
            "Content-Type: text/rfc822-headers\r\n\r\nSubject: hello\r\n\r\n\r\n--=_4F2K.abcdef--\r\n",
            text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(DsnReturn.Unsaid, 1 << 20, true)]
    [InlineData(DsnReturn.Full, 1 << 20, true)]
    [InlineData(DsnReturn.Headers, 1 << 20, false)]
    [InlineData(DsnReturn.Full, 10, false)]
    public void A_failure_returns_the_message_unless_the_sender_wants_less_or_it_is_long(
        DsnReturn wish, long most, bool isFull)
    {
        var text = new NotificationRig { Return = wish, MaxFullBytes = most }.Write();
        Assert.Equal(isFull, text.Contains("Hello.", StringComparison.Ordinal));
    }

    [Fact]
    public void Several_outcomes_are_told_apart()
    {
        NotifiedRecipient As(DeliveryAction action, string address) =>
            NotificationRig.Failed(address) with { Action = action, Status = default, Diagnostic = default };
        var text = new NotificationRig
        {
            Recipients =
            [
                As(DeliveryAction.Delivered, "d@x.test"), As(DeliveryAction.Failed, "f@x.test"),
                As(DeliveryAction.Relayed, "r@x.test"), As(DeliveryAction.Expanded, "e@x.test"),
            ],
        }.Write();
        Assert.Contains("Subject: What became of your mail\r\n", text, StringComparison.Ordinal);
        foreach (var (address, action, status) in new[]
        {
            ("d@x.test", "delivered", "2.0.0"), ("f@x.test", "failed", "5.0.0"),
            ("r@x.test", "relayed", "2.0.0"), ("e@x.test", "expanded", "2.0.0"),
        })
        {
            Assert.Contains(
                $"Final-Recipient: rfc822; {address}\r\nAction: {action}\r\nStatus: {status}\r\n", text, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void The_original_recipient_is_told_as_the_sender_knows_it()
    {
        var recipient = NotificationRig.Failed("u@far.test") with
        {
            OriginalRecipient = "rfc822;Bob+2Blist@far.test"u8.ToArray(),
        };
        var text = new NotificationRig { Recipients = [recipient] }.Write();
        Assert.Contains(
            "Original-Recipient: rfc822; Bob+list@far.test\r\nFinal-Recipient: rfc822; u@far.test\r\n",
            text, StringComparison.Ordinal);
    }

    [Fact]
    public void An_address_in_UTF_8_is_escaped_for_a_sender_whose_host_may_not_take_it()
    {
        var recipient = NotificationRig.Failed("j\u00f6rg+x@far.test") with
        {
            OriginalRecipient = Encoding.UTF8.GetBytes("utf-8;j\u00f6\\x{2B}@far.test"),
        };
        var text = new NotificationRig
        {
            Recipients = [recipient],
            Original = "Subject: gr\u00c3\u00bc\u00c3\u009fe\r\n\r\n\u00c3\u00bc\r\n",
            IsSmtpUtf8 = true,
        }.Write(out var facts);
        Assert.Contains(
            "Original-Recipient: utf-8; j\\x{F6}\\x{2B}@far.test\r\nFinal-Recipient: utf-8; j\\x{F6}rg\\x{2B}x@far.test\r\n",
            text, StringComparison.Ordinal);
        Assert.Contains(
            "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n", text, StringComparison.Ordinal);
        Assert.Contains("  <j=C3=B6rg+x@far.test>\r\n", text, StringComparison.Ordinal);
        Assert.Contains(
            "Content-Type: message/global\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
            + "Subject: gr=C3=BC=C3=9Fe\r\n\r\n=C3=BC\r\n", text, StringComparison.Ordinal);
        Assert.False(facts.Has8Bit || facts.NeedsSmtpUtf8);
    }

    [Fact]
    public void A_sender_in_UTF_8_gets_it_as_it_is()
    {
        var text = new NotificationRig
        {
            Sender = "\u00e4@b.test",
            Recipients = [NotificationRig.Failed("j\u00f6rg@far.test", "550 5.1.1 n\u00f6")],
            Original = "Subject: gr\u00c3\u00bc\u00c3\u009fe\r\n\r\nx\r\n",
            IsSmtpUtf8 = true,
            Return = DsnReturn.Headers,
        }.Write(out var facts);
        text = Encoding.UTF8.GetString(Encoding.Latin1.GetBytes(text));
        Assert.Contains("To: <\u00e4@b.test>\r\n", text, StringComparison.Ordinal);
        Assert.Contains("MIME-Version: 1.0\r\n", text, StringComparison.Ordinal);
        Assert.Contains("Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n", text, StringComparison.Ordinal);
        Assert.Contains("Final-Recipient: utf-8; j\u00f6rg@far.test\r\n", text, StringComparison.Ordinal);
        Assert.Contains("Diagnostic-Code: smtp; 550 5.1.1 n\u00f6\r\n", text, StringComparison.Ordinal);
        Assert.Contains(
            "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: gr\u00fc\u00dfe\r\n",
            text, StringComparison.Ordinal);
        Assert.True(facts.Has8Bit && facts.NeedsSmtpUtf8);
    }

    [Theory]
    [InlineData(DsnReturn.Full, "message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n\r\nSubject: \u00fc\r\n\r\n\u00fc\r\n", true)]
    [InlineData(
        DsnReturn.Headers, "text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nSubject: =FC\r\n", false)]
    public void Octets_above_127_of_an_old_message_are_returned_as_they_are_or_encoded(
        DsnReturn wish, string part, bool is8Bit)
    {
        var text = new NotificationRig { Original = "Subject: \u00fc\r\n\r\n\u00fc\r\n", Return = wish }.Write(out var facts);
        Assert.Contains("Content-Type: " + part, text, StringComparison.Ordinal);
        Assert.Equal(is8Bit, facts.Has8Bit);
        var header = text[..(int)facts.HeaderWireBytes];
        Assert.Equal(is8Bit, header.Contains("Content-Transfer-Encoding: 8bit\r\n", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("Subject: \u00fc\r\n\r\n\u00fc\r\n", "Subject: =FC\r\n")]
    [InlineData("Subject: x\r\n\r\n\u00fc\r\n", "Subject: x\r\n")]
    public void To_a_sender_elsewhere_they_are_never_sent_as_they_are(string original, string header)
    {
        var text = new NotificationRig { Original = original, LeavesHere = true }.Write(out var facts);
        Assert.Contains(
            $"Content-Type: text/rfc822-headers\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{header}", text,
            StringComparison.Ordinal);
        Assert.Contains("and the header of your message.", text, StringComparison.Ordinal);
        Assert.False(facts.Has8Bit);
        Assert.Contains("message/rfc822", new NotificationRig { LeavesHere = true }.Write(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, "passed on to a host that does not report deliveries, for:")]
    [InlineData(true, "passed on to the next host on its way, for:")]
    public void A_host_that_reports_is_not_said_to_report_nothing(bool reports, string words)
    {
        var relayed = NotificationRig.Failed("u@far.test", "250 ok") with { Action = DeliveryAction.Relayed, HostReports = reports };
        var text = new NotificationRig { Recipients = [relayed] }.Write();
        Assert.Contains($"Your message was {words}\r\n", text, StringComparison.Ordinal);
        Assert.Equal(!reports, text.Contains("does not report", StringComparison.Ordinal));
    }

    [Fact]
    public void The_time_by_which_it_was_to_arrive_stands_before_what_is_no_field_of_the_standard()
    {
        var release = new FutureRelease(3600, IsUntil: false);
        var told = new NotificationRig { DeliverBy = NotificationRig.Now.AddHours(1), Release = release }.Write();
        Assert.Contains(
            "+0000\r\nDeliver-By-Date: Mon, 2 Nov 2026 05:05:06 +0000\r\nFuture-Release-Request: for;3600\r\n\r\n",
            told,
            StringComparison.Ordinal);
        Assert.DoesNotContain("Deliver-By-Date", new NotificationRig().Write(), StringComparison.Ordinal);
    }

    [Fact]
    public void How_the_sender_had_it_held_back_is_told()
    {
        string Of(FutureRelease release) => new NotificationRig { Release = release }.Write();
        Assert.Contains("+0000\r\nFuture-Release-Request: for;3600\r\n\r\n", Of(new FutureRelease(3600, IsUntil: false)), StringComparison.Ordinal);
        Assert.Contains(
            "Future-Release-Request: until;2026-11-02T04:05:06Z\r\n",
            Of(new FutureRelease(NotificationRig.Now.ToUnixTimeSeconds(), IsUntil: true)), StringComparison.Ordinal);
    }

    [Fact]
    public void A_NUL_never_leaves()
    {
        var text = new NotificationRig { Original = "Subject: a\0b\r\n\r\nc\0d\r\n" }.Write();
        Assert.DoesNotContain('\0', text);
        Assert.Contains("Subject: a=00b\r\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void What_a_host_says_cannot_make_fields_or_lines()
    {
        var text = new NotificationRig
        {
            Recipients =
            [
                NotificationRig.Failed("u@far.test", "550-no\r\n550 5.7.1\r\n\r\n--=_4F2K.abcdef\r\nBcc: x\u001b[2J\u202eevil") with
                {
                    RemoteHost = "evil\r\nX: y"u8.ToArray(),
                },
            ],
        }.Write();
        Assert.Contains(
            "Diagnostic-Code: smtp; 550-no 550 5.7.1 --=_4F2K.abcdef Bcc: x [2J evil\r\n",
            text.Replace("\r\n ", " ", StringComparison.Ordinal), StringComparison.Ordinal);
        Assert.Contains("Remote-MTA: dns; evil X: y\r\n", text, StringComparison.Ordinal);
        Assert.Equal(4, text.Split("\r\n--=_4F2K.abcdef").Length - 1);
    }

    [Theory]
    [InlineData("192.0.2.1[192.0.2.1]:25", "dns; [192.0.2.1]")]
    [InlineData("[IPv6:::1]:25", "dns; [IPv6:::1]:25")]
    [InlineData("unix:/run/lmtp.sock", "x-unix; unix:/run/lmtp.sock")]
    public void The_next_hop_is_named_as_what_it_is(string host, string field)
    {
        var recipient = NotificationRig.Failed("u@far.test") with { RemoteHost = Encoding.ASCII.GetBytes(host) };
        Assert.Contains(
            $"\r\nRemote-MTA: {field}\r\n", new NotificationRig { Recipients = [recipient] }.Write(), StringComparison.Ordinal);
    }

    [Fact]
    public void The_text_names_a_hundred_recipients_and_the_report_all()
    {
        NotifiedRecipient[] many = [.. Enumerable.Range(0, 500).Select(i => NotificationRig.Failed($"u{i}@far.test"))];
        var text = new NotificationRig { Recipients = many }.Write();
        Assert.Equal(100, text.Split("\r\n  <u").Length - 1);
        Assert.Contains("There are more recipients", text, StringComparison.Ordinal);
        Assert.Equal(500, text.Split("\r\nFinal-Recipient: rfc822; u").Length - 1);
    }

    [Fact]
    public void A_header_section_without_end_is_cut_at_a_line()
    {
        var line = "X-Filler: " + new string('x', 990) + "\r\n";
        var text = new NotificationRig
        {
            Original = string.Concat(Enumerable.Repeat(line, 5000)),
            Return = DsnReturn.Headers,
        }.Write(out var facts);
        Assert.InRange(facts.Octets, 65536, 70000);
        Assert.EndsWith("xxx\r\n\r\n--=_4F2K.abcdef--\r\n", text, StringComparison.Ordinal);
    }

    [Fact]
    public void A_header_of_one_endless_line_is_cut_too()
    {
        new NotificationRig { Original = new string('x', 1 << 20) + "\r\n", Return = DsnReturn.Headers }.Write(out var facts);
        Assert.InRange(facts.Octets, 2 * 65536, (2 * 65536) + 2000);
        Assert.True(facts.HasLongLine);
    }

    [Fact]
    public void Without_anybody_to_tell_of_or_to_there_is_no_notification()
    {
        Assert.Throws<ArgumentException>(() => new NotificationRig { Recipients = [] }.Write());
        Assert.Throws<ArgumentException>(() => new NotificationRig { Sender = "" }.Write());
        Assert.Throws<InvalidOperationException>(() => new NotificationWriter().End());
    }

    [Theory]
    [InlineData(DsnNotify.Unsaid, true, true, false)]
    [InlineData(DsnNotify.Never, false, false, false)]
    [InlineData(DsnNotify.Success, false, false, true)]
    [InlineData(DsnNotify.Failure, true, false, false)]
    [InlineData(DsnNotify.Delay, false, true, false)]
    [InlineData(DsnNotify.Success | DsnNotify.Failure | DsnNotify.Delay, true, true, true)]
    public void Who_hears_of_what(DsnNotify notify, bool ofFailure, bool ofDelay, bool ofSuccess)
    {
        Assert.Equal(ofFailure, NotificationPolicy.IsWanted(DeliveryAction.Failed, notify, "a@b.test"u8));
        Assert.Equal(ofDelay, NotificationPolicy.IsWanted(DeliveryAction.Delayed, notify, "a@b.test"u8));
        foreach (var action in new[] { DeliveryAction.Delivered, DeliveryAction.Relayed, DeliveryAction.Expanded })
        {
            Assert.Equal(ofSuccess, NotificationPolicy.IsWanted(action, notify, "a@b.test"u8));
        }
        foreach (var action in Enum.GetValues<DeliveryAction>())
        {
            Assert.False(NotificationPolicy.IsWanted(action, notify, []));
        }
    }

    [Fact]
    public void The_trace_of_a_notification_names_its_recipient()
    {
        var room = new byte[TraceFields.MaxBytes];
        var length = TraceFields.WriteOwn(room, "mx.test"u8, "4F2K"u8, "a@b.test"u8, NotificationRig.Now, out var returnPath);
        Assert.Equal(
            "Return-Path: <>\r\nReceived: by mx.test id 4F2K\r\n\tfor <a@b.test>;\r\n\tMon, 2 Nov 2026 04:05:06 +0000\r\n",
            Encoding.ASCII.GetString(room.AsSpan(0, length)));
        Assert.Equal("Return-Path: <>\r\n".Length, returnPath);
    }
}
