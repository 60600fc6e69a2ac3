using System.Text;
using FastMail.Protocol.Smtp;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>Any stream of octets, cut anywhere, gives the same replies and the same stored messages.</summary>
public sealed class SplitTests
{
    private static readonly string[] SmtpPieces =
    [
        "EHLO c.test\r\n", "HELO c.test\r\n", "MAIL FROM:<a@b.test>\r\n", "MAIL FROM:<a@b.test> SIZE=5\r\n",
        "RCPT TO:<u@local.test>\r\n", "RCPT TO:<v@local.test> NOTIFY=NEVER\r\n", "RCPT TO:<x@relay.test>\r\n", "DATA\r\n", "Hi\r\n", ".\r\n", "..x\r\n", "\r\n",
        "RSET\r\n", "NOOP\r\n", "QUIT\r\n", "BDAT 3\r\n", "BDAT 7 LAST\r\n", "abc", ".abc\r\n", "\r", "\n",
        "\0", "FOO\r\n",
        "AUTH PLAIN AGRlbW9AbG9jYWwudGVzdABzZWNyZXQ=\r\n", "AUTH LOGIN\r\n", "*\r\n", "Yg==\r\n",
        new string('x', 700), "MAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nDATA\r\n",
        "MAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\nBDAT 4\r\na\r\n.BDAT 3 LAST\r\n\r\nb",
    ];

    private static readonly string[] Pop3Pieces =
    [
        "USER u\r\n", "PASS p w\r\n", "PASS no\r\n", "USER u\r\nPASS p w\r\n", "STAT\r\n", "LIST\r\n", "UIDL\r\n",
        "LIST 2\r\n", "RETR 1\r\n", "RETR 2\r\n", "TOP 1 0\r\n", "TOP 1 1\r\n", "TOP 2 99\r\n", "DELE 1\r\n",
        "DELE 3\n",
        "RSET\r\n", "NOOP\r\n", "CAPA\r\n", "QUIT\r\n", "AUTH\r\n", "\r\n", "\r", "\n", "\0", "FOO\r\n",
        new string('x', 200),
    ];

    [Theory]
    [InlineData(SmtpRole.Mx)]
    [InlineData(SmtpRole.Submission)]
    [InlineData(SmtpRole.Lmtp)]
    public void An_SMTP_stream_means_the_same_however_it_is_cut(SmtpRole role)
    {
        Prop.ForAll(Streams("EHLO c.test\r\nLHLO c.test\r\n", SmtpPieces), stream =>
        {
            var whole = PlaySmtp(role, stream.Text, [stream.Text.Length], 65536);
            return whole == PlaySmtp(role, stream.Text, [1], 4096)
                && whole == PlaySmtp(role, stream.Text, stream.Cuts, 1024);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Fact]
    public void A_POP3_stream_means_the_same_however_it_is_cut()
    {
        Prop.ForAll(Streams("", Pop3Pieces), stream =>
        {
            var whole = PlayPop3(stream.Text, [stream.Text.Length], 65536);
            return whole == PlayPop3(stream.Text, [1], 4096) && whole == PlayPop3(stream.Text, stream.Cuts, 1024);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    [Fact]
    public void Junk_never_throws_and_never_stores()
    {
        var junk = Gen.Choose(0, 255).Select(octet => (byte)octet).ArrayOf().ToArbitrary();
        Prop.ForAll(junk, octets =>
        {
            PlayPop3(octets, [3], 1024);
            return !PlaySmtp(SmtpRole.Mx, octets, [3], 1024).Contains("stored", StringComparison.Ordinal);
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(500));
    }

    private static Arbitrary<(byte[] Text, int[] Cuts)> Streams(string opening, string[] pieces) =>
        (from parts in Gen.Elements(pieces).ArrayOf()
         from cuts in Gen.Choose(1, 40).ArrayOf(20)
         select (Encoding.Latin1.GetBytes(opening + string.Concat(parts)), cuts)).ToArbitrary();

    private static string PlaySmtp(SmtpRole role, byte[] text, int[] cuts, int replyBytes)
    {
        var rig = SmtpRig.Create(role, replyBytes, maxMessageBytes: 1000, maxRecipients: 3);
        Cut(rig, text, cuts);
        rig.Session.Abandon();
        return $"{rig.Sent} closed {rig.IsClosed}\n" + string.Concat(rig.Sink.Seen)
            + string.Concat(rig.Sink.Stored.Select(message => $"\nstored {message}"));
    }

    private static string PlayPop3(byte[] text, int[] cuts, int replyBytes)
    {
        var maildrop = new FakeMaildrop("A: 1\r\n\r\none\r\n..dot\r\n", "B: 2\r\n\r\n", "text\r\n");
        var rig = Pop3Rig.Create(maildrop, replyBytes);
        Cut(rig, text, cuts);
        rig.Session.Abandon();
        return $"{rig.Sent} closed {rig.IsClosed} removed {string.Join(',', maildrop.Removed ?? [])}";
    }

    private static void Cut(Rig rig, byte[] text, int[] cuts)
    {
        rig.Feed([]);
        var at = 0;
        for (var i = 0; at < text.Length; i++)
        {
            var length = Math.Min(cuts[i % cuts.Length], text.Length - at);
            rig.Feed(text.AsSpan(at, length));
            at += length;
        }
    }
}
