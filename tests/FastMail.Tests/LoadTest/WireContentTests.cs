using System.Text;
using FastMail.LoadTest.Messages;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Content in wire form, however it is divided.</summary>
public sealed class WireContentTests
{
    private const int LongestLine = 4096;

    [Theory]
    [InlineData("+", 0)]
    [InlineData("a\r\n", 3)]
    [InlineData("\r\n", 2)]
    [InlineData("..\r\n", 3)]
    [InlineData("a\r\n..b\r\n...\r\nc\r\n", 14)]
    [InlineData("a\rb\nc\r\r\n..\r\n", 11)]
    public void Octets_are_counted_without_the_stuffed_dots(string wire, int octets)
    {
        byte[] all = Encoding.ASCII.GetBytes((wire == "+" ? "" : wire) + ".\r\n+OK next");
        for (int step = 1; step <= all.Length; step++)
        {
            var content = default(WireContent);
            content.Begin();
            int end = TakeAll(ref content, all, step, own: null);
            Assert.Equal((octets, all.Length - "+OK next".Length), ((int)content.Octets, end));
        }
    }

    [Fact]
    public void A_message_is_the_same_however_it_is_divided()
    {
        using var generator = new MessageGenerator(11, new OctetRange(0, 9000), eightBit: true);
        Prop.ForAll(
            ArbMap.Default.ArbFor<PositiveInt>(),
            ArbMap.Default.ArbFor<PositiveInt>(),
            (sequence, step) =>
            {
                LoadMessage message = generator.Describe(sequence.Get);
                byte[] wire = [.. "Received: by x\r\n\tfrom y\r\n"u8, .. GeneratedText.WireOf(generator, message), .. ".\r\n"u8];
                using var own = new OwnPart();
                var content = default(WireContent);
                content.Begin();
                int end = TakeAll(ref content, wire, step.Get, own);
                return end == wire.Length && own.TryFinish(out LoadId id, out string hash)
                    && id == generator.IdOf(message) && hash == GeneratedText.HashOf(generator, message)
                    && content.Octets == GeneratedText.Unstuff(wire[..^3]).Length;
            }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void A_line_of_the_header_section_that_has_no_end_is_taken_in_parts()
    {
        byte[] wire = [.. "Subject: "u8, .. Enumerable.Repeat((byte)'x', 3 * LongestLine), .. "\r\n.\r\n"u8];
        using var own = new OwnPart();
        var content = default(WireContent);
        content.Begin();
        Assert.Equal(wire.Length, TakeAll(ref content, wire, 1000, own));
        Assert.Equal(wire.Length - 3, content.Octets);
    }

    /// <summary>Gives it so many octets more each time, and what it left; returns where the lone dot ended.</summary>
    private static int TakeAll(ref WireContent content, byte[] wire, int step, OwnPart? own)
    {
        int at = 0;
        for (int there = 0; ;)
        {
            Assert.True(there < wire.Length, "no end was seen");
            there = Math.Min(wire.Length, there + step);
            at += content.Take(wire.AsSpan(at, there - at), LongestLine, own, out bool isEnded);
            if (isEnded)
            {
                return at;
            }
        }
    }
}
