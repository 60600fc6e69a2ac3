using System.Globalization;
using System.Text.RegularExpressions;
using FastMail.Tests.Protocol;

namespace FastMail.Tests.Fuzz;

/// <summary>POP3 sessions over a maildrop whose messages come whole, or in parts where replies are scarce.</summary>
internal sealed partial class Pop3Target() : DialogTarget(
    "pop3",
    "USER u\r\n", "PASS p w\r\n", "PASS no\r\n", "USER u\r\nPASS p w\r\n", "STAT\r\n", "LIST\r\n", "UIDL\r\n",
    "LIST 2\r\n",
    "UIDL 3\r\n", "RETR 1\r\n", "RETR 2\r\n", "RETR 4\r\n", "TOP 1 0\r\n", "TOP 1 1\r\n", "TOP 2 99\r\n", "TOP 3 0\r\n",
    "TOP 4 1\r\n", "DELE 1\r\n", "DELE 3\n", "RSET\r\n", "NOOP\r\n", "CAPA\r\n", "QUIT\r\n", "AUTH\r\n", "AUTH \r\n",
    "AUTH PLAIN\r\n", "AUTH PLAIN AHUAcCB3\r\n", "AHUAcCB3\r\n", "AUTH LOGIN\r\n", "dQ==\r\n", "cCB3\r\n", "*\r\n",
    "=\r\n",
    "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=\r\n", "AUTH XOAUTH2 ", "STLS\r\n", "UTF8\r\n",
    "LANG\r\n", "LANG *\r\n", "LANG en\r\n", "LANG fr\r\n", "\r\n", "\r", "\n", "\0", "\t", " ", "\xC3\xA9", "FOO\r\n",
    "XTND\r\n", "APOP u x\r\n", "GET / HTTP/1.0\r\n", "{{200*x}}", "{{250*y}}\r\n", "{{13000*A}}\r\n")
{
    private static readonly string[] Messages =
    [
        "A: 1\r\n\r\none\r\n..dot\r\n", "B: 2\r\n\r\n", "text\r\n", "C: \xE9\r\n\r\n..\r\n\r\n\r\nlast\r\n",
        "D: 5\r\nE: 6\r\n\r\n" + new string('z', 900) + "\r\n",
    ];

    private List<int>? _removedBefore;

    public override int QuickRuns => 600;

    protected override Rig Create(int replyBytes, bool isSlow)
    {
        _removedBefore = null;
        var maildrop = new FakeMaildrop(Messages) { PartBytes = isSlow ? 50 : 0 };
        return Pop3Rig.Create(maildrop, replyBytes, allowsCleartext: true, tls: new FakeTlsOffer());
    }

    protected override void Reset(Rig rig)
    {
        var pop3 = (Pop3Rig)rig;
        _removedBefore = pop3.Source.Maildrop.Removed;
        pop3.Session.Reset();
    }

    protected override string Kept(Rig rig, byte[] input)
    {
        var removed = ((Pop3Rig)rig).Source.Maildrop.Removed;
        return removed is null || ReferenceEquals(removed, _removedBefore) ? "" : $"removed {string.Join(',', removed)}";
    }

    protected override int LastWords(Rig rig, Span<byte> replies) =>
        ((Pop3Rig)rig).Session.LastWords(isTimeout: false, replies);

    protected override bool IsInContent(Rig rig) => false;

    protected override string KindOf(string line) => line[..Math.Min(line.Length, 9)];

    /// <summary>
    /// RFC 1939 3: every reply begins with a status indicator; what is said over several lines ends with a dot, and is
    /// one of the known listings or a message to its last octet.
    /// </summary>
    protected override void Judge(string sent, byte[] input)
    {
        Promise(sent.Length == 0 || sent.EndsWith("\r\n", StringComparison.Ordinal), "an unfinished reply: " + sent);
        var lines = sent.Split("\r\n")[..^1];
        for (var i = 0; i < lines.Length; i++)
        {
            var line = lines[i];
            Promise(StatusLine().IsMatch(line) && line.Length <= 510, $"line {i + 1} is no reply: {line}");
            if (!IsBegun(line, i + 1 < lines.Length ? lines[i + 1] : ""))
            {
                continue;
            }
            var first = i + 1;
            while (++i < lines.Length && lines[i] != ".")
            {
            }
            Promise(i < lines.Length, "no dot ends " + line);
            JudgeLines(line, lines[first..i]);
        }
    }

    /// <summary>A reply that goes on: what follows is no status indicator.</summary>
    private static bool IsBegun(string line, string next) =>
        line.StartsWith("+OK", StringComparison.Ordinal) && next.Length >= 0
        && (OctetsLine().IsMatch(line) || line.StartsWith("+OK top", StringComparison.Ordinal)
            || (next.Length == 0 ? false : !StatusLine().IsMatch(next)));

    private static void JudgeLines(string line, string[] text)
    {
        if (OctetsLine().Match(line) is { Success: true } match)
        {
            var octets = text.Sum(l => l.Length + 2 - (l.StartsWith('.') ? 1 : 0));
            Promise(
                octets == int.Parse(match.Groups["n"].Value, CultureInfo.InvariantCulture), $"{octets} octets of {line}");
            var whole = string.Concat(text.Select(l => l + "\r\n"));
            Promise(Messages.Any(m => whole == m || whole == m + "\r\n"), "no such message: " + whole);
        }
        else
        {
            Promise(
                Array.TrueForAll(
                    text, l => ListedLine().IsMatch(l) || Messages.Any(m => m.Contains(l, StringComparison.Ordinal))),
                "an odd listing: " + string.Join('|', text));
        }
    }

    [GeneratedRegex(
        "^([+]OK( [ -~]*)?|-ERR [ -~]*|[+] [A-Za-z0-9+/=]*)$",
        RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex StatusLine();

    [GeneratedRegex("^[+]OK (?<n>[0-9]+) octets$", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex OctetsLine();

    [GeneratedRegex("^[!-~][ -~]*$", RegexOptions.NonBacktracking | RegexOptions.ExplicitCapture)]
    private static partial Regex ListedLine();
}

/// <summary>The reader of mail.</summary>
public sealed class Pop3Fuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new Pop3Target();
}
