using System.Text;
using FastMail.Protocol.Smtp;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Protocol;

/// <summary>The scanner on masks against one that anybody can read, on texts made of what matters to it.</summary>
public sealed class ContentScannerTests
{
    // Pieces rather than octets, or interesting sequences would never come together by chance.
    private static readonly string[] Pieces =
    [
        "\r\n", "\r\n", "\r\n.", "\r\n.\r\n", ".", "..", "\r", "\n", "\0", "\xE9", "a", "hello world", " ",
        "\r\n\r\n", "\t", new string('x', 61), new string('y', 64), new string('z', 997), "\x0E", "\v",
    ];

    [Fact]
    public void Any_text_split_anywhere_gives_what_the_obvious_scanner_finds()
    {
        var texts = Gen.Elements(Pieces).ArrayOf().Select(pieces => string.Concat(pieces) + "\r\n.\r\nNOOP\r\n");
        var cases = texts.Zip(Gen.Choose(1, 200)).ToArbitrary();
        Prop.ForAll(cases, pair => Agrees(Encoding.Latin1.GetBytes(pair.Item1), pair.Item2))
            .Check(Config.QuickThrowOnFailure.WithMaxTest(2000));
    }

    [Fact]
    public void Every_split_of_one_hard_text_gives_the_same()
    {
        var text = Encoding.Latin1.GetBytes(
            "A: b\r\n\r\n..x\r\n.\r\r\n.\n" + new string('x', 50) + "\r\n..\r\n"
            + new string('y', 998) + "\r\n.\r\n.\r\n");
        for (var segment = 1; segment <= text.Length; segment++)
        {
            Assert.True(Agrees(text, segment), $"segments of {segment}");
        }
    }

    [Theory]
    [InlineData(998, false)]
    [InlineData(999, true)]
    public void A_line_is_long_beyond_998_octets(int length, bool isLong)
    {
        foreach (var dot in new[] { "", "." })
        {
            foreach (var lead in new[] { "", "a\r\n", new string('a', 62) + "\r\n" })
            {
                // A stuffed dot does not count, the dot it protects does.
                var line = dot.Length > 0 ? ".." + new string('x', length - 1) : new string('x', length);
                var text = Encoding.ASCII.GetBytes(lead + line + "\r\n.\r\n");
                var scanner = default(ContentScanner);
                scanner.Start();
                scanner.Scan(text);
                Assert.True(scanner.HasEnded);
                Assert.Equal(isLong, scanner.Facts().HasLongLine);
            }
        }
    }

    [Fact]
    public void Facts_of_a_plain_message()
    {
        var scanner = default(ContentScanner);
        scanner.Start();
        var text = "A: b\r\n\r\n..x\r\n.\r\nQUIT\r\n"u8;
        Assert.Equal(text.Length - 6, scanner.Scan(text));
        Assert.Equal(
            new ContentFacts
            {
                WireBytes = 16,
                Octets = 12,
                HeaderWireBytes = 8,
                HasEndOfHeader = true,
                Has8Bit = false,
                HasLongLine = false,
            },
            scanner.Facts());
    }

    [Fact]
    public void Facts_of_an_empty_message()
    {
        var scanner = default(ContentScanner);
        scanner.Start();
        Assert.Equal(3, scanner.Scan(".\r\n"u8));
        Assert.True(scanner.HasEnded);
        Assert.Equal(
            new ContentFacts
            {
                WireBytes = 3,
                Octets = 0,
                HeaderWireBytes = 0,
                HasEndOfHeader = false,
                Has8Bit = false,
                HasLongLine = false,
            },
            scanner.Facts());
    }

    private static bool Agrees(byte[] text, int segment)
    {
        var expected = ObviousScanner.Scan(text);
        var scanner = default(ContentScanner);
        scanner.Start();
        var at = 0;
        while (at < text.Length && !scanner.HasEnded)
        {
            at += scanner.Scan(text.AsSpan(at, Math.Min(segment, text.Length - at)));
        }
        return scanner.HasEnded == expected.HasEnded && at == expected.Consumed
            && scanner.HasBareLineEnd == expected.HasBareLineEnd && scanner.HasNul == expected.HasNul
            && (!expected.HasEnded || scanner.Facts() == expected.Facts);
    }
}

/// <summary>One octet at a time, with the whole text at hand: the specification of the real scanner.</summary>
internal static class ObviousScanner
{
    internal sealed record Findings(bool HasEnded, int Consumed, bool HasBareLineEnd, bool HasNul, ContentFacts Facts);

    public static Findings Scan(byte[] text)
    {
        bool At(int i, string what) =>
            i >= 0 && i + what.Length <= text.Length && Encoding.Latin1.GetString(text, i, what.Length) == what;

        var end = 0;
        while (end < text.Length && !(At(end, ".\r\n") && (end == 0 || At(end - 2, "\r\n"))))
        {
            end++;
        }
        var hasEnded = end < text.Length;
        var consumed = hasEnded ? end + 3 : text.Length;
        var (bare, header, dots, lineStart) = (false, 0, 0, 0);
        var isLong = false;
        for (var i = 0; i < consumed; i++)
        {
            var isLineStart = i == 0 || At(i - 2, "\r\n");
            bare |= text[i] == '\n' && !At(i - 1, "\r");
            bare |= i + 1 < consumed && text[i] == '\r' && text[i + 1] != '\n';
            dots += isLineStart && text[i] == '.' ? 1 : 0;
            header = header == 0 && isLineStart && At(i, "\r\n") && i + 2 <= consumed ? i + 2 : header;
            if (At(i - 1, "\r\n"))
            {
                isLong |= i - 1 - lineStart - (text[lineStart] == '.' ? 1 : 0) > 998;
                lineStart = i + 1;
            }
        }
        return new Findings(hasEnded, consumed, bare, text.AsSpan(0, consumed).Contains((byte)0), new ContentFacts
        {
            WireBytes = consumed,
            Octets = consumed - dots - 2,
            HeaderWireBytes = header > 0 ? header : consumed - 3,
            HasEndOfHeader = header > 0,
            Has8Bit = text.AsSpan(0, consumed).ContainsAnyInRange((byte)128, (byte)255),
            HasLongLine = isLong,
        });
    }
}
