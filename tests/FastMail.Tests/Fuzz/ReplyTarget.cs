using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;
using FastMail.Protocol.Smtp.Client;
using FastMail.Tests.Protocol.Client;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// A host that says anything. The reader of replies, cut anywhere, against the grammar written down once more; and whole
/// client sessions, in which nobody is told twice or not at all, and nobody of a delivery whose content has not left.
/// </summary>
internal sealed partial class ReplyTarget() : FuzzTarget(
    "reply",
    "220 mx ESMTP\r\n", "250 ok\r\n", "250-mx\r\n250-PIPELINING\r\n250-CHUNKING\r\n250 SIZE 1000\r\n", "250-STARTTLS\r\n250 x\r\n",
    "250-mx\r\n250-PIPELINING\r\n250 8BITMIME\r\n", "250-AUTH PLAIN LOGIN\r\n250 LIMITS MAILMAX=1 RCPTMAX=2\r\n", "354 go\r\n",
    "550 5.1.1 no\r\n", "552 many\r\n", "451 4.3.0 later\r\n", "421 4.3.2 bye\r\n", "502 what\r\n", "235 in\r\n", "334 \r\n", "250-", "250 ",
    "\r\n", "\r", "\n", "\0", "{{600*x}}", "250-{{40*y}}\r\n", "999 z\r\n")
{
    private const int LongestLine = 2048;
    private const int MostLines = 128;
    private const int LongestReply = 8 * 1024;

    public override int QuickRuns => 1500;

    public override string Run(byte[] input)
    {
        var text = Encoding.Latin1.GetString(input);
        var chance = ChanceOf(input);
        var expected = Expect(text);
        foreach (var piece in (int[])[int.MaxValue, 1, 2 + chance.Next(60)])
        {
            var found = ReplyReaderTests.Read(text, piece);
            Promise(found == expected, $"pieces of {piece}: [{found}] is not [{expected}]");
        }
        var reached = new StringBuilder();
        foreach (var (isLmtp, isTls) in (ReadOnlySpan<(bool, bool)>)[(false, false), (true, false), (false, true)])
        {
            reached.Append(Play(text, isLmtp, isTls, int.MaxValue)).Append('/');
            Play(text, isLmtp, isTls, 1 + chance.Next(30));
        }
        return reached.ToString();
    }

    private static string Play(string text, bool isLmtp, bool isTls, int piece)
    {
        var rig = new ClientRig(ClientRig.Options(isLmtp, isTls ? TlsPolicy.May : TlsPolicy.None), room: 1024);
        TestMail[] mails = [Mail("one", goesByData: true), Mail("two", goesByData: false), Mail("three", goesByData: false)];
        foreach (var mail in mails)
        {
            rig.Queue.Enqueue(mail);
        }
        for (var at = 0; at < text.Length && !rig.IsClosed && !rig.IsCut; at += Math.Min(piece, text.Length - at))
        {
            rig.Feed(text.Substring(at, Math.Min(piece, text.Length - at)));
            if (rig.Session.IsStartingTls)
            {
                rig.Session.Lost(ClientLoss.TlsFailed);
                rig.Feed("");
            }
        }
        rig.Session.Lost(ClientLoss.Closed);
        foreach (var mail in mails.Where(mail => !rig.Queue.Contains(mail)))
        {
            Promise(mail.HasEnded && !mail.Told.Contains(null), "somebody was told nothing");
            var content = Encoding.Latin1.GetString(mail.Pieces[0])[..^3];
            Promise(
                rig.Said.Contains(content, StringComparison.Ordinal)
                    || !Array.Exists(mail.Told, told => told!.StartsWith("Delivered", StringComparison.Ordinal)),
                "delivered without a content: " + string.Join('|', mail.Told));
        }
        Promise(!BareLineEnd().IsMatch(rig.Said), "a bare CR or LF was said");
        var first = mails.SelectMany(mail => mail.Told).Select(told => told?[..12]);
        return $"{rig.Session.Failure?.Phase} {rig.Session.Failure?.Status} {string.Join(',', first)}";
    }

    private static TestMail Mail(string name, bool goesByData) => new("a@b.test", $"{name}@c.test", "y@c.test")
    {
        Pieces = [Encoding.ASCII.GetBytes($"Subject: {name}\r\n\r\nhi\r\n.\r\n")],
        IsOfUnknownOctets = goesByData,
    };

    /// <summary>The same as the reader should find, by the grammar of RFC 5321 4.2 and the bounds.</summary>
    private static string Expect(string text)
    {
        var found = new StringBuilder();
        var start = 0;
        for (var at = 0; ;)
        {
            var end = text.IndexOf('\n', at);
            if (end < 0 || end - at >= LongestLine)
            {
                var isLong = text.Length - at >= LongestLine;
                return isLong ? found.Append("TooLong").ToString()
                    : found.Length == 0 || start < text.Length ? found.Append("Incomplete").ToString()
                    : found.ToString().TrimEnd('|');
            }
            var line = text[at..(end + 1)];
            var lines = text[start..(end + 1)].Split('\n')[..^1];
            if (!Line().IsMatch(line) || line[..3] != text.Substring(start, 3))
            {
                return found.Append("Malformed").ToString();
            }
            at = end + 1;
            if (line[3] != '-')
            {
                found.Append(Words(lines)).Append('|');
                start = at;
            }
            else if (lines.Length == MostLines || at - start >= LongestReply)
            {
                return found.Append("TooLong").ToString();
            }
        }
    }

    private static string Words(string[] lines)
    {
        var code = lines[0][..3];
        var texts = lines.Select(line => line.TrimEnd('\r')).Select(line => line.Length > 4 ? line[4..] : "").ToArray();
        var status = Status().Match(texts[0]);
        var enhanced = status.Success && status.Value[0] == code[0] && code[0] != '3'
            ? string.Join('.', status.Value.Trim().Split('.').Select(part => int.Parse(part, CultureInfo.InvariantCulture)))
            : $"{code[0]}.0.0";
        var first = lines[0].TrimEnd('\r').Length > 3 && (texts[0].Length > 0 || lines.Length == 1 || lines[0].Length > 5);
        return $"{code} {enhanced} " + code + (HasBlank(lines[0]) && first ? " " + Escaped(texts[0]) : "")
            + string.Concat(texts.Skip(1).Where(text => text.Length > 0).Select(text => " " + Escaped(text)));
    }

    private static bool HasBlank(string line) => line.TrimEnd('\r').Length > 4;

    private static string Escaped(string text) => string.Concat(text.Select(letter =>
        letter is >= ' ' and <= '~' ? letter.ToString() : string.Create(CultureInfo.InvariantCulture, $@"\x{(int)letter:X2}")));

    [GeneratedRegex(@"^[2-5]\d\d([ -][^\r\n]*)?\r\n$", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Line();

    [GeneratedRegex(@"^[245]\.[0-9]{1,3}\.[0-9]{1,3}( |$)", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex Status();

    [GeneratedRegex(@"\r[^\n]|[^\r]\n", RegexOptions.NonBacktracking)]
    private static partial Regex BareLineEnd();
}

/// <summary>Replies of hosts.</summary>
public sealed class ReplyFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new ReplyTarget();
}
