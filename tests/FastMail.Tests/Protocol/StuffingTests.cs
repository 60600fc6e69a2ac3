using System.Text;
using FastMail.Protocol.Smtp;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>Content of BDAT and of DATA comes to rest in the same wire form, and out of it again as it was.</summary>
public sealed class StuffingTests
{
    private static readonly string[] Pieces = ["\r\n", ".", "..", "a", "b\r\n", "\r\n.", "\r\n.\r\n", "\r\n\r\n"];

    [Fact]
    public void Chunks_of_any_size_are_stored_as_DATA_would_be_and_unstuff_to_the_original()
    {
        var cases = Gen.Elements(Pieces).ArrayOf().Select(string.Concat).Zip(Gen.Choose(1, 30)).ToArbitrary();
        Prop.ForAll(cases, pair =>
        {
            var (text, chunk) = pair;
            var complete = text.Length == 0 || text.EndsWith("\r\n", StringComparison.Ordinal) ? text : text + "\r\n";
            var byChunks = Send(Chunks(text, chunk), 5);
            var byData = Send("DATA\r\n" + Stuff(complete) + ".\r\n", 1000);
            Assert.Equal(byData.Wire, byChunks.Wire);
            Assert.Equal(byData.Facts, byChunks.Facts);
            Assert.Equal(complete.Length, byChunks.Facts.Octets);
            return Unstuff(Encoding.Latin1.GetString(byChunks.Wire)) == complete;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(1000));
    }

    private static StoredMessage Send(string commands, int segment)
    {
        var rig = SmtpRig.Create(SmtpRole.Mx);
        rig.Feed("HELO c\r\nMAIL FROM:<>\r\nRCPT TO:<u@local.test>\r\n"u8);
        rig.FeedSplit(Encoding.Latin1.GetBytes(commands), segment);
        return Assert.Single(rig.Sink.Stored);
    }

    private static string Chunks(string text, int size)
    {
        var commands = new StringBuilder();
        for (var at = 0; at < text.Length; at += size)
        {
            var chunk = text.Substring(at, Math.Min(size, text.Length - at));
            commands.Append("BDAT ").Append(chunk.Length).Append("\r\n").Append(chunk);
        }
        return commands.Append("BDAT 0 LAST\r\n").ToString();
    }

    private static string Stuff(string text) =>
        (text.StartsWith('.') ? "." : "") + text.Replace("\r\n.", "\r\n..", StringComparison.Ordinal);

    private static string Unstuff(string wire)
    {
        Assert.EndsWith(".\r\n", wire, StringComparison.Ordinal);
        var lines = wire[..^3].Split("\r\n");
        return string.Join("\r\n", lines.Select(line => line.StartsWith('.') ? line[1..] : line));
    }
}
