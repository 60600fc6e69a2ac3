using System.Text;
using System.Text.RegularExpressions;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;
using FastMail.Tests.Protocol;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// Content, in four ways. The scanner of wire form agrees with the obvious one. The same content by DATA and in
/// chunks of any sizes is stored as the same octets, which are what a pattern makes of it; flawed content is not.
/// As BINARYMIME it becomes what the obvious conversion makes of it.
/// </summary>
internal sealed partial class ContentTarget() : FuzzTarget(
    "content",
    "\r\n", "\r\n.", "\r\n.\r\n", "\r\n..\r\n", ".", "..", ".\r\n", "\r", "\n", "\0", "\xE9", "a", "Subject: s\r\n",
    "\r\n\r\n",
    "hello world", "{{61*x}}", "{{63*y}}", "{{64*z}}", "{{62*w}}\r\n", "{{997*v}}", "{{128*u}}", "\t", "\v", "\x0E",
    "\x7F",
    "Content-Type: multipart/mixed; boundary=b\r\n", "Content-Type: multipart/digest; boundary=\"c\"\r\n",
    "Content-Type: message/rfc822\r\n", "Content-Transfer-Encoding: binary\r\n", "Content-Transfer-Encoding: base64\r\n",
    "MIME-Version: 1.0\r\n", "--b\r\n", "\r\n--b", "\r\n--b--\r\n", "--c\r\n", "--c--", "--", " ", ";", "(", ")", "\"",
    "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Transfer-Encoding: binary\r\n\r\n",
    "Received: x\r\n", "Received:", "QUIT\r\n", "\r\r\n", "\n\r\n", "{{40*.\r\n}}", "{{30*a\r\n}}")
{
    public override int QuickRuns => 2000;

    public override string Run(byte[] input)
    {
        var chance = ChanceOf(input);
        var isShort = input.Length < 400; // the obvious scanner is slow
        if (isShort || chance.Next(4) == 0)
        {
            JudgeScanner(input, chance);
            JudgeScanner([.. input, .. "\r\n.\r\nQUIT\r\n"u8], chance);
        }

        var bare = Bare().IsMatch(Encoding.Latin1.GetString(input));
        var nul = input.AsSpan().Contains((byte)0);
        var isLoop = Loops().Count(Encoding.Latin1.GetString(input)) > 100;
        var stuffed = Stuff(input);
        var byData = Deliver([.. Envelope, .. "DATA\r\n"u8, .. stuffed], chance);
        var byChunks = Deliver([.. Envelope, .. Chunks(input, chance)], chance);
        foreach (var (wire, reply) in (ValueTuple<byte[]?, string>[])[byData, byChunks])
        {
            Promise(bare || nul || isLoop || wire is not null, "good content is not stored: " + reply);
            Promise(wire is null || !(bare || nul), "flawed content is stored");
            Promise(wire is null || wire.AsSpan().SequenceEqual(stuffed), "stored otherwise than it came");
            // A chunk is refused for the first flaw that it shows, content as a whole for the worse.
            Promise(
                wire is not null || isLoop || (bare && Says(reply, "550 5.5.2")) || (nul && Says(reply, "550 5.6.0")),
                "refused without the reason: " + reply);
        }
        Promise(byData.Wire is not null || !bare || Says(byData.Reply, "550 5.5.2"), byData.Reply);
        var end = JudgeConversion(input, chance);
        return $"{end} {bare} {nul} {stuffed.Length - input.Length} {stuffed.Length / 64} {Ends(input)}";
    }

    private static byte[] Envelope =>
        "EHLO c.test\r\nMAIL FROM:<a@b.test>\r\nRCPT TO:<u@local.test>\r\n"u8.ToArray();

    private static void JudgeScanner(byte[] wire, Random chance)
    {
        var expected = ObviousScanner.Scan(wire);
        for (var most = 1 + chance.Next(200); most > 0; most = most == 1 ? 0 : 1)
        {
            var scanner = default(ContentScanner);
            scanner.Start();
            var at = 0;
            while (at < wire.Length && !scanner.HasEnded)
            {
                at += scanner.Scan(wire.AsSpan(at, Math.Min(1 + chance.Next(most), wire.Length - at)));
                Promise(at <= wire.Length, "scanned beyond the input");
            }
            Promise(
                scanner.HasEnded == expected.HasEnded && at == expected.Consumed
                && scanner.HasBareLineEnd == expected.HasBareLineEnd && scanner.HasNul == expected.HasNul
                && (!expected.HasEnded || scanner.Facts() == expected.Facts),
                $"scanned to {at} in segments up to {most}: {scanner.Facts()} for {expected}");
        }
    }

    /// <summary>RFC 5321 4.5.2, and a line end where the content lacks one.</summary>
    private static byte[] Stuff(byte[] content)
    {
        var text = Encoding.Latin1.GetString(content);
        text = text.Length == 0 || text.EndsWith("\r\n", StringComparison.Ordinal) ? text : text + "\r\n";
        return Encoding.Latin1.GetBytes(LineStartDot().Replace(text, "..") + ".\r\n");
    }

    private static byte[] Chunks(byte[] content, Random chance)
    {
        var octets = new List<byte>();
        for (var at = 0; at >= 0;)
        {
            var length = Math.Min(chance.Next(chance.Next(3) == 0 ? 3 : 300), content.Length - at);
            var isLast = at + length == content.Length && chance.Next(2) == 0;
            octets.AddRange(Encoding.ASCII.GetBytes($"BDAT {length}{(isLast ? " LAST" : "")}\r\n"));
            octets.AddRange(content.AsSpan(at, length));
            at = isLast ? -1 : at + length;
        }
        return [.. octets];
    }

    private static (byte[]? Wire, string Reply) Deliver(byte[] dialog, Random chance)
    {
        var rig = SmtpRig.Create(maxMessageBytes: 1 << 20);
        for (var at = 0; at < dialog.Length;)
        {
            var length = Math.Min(1 + chance.Next(chance.Next(2) == 0 ? 5 : 500), dialog.Length - at);
            rig.Feed(dialog.AsSpan(at, length));
            at += length;
        }
        var sent = rig.Sent[rig.Sent.IndexOf("Recipient ok", StringComparison.Ordinal)..];
        return (rig.Sink.Stored.SingleOrDefault()?.Wire, sent);
    }

    private static bool Says(string reply, string code) => reply.Contains(code, StringComparison.Ordinal);

    private static string Ends(byte[] input) => Corpus.Text(input.AsSpan()[^Math.Min(input.Length, 2)..]);

    [GeneratedRegex(@"\r(?!\n)|(?<!\r)\n", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex Bare();

    [GeneratedRegex(@"(?<=\A|\r\n)\.", RegexOptions.CultureInvariant, matchTimeoutMilliseconds: 10_000)]
    private static partial Regex LineStartDot();

    [GeneratedRegex(@"(?i)received:", RegexOptions.NonBacktracking)]
    private static partial Regex Loops();
}

/// <summary>Content scanner, dot-stuffing, BDAT and BINARYMIME.</summary>
public sealed class ContentFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new ContentTarget();
}
