using System.Text;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using Xunit;

namespace FastMail.Tests.Protocol.Mime;

/// <summary>What BINARYMIME (RFC 3030 3) becomes, and what is refused.</summary>
public sealed class BinaryMimeTests
{
    private const string Top = @"MIME-Version: 1.0\r\n";
    private const string Mixed = Top + @"Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    private const string Binary = @"Content-Transfer-Encoding: binary\r\n";
    private const string Base64 = @"Content-Transfer-Encoding: base64\r\n";
    private const string EightBit = @"Content-Transfer-Encoding: 8bit\r\n";

    [Theory]
    [InlineData("a message that is one binary leaf", Top + Binary + @"\r\n\n\x00\xFF", Top + Base64 + @"\r\nCgD/\r\n")]
    [InlineData("its final CRLF is part of it", Top + Binary + @"\r\na\r\n", Top + Base64 + @"\r\nYQ0K\r\n")]
    [InlineData("an empty one", Top + Binary + @"\r\n", Top + Base64 + @"\r\n")]
    [InlineData("a header section without a body", Top + Binary, Top + Base64)]
    [InlineData("that ends in the field", Top + "Content-Transfer-Encoding: binary", Top + Base64)]
    [InlineData("a part", Mixed + @"--b\r\n" + Binary + @"\r\na\nb\r\n--b--\r\n",
        Mixed + @"--b\r\n" + Base64 + @"\r\nYQpi\r\n--b--\r\n")]
    [InlineData("CRLF in front of a delimiter is no part of the leaf", Mixed + @"--b\r\n" + Binary + @"\r\n\r\n\r\n--b--",
        Mixed + @"--b\r\n" + Base64 + @"\r\nDQo=\r\n--b--\r\n")]
    [InlineData("an empty part", Mixed + @"--b\r\n" + Binary + @"\r\n--b--", Mixed + @"--b\r\n" + Base64 + @"\r\n--b--\r\n")]
    [InlineData("a part without a body", Mixed + @"--b\r\n" + Binary + @"--b\r\n\r\nx\r\n--b--",
        Mixed + @"--b\r\n" + Base64 + @"--b\r\n\r\nx\r\n--b--\r\n")]
    [InlineData("parts of other labels stay as they are",
        Mixed + @"pre\r\n--b\r\n\r\n-- \r\n.\r\n--b \t\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=00\r\n--b--\r\npost",
        Mixed + @"pre\r\n--b\r\n\r\n-- \r\n.\r\n--b \t\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n=00\r\n--b--\r\npost\r\n")]
    [InlineData("what only begins like a delimiter is content", Mixed + @"--b\r\n" + Binary + @"\r\n\r\n--bb\r\n-\r\n--b---\r\n--b--",
        Mixed + @"--b\r\n" + Base64 + @"\r\nDQotLWJiDQotDQotLWItLS0=\r\n--b--\r\n")]
    [InlineData("nor is one behind a bare LF or in front of one", Mixed + @"--b\r\n" + Binary + @"\r\n\n--b\r\n\r\n--b\n\r\n--b--",
        Mixed + @"--b\r\n" + Base64 + @"\r\nCi0tYg0KDQotLWIK\r\n--b--\r\n")]
    [InlineData("an unterminated leaf", Mixed + @"--b\r\n" + Binary + @"\r\na\r\n-",
        Mixed + @"--b\r\n" + Base64 + @"\r\nYQ0KLQ==\r\n")]
    [InlineData("a composite that is labelled binary is 8bit",
        Top + Binary + @"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + Binary + @"\r\n\x00\r\n--b--",
        Top + @"Content-Type: multipart/mixed; boundary=b\r\n" + EightBit + @"\r\n--b\r\n" + Base64 + @"\r\nAA==\r\n--b--\r\n")]
    [InlineData("a message in a part", Mixed + @"--b\r\nContent-Type: message/rfc822\r\n" + Binary + @"\r\n" + Top + Binary + @"\r\n\r\r\n--b--",
        Mixed + @"--b\r\nContent-Type: message/rfc822\r\n" + EightBit + @"\r\n" + Top + Base64 + @"\r\nDQ==\r\n--b--\r\n")]
    [InlineData("a message that is not MIME within one that is",
        Top + @"Content-Type: message/rfc822\r\n\r\n" + Binary + @"\r\nx", Top + @"Content-Type: message/rfc822\r\n\r\n" + Binary + @"\r\nx\r\n")]
    [InlineData("parts of a digest are messages",
        Top + @"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n" + Top + Binary + @"\r\n\x00\r\n--b--",
        Top + @"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\n" + Top + Base64 + @"\r\nAA==\r\n--b--\r\n")]
    [InlineData("other kinds of message are lines",
        Top + @"Content-Type: message/partial\r\n" + Binary + @"\r\nx", Top + @"Content-Type: message/partial\r\n" + EightBit + @"\r\nx\r\n")]
    [InlineData("a multipart without a boundary is lines",
        Top + @"Content-Type: multipart/mixed\r\n" + Binary + @"\r\nx", Top + @"Content-Type: multipart/mixed\r\n" + EightBit + @"\r\nx\r\n")]
    [InlineData("a delimiter outside ends what is inside",
        Mixed + @"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n" + Binary + @"\r\n\x00\r\n--b\r\n\r\n--c\r\n--b--",
        Mixed + @"--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n" + Base64 + @"\r\nAA==\r\n--b\r\n\r\n--c\r\n--b--\r\n")]
    [InlineData("one boundary is the beginning of another",
        Mixed + @"--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" + Binary + @"\r\n\x00\r\n--bb--\r\n--b--",
        Mixed + @"--b\r\nContent-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" + Base64 + @"\r\nAA==\r\n--bb--\r\n--b--\r\n")]
    [InlineData("what is encoded is not looked into",
        Top + @"Content-Transfer-Encoding: base64\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + Binary + @"\r\nx",
        Top + @"Content-Transfer-Encoding: base64\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + Binary + @"\r\nx\r\n")]
    [InlineData("without MIME-Version it is text", Binary + @"A: b\r\n\r\nx", @"A: b\r\n" + Binary + @"\r\nx\r\n")]
    [InlineData("no header at all", @"\r\nx", @"\r\nx\r\n")]
    [InlineData("nothing", "", "")]
    [InlineData("the label in other words", Top + @"content-transfer-encoding :\r\n (a (b\\)) c) BINARY (x)\r\n\r\n\x00",
        Top + Base64 + @"\r\nAA==\r\n")]
    [InlineData("the boundary in other words",
        Top + @"CONTENT-TYPE: (x) Multipart / Mixed (y); a=\""; boundary=c\""; charset=x ;\r\n BOUNDARY (z) = \""b \\\""; c \""\r\n\r\n--b \""; c\r\n"
        + Binary + @"\r\n\x00\r\n--b \""; c--",
        Top + @"CONTENT-TYPE: (x) Multipart / Mixed (y); a=\""; boundary=c\""; charset=x ;\r\n BOUNDARY (z) = \""b \\\""; c \""\r\n\r\n--b \""; c\r\n"
        + Base64 + @"\r\nAA==\r\n--b \""; c--\r\n")]
    [InlineData("a boundary that should be quoted", Top + @"Content-Type: multipart/mixed; boundary=--=_a(c)\r\n\r\n----=_a\r\n" + Binary + @"\r\n\x00",
        Top + @"Content-Type: multipart/mixed; boundary=--=_a(c)\r\n\r\n----=_a\r\n" + Base64 + @"\r\nAA==\r\n")]
    [InlineData("dots of lines that stay", Mixed + @".\r\n..\r\n--b\r\n" + Binary + @"\r\n.\r\n--b--\r\n.",
        Mixed + @".\r\n..\r\n--b\r\n" + Base64 + @"\r\nLg==\r\n--b--\r\n.\r\n")]
    [InlineData("a line of a header longer than what is held", Top + Binary + @"A: {{5000*x}}\r\n {{5000*y}}\r\n\r\n\x00",
        Top + @"A: {{5000*x}}\r\n {{5000*y}}\r\n" + Base64 + @"\r\nAA==\r\n")]
    [InlineData("the last line of it", Top + Binary + "A: {{5000*x}}", Top + @"A: {{5000*x}}\r\n" + Base64)]
    [InlineData("a long line that begins like a delimiter", Mixed + @"--b\r\n\r\n--{{5000*x}}\r\n--b--\r\n",
        Mixed + @"--b\r\n\r\n--{{5000*x}}\r\n--b--\r\n")]
    public void It_becomes_a_message_of_lines(string about, string sent, string stored)
    {
        Assert.NotEmpty(about);
        var (content, expected) = (Text(sent), Text(stored));
        foreach (var segment in (int[])[int.MaxValue, 1, 2, 3, 7])
        {
            var (seen, replies) = BinaryMimeRig.Send(content, segment);
            Assert.Equal("250 2.0.0 Ok: queued as T1\r\n", replies);
            Assert.Equal(expected, seen);
        }
        for (var first = 0; first <= Math.Min(content.Length, 400); first++)
        {
            var chunks = new Queue<int>([first, int.MaxValue]);
            var (seen, _) = BinaryMimeRig.Send(content, () => int.MaxValue, chunks.Dequeue);
            Assert.Equal(expected, seen);
        }
    }

    [Theory]
    [InlineData("a bare LF in a part that is not labelled", Mixed + @"--b\r\n\r\na\nb\r\n--b--\r\n", "554 5.6.3 Cannot convert: bare")]
    [InlineData("a NUL in one labelled 8bit", Mixed + @"--b\r\n" + EightBit + @"\r\n\x00\r\n--b--\r\n", "554 5.6.3 Cannot convert: bare")]
    [InlineData("a bare CR in a header section", Top + @"A: \rb\r\n\r\nx", "554 5.6.3 Cannot convert: bare")]
    [InlineData("binary without MIME-Version", Binary + @"\r\na\nb", "554 5.6.3 Cannot convert: bare")]
    [InlineData("binary in a preamble", Mixed + @"\x00\r\n--b\r\n\r\nx\r\n--b--\r\n", "554 5.6.3 Cannot convert: bare")]
    [InlineData("binary in a multipart without a boundary", Top + Binary + @"Content-Type: multipart/mixed\r\n\r\n\x00",
        "554 5.6.3 Cannot convert: bare")]
    [InlineData("two labels", Top + Binary + Base64 + @"\r\nx", "554 5.6.3 Cannot convert: a Content-Type")]
    [InlineData("two types", Top + @"Content-Type: a/b\r\nContent-Type: c/d\r\n\r\nx", "554 5.6.3 Cannot convert: a Content-Type")]
    [InlineData("a type without end", Top + @"Content-Type: a/b; {{5000*x}}\r\n\r\nx", "554 5.6.3 Cannot convert: a Content-Type")]
    [InlineData("in many lines", Top + @"Content-Type: a/b; {{500*\r\n x=yyyyyyy;}}\r\n\r\nx", "554 5.6.3 Cannot convert: a Content-Type")]
    [InlineData("a boundary without end", Top + @"Content-Type: multipart/x; boundary={{201*x}}\r\n\r\nx",
        "554 5.6.3 Cannot convert: a Content-Type")]
    [InlineData("multiparts in multiparts", Top + @"Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n"
        + @"{{64*Content-Type: multipart/x; boundary=b\r\n\r\n--b\r\n}}", "554 5.6.3 Cannot convert: MIME parts nested")]
    public void What_cannot_honestly_be_converted_is_refused(string about, string sent, string reply)
    {
        Assert.NotEmpty(about);
        foreach (var segment in (int[])[int.MaxValue, 1, 5])
        {
            var (stored, replies) = BinaryMimeRig.Send(Text(sent), segment);
            Assert.Null(stored);
            Assert.StartsWith(reply, replies, StringComparison.Ordinal);
            Assert.Single(replies.Split("\r\n", StringSplitOptions.RemoveEmptyEntries));
        }
    }

    [Fact]
    public void Lines_of_base64_have_76_characters_whatever_the_cuts()
    {
        var octets = new byte[10_000];
        new Random(1).NextBytes(octets);
        var content = Text(Top + Binary + @"\r\n") + Encoding.Latin1.GetString(octets);
        foreach (var segment in (int[])[1, 56, 57, 58, 114, 4096, int.MaxValue])
        {
            var (stored, _) = BinaryMimeRig.Send(content, segment);
            var lines = stored!.Split("\r\n")[3..^1];
            Assert.All(lines[..^1], line => Assert.Equal(76, line.Length));
            Assert.Equal(octets, Convert.FromBase64String(string.Concat(lines)));
        }
    }

    [Fact]
    public void The_limit_of_size_counts_what_is_stored()
    {
        var rig = SmtpRig.Create(maxMessageBytes: 1000);
        var content = "MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n\r\n" + new string('\0', 800);
        rig.Feed(Encoding.Latin1.GetBytes("EHLO c\r\nMAIL FROM:<> BODY=BINARYMIME SIZE=900\r\nRCPT TO:<u@local.test>\r\n"
            + $"BDAT {content.Length} LAST\r\n{content}NOOP\r\n"));
        Assert.EndsWith("250 2.1.5 Recipient ok\r\n552 5.3.4 Message too big\r\n250 2.0.0 Ok\r\n", rig.Sent, StringComparison.Ordinal);
        Assert.Empty(rig.Sink.Stored);
    }

    [Fact]
    public void A_header_section_that_is_too_long_is_refused_here_too()
    {
        var rig = SmtpRig.Create(limits: SessionLimits.Default with { HeaderLines = 3 });
        var content = Text(Top + @"A: b\r\nA: b\r\nA: b\r\n\r\n");
        rig.Feed(Encoding.Latin1.GetBytes("EHLO c\r\nMAIL FROM:<> BODY=BINARYMIME\r\nRCPT TO:<u@local.test>\r\n"
            + $"BDAT {content.Length} LAST\r\n{content}"));
        Assert.EndsWith("554 5.6.0 Header section too long\r\n", rig.Sent, StringComparison.Ordinal);
    }

    [Fact]
    public void The_sink_hears_of_ordinary_mail_of_eight_bits()
    {
        var rig = SmtpRig.Create();
        rig.Feed("EHLO c\r\nMAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<u@local.test>\r\n"u8);
        rig.Feed(Encoding.Latin1.GetBytes(Text(@"BDAT 56 LAST\r\nMIME-Version: 1.0\r\n" + Binary + @"\r\n\xFF\n")));
        Assert.Contains("mail a@b.test 0 True False ", rig.Sink.Seen, StringComparer.Ordinal);
        var facts = Assert.Single(rig.Sink.Stored).Facts;
        Assert.False(facts.Has8Bit);
        Assert.True(facts.HasEndOfHeader);
    }

    private static string Text(string script) => Encoding.Latin1.GetString(Script.Octets(script));
}
