using System.Text;
using System.Text.RegularExpressions;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FastMail.Tests.Protocol;

namespace FastMail.Tests.Fuzz;

/// <summary>SMTP and LMTP sessions with small limits, so that short inputs reach them.</summary>
internal sealed partial class SmtpTarget(string name, SmtpRole role, bool hasTls) : DialogTarget(name, Spoken)
{
    private const int MaxMessageBytes = 1000;
    private const string Envelope = "MAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\n";

    private static readonly string[] Spoken =
    [
        "EHLO c.test\r\n", "HELO c.test\r\n", "LHLO c.test\r\n", "EHLO [192.0.2.1]\r\n", "EHLO [IPv6:2001:db8::1]\r\n",
        "MAIL FROM:<a@b.test>\r\n", "MAIL FROM:<>", " SIZE=5", " BODY=8BITMIME", " BODY=BINARYMIME", " SMTPUTF8", " RET=HDRS",
        " ENVID=QQ+2B1", " BY=120;R", " BY=-5;NT", " MT-PRIORITY=-3", " REQUIRETLS", " AUTH=<>", " AUTH=a+40b.test",
        "RCPT TO:<u@local.test>\r\n", "RCPT TO:<v@local.test>", "RCPT TO:<Postmaster>\r\n",
        "RCPT TO:<x@relay.test>\r\n",
        "RCPT TO:<@one.test,@two.test:u@local.test>", " NOTIFY=NEVER", " NOTIFY=SUCCESS,DELAY", " ORCPT=rfc822;u+2Bx",
        " ORCPT=utf-8;\\\\x{E9}", "\r\n", "\r\n.\r\n", "DATA\r\n", "Subject: s\r\n\r\n", ".\r\n", "..\r\n", "\r\n\r\n",
        "Received: by x\r\n", "Date: now\r\n", "Message-ID: <m>\r\n", "\r", "\n", "\0", "RSET\r\n", "NOOP\r\n",
        "QUIT\r\n", "VRFY u\r\n", "EXPN u\r\n", "HELP\r\n", "ETRN x\r\n", "STARTTLS\r\n", "BDAT 3\r\n",
        "BDAT 3 LAST\r\n",
        "BDAT 0 LAST\r\n", "BDAT 7\r\n.\r\n.\r\na", "abc", ".abc\r\n", "BDAT 1001 LAST\r\n", "FOO\r\n", "*\r\n",
        "=\r\n",
        "AUTH PLAIN AGRlbW9AbG9jYWwudGVzdABzZWNyZXQ=\r\n", "AUTH PLAIN\r\n", "AUTH LOGIN\r\n", "Yg==\r\n",
        "ZGVtb0Bsb2NhbC50ZXN0\r\n", "c2VjcmV0\r\n",
        "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=\r\n", "AUTH XOAUTH2 ", "AUTH OAUTHBEARER ",
        "Y2LpcyxyPXJPcHJOR2Z3RWJlUldnYk5Fa3FP\r\n", "{{300*x}}", "{{2050*y}}", "GET / HTTP/1.1\r\n",
        Envelope, Envelope + "DATA\r\n", Envelope + "BDAT 4\r\na\r\n.BDAT 3 LAST\r\n\r\nb",
        Envelope + "DATA\r\nA: 1\r\n\r\nhi\r\n.\r\n", "\xC3\xA9", "\xE3\x80\x82", "<", ">", "@", "\"", "\\\\",
    ];


    public override int QuickRuns => 600;

    protected override Rig Create(int replyBytes, bool isSlow)
    {
        return SmtpRig.Create(
            role, replyBytes, MaxMessageBytes, maxRecipients: 3, isSlow, hasTls ? new FakeTlsOffer() : null,
            SessionLimits.Default with { ContentLineBytes = 400, HeaderBytes = 500, HeaderLines = 12 });
    }

    protected override void Reset(Rig rig)
    {
        var smtp = (SmtpRig)rig;
        smtp.Session.Abandon();
        smtp.Session.Reset();
        smtp.Sink.Forget();
    }

