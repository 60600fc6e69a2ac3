using System.Text;
using FastMail.Protocol.Smtp;

namespace FastMail.Tests.Protocol.Mime;

/// <summary>One message by BINARYMIME through a whole session, and what became of it. Stateless.</summary>
internal static class BinaryMimeRig
{
    /// <summary>The content without transparency, or null; and what was said behind the recipient.</summary>
    /// <param name="content">One character an octet.</param>
    /// <param name="segment">Octets of the next segment.</param>
    /// <param name="chunk">Octets of the next chunk; the last one gets the rest.</param>
    public static (string? Stored, string Replies) Send(string content, Func<int> segment, Func<int> chunk)
    {
        var rig = SmtpRig.Create(SmtpRole.Mx);
        rig.Feed("EHLO c.test\r\nMAIL FROM:<a@b.test> BODY=BINARYMIME\r\nRCPT TO:<u@local.test>\r\n"u8);
        var octets = Encoding.Latin1.GetBytes(Chunks(content, chunk));
        for (var at = 0; at < octets.Length;)
        {
            var length = Math.Min(segment(), octets.Length - at);
            rig.Feed(octets.AsSpan(at, length));
            at += length;
        }
        var replies = rig.Sent[(rig.Sent.IndexOf("Recipient ok\r\n", StringComparison.Ordinal) + 14)..];
        return (rig.Sink.Stored.Count == 0 ? null : Unstuffed(rig.Sink.Stored[0].Wire), replies);
    }

    /// <summary>In one chunk, cut into segments of that length.</summary>
    public static (string? Stored, string Replies) Send(string content, int segment = int.MaxValue) =>
        Send(content, () => segment, () => int.MaxValue);

    public static string Unstuffed(byte[] wire) =>
        string.Join("\r\n", Encoding.Latin1.GetString(wire)[..^3].Split("\r\n").Select(l => l.StartsWith('.') ? l[1..] : l));

    /// <summary>What is stored ends in CRLF.</summary>
    public static string WithLineEnd(string text) =>
        text.Length == 0 || text.EndsWith("\r\n", StringComparison.Ordinal) ? text : text + "\r\n";

    private static string Chunks(string content, Func<int> chunk)
    {
        var text = new StringBuilder();
        for (var at = 0; ;)
        {
            var length = Math.Min(chunk(), content.Length - at);
            var isLast = at + length == content.Length;
            text.Append("BDAT ").Append(length).Append(isLast ? " LAST\r\n" : "\r\n").Append(content, at, length);
            at += length;
            if (isLast)
            {
                return text.ToString();
            }
        }
    }
}