    protected override string Kept(Rig rig, byte[] input)
    {
        var sink = ((SmtpRig)rig).Sink;
        var ends = Ends().Count(Encoding.Latin1.GetString(input));
        Promise(sink.Stored.Count <= ends, $"{sink.Stored.Count} messages out of {ends} contents");
        foreach (var message in sink.Stored)
        {
            JudgeStored(message, input, mayRelay: ((SmtpRig)rig).Session.IsAuthenticated || role == SmtpRole.Submission);
        }
        return string.Join('\n', [.. sink.Stored.Select(m => m.ToString()), .. sink.Seen, .. sink.Wishes]);
    }

    protected override int LastWords(Rig rig, Span<byte> replies) =>
        ((SmtpRig)rig).Session.LastWords(isTimeout: true, replies);

    protected override bool IsInContent(Rig rig) => ((SmtpRig)rig).Session.IsInContent;

    protected override string KindOf(string line) => line.Length < 9 ? line : line[..3] + line[4..9];

    /// <summary>
    /// RFC 5321 4.2: three digits, a blank or hyphen, printable ASCII, at most 512 octets; one code for all lines.
    /// </summary>
    protected override void Judge(string sent, byte[] input)
    {
        Promise(sent.Length == 0 || sent.EndsWith("\r\n", StringComparison.Ordinal), "an unfinished reply: " + sent);
        var open = "";
        foreach (var line in sent.Split("\r\n")[..^1])
        {
            Promise(ReplyLine().IsMatch(line) && line.Length <= 510, "not a reply line: " + line);
            Promise(open.Length == 0 || line.StartsWith(open, StringComparison.Ordinal), "two codes in a reply: " + line);
            open = line[3] == '-' ? line[..3] : "";
        }
        Promise(open.Length == 0, "a reply without a last line");
    }

    /// <summary>Wire form to the letter, for nobody but hosted mailboxes, and as it came.</summary>
    private static void JudgeStored(StoredMessage message, byte[] input, bool mayRelay)
    {
        var found = ObviousScanner.Scan(message.Wire);
        Promise(
            found.HasEnded && found.Consumed == message.Wire.Length && !found.HasBareLineEnd && !found.HasNul,
            $"stored although it is not wire form: {message}");
        Promise(
            found.Facts == message.Facts with { LacksDate = false, LacksMessageId = false },
            $"wrong facts: {found.Facts} of {message}");
        Promise(message.Facts.Octets <= MaxMessageBytes, $"too large: {message}");
        Promise(
            mayRelay || message.Recipients.All(r => Hosted().IsMatch(r)), $"relayed for a stranger: {message}");
        Promise(
            input.AsSpan().IndexOf(message.Wire) >= 0
                || Encoding.Latin1.GetString(input).Contains("BDAT", StringComparison.OrdinalIgnoreCase),
            $"stored otherwise than it came: {message}");
    }

    [GeneratedRegex("^[2-5][0-9][0-9][ -][ -~]*$", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex ReplyLine();

    [GeneratedRegex(
        "^(?i)((u|v|postmaster)@local[.]test|postmaster)$",
        RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Hosted();

    /// <summary>Where a content may begin: no message comes out of anything else.</summary>
    [GeneratedRegex("(?i)DATA|BDAT", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Ends();
}

/// <summary>Mail for hosted mailboxes from anybody.</summary>
public sealed class SmtpFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new SmtpTarget("smtp", SmtpRole.Mx, hasTls: true);
}

/// <summary>Mail of our own users, with AUTH in the clear.</summary>
public sealed class SubmissionFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new SmtpTarget("submission", SmtpRole.Submission, hasTls: false);
}

/// <summary>Mail of our own users, with AUTH behind STARTTLS.</summary>
public sealed class SubmissionTlsFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new SmtpTarget("submission-tls", SmtpRole.Submission, hasTls: true);
}

/// <summary>Mail from a system beside us: a reply for each recipient.</summary>
public sealed class LmtpFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new SmtpTarget("lmtp", SmtpRole.Lmtp, hasTls: false);
}
