using System.Security.Cryptography;
using System.Text;
using FastMail.LoadTest.Messages;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Messages are the same for the same seed, of exact size, legal on the wire and hashed as content.</summary>
public sealed class MessageGeneratorTests
{
    [Fact]
    public void The_same_seed_makes_the_same_messages_and_another_seed_others()
    {
        using var first = new MessageGenerator(7, new OctetRange(0, 9000), eightBit: true);
        using var again = new MessageGenerator(7, new OctetRange(0, 9000), eightBit: true);
        using var other = new MessageGenerator(8, new OctetRange(0, 9000), eightBit: true);
        for (long sequence = 0; sequence < 200; sequence++)
        {
            LoadMessage message = first.Describe(sequence);
            Assert.Equal(message, again.Describe(sequence));
            byte[] wire = GeneratedText.WireOf(first, message);
            Assert.Equal(wire, GeneratedText.WireOf(again, message));
            Assert.NotEqual(wire, GeneratedText.WireOf(other, other.Describe(sequence)));
        }
    }

    [Fact]
    public void A_message_has_its_size_is_legal_on_the_wire_and_is_hashed_as_content()
    {
        Prop.ForAll<ulong, PositiveInt, int>((seed, sequence, chance) =>
        {
            int size = Math.Abs(chance % 20_000);
            using var generator = new MessageGenerator(seed, new OctetRange(size, size), eightBit: seed % 2 == 0);
            LoadMessage message = generator.Describe(sequence.Get);
            byte[] wire = GeneratedText.WireOf(generator, message);
            byte[] content = GeneratedText.Unstuff(wire);
            int least = generator.HeaderOctets;
            Assert.Equal(message.Octets, content.Length);
            Assert.Equal(size <= least ? least : size == least + 1 ? size + 1 : size, content.Length);
            Assert.Equal(
                Convert.ToHexStringLower(SHA256.HashData(content)), GeneratedText.HashOf(generator, message));
            AssertLegal(wire);
        }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void Bodies_of_every_length_are_cut_whole_from_every_line()
    {
        var text = new BodyText(3, 4000, eightBit: false);
        var pieces = new BodyPiece[text.PiecesFor(10_000)];
        for (int octets = 2; octets < 10_000; octets += octets < 2100 ? 1 : 13)
        {
            int count = text.Cut(octets % text.Lines, octets, wireForm: false, pieces);
            Assert.Equal(octets, pieces.AsSpan(0, count).ToArray().Sum(piece => piece.Length));
            Assert.True(pieces[count - 1].Octets.EndsWith("\r\n"u8));
        }

        Assert.Equal(0, text.Cut(0, 0, wireForm: true, pieces));
    }

    [Fact]
    public void Bodies_hold_what_has_broken_servers()
    {
        using var generator = new MessageGenerator(1, new OctetRange(300_000, 300_000), eightBit: true);
        byte[] wire = GeneratedText.WireOf(generator, generator.Describe(0));
        string text = Encoding.Latin1.GetString(wire);
        Assert.Contains("\r\n..\r\n", text, StringComparison.Ordinal); // a lone dot, stuffed
        Assert.Contains("\r\n...\r\n", text, StringComparison.Ordinal);
        Assert.Contains("\r\n\r\n\r\n", text, StringComparison.Ordinal);
        Assert.Contains("\r\nFrom ", text, StringComparison.Ordinal);
        Assert.Contains(text.Split("\r\n"), line => line.Length == 998);
        Assert.Contains(wire, octet => octet >= 0x80);
    }

    [Fact]
    public void Seven_bit_bodies_hold_no_octet_above_127()
    {
        using var generator = new MessageGenerator(1, new OctetRange(300_000, 300_000), eightBit: false);
        Assert.DoesNotContain(GeneratedText.WireOf(generator, generator.Describe(0)), octet => octet >= 0x80);
    }

    [Fact]
    public void Drawn_sizes_stay_within_their_range_and_use_all_of_it()
    {
        using var generator = new MessageGenerator(5, new OctetRange(1000, 1_000_000), eightBit: false);
        long[] sizes = [.. Enumerable.Range(0, 2000).Select(n => generator.Describe(n).Octets)];
        Assert.All(sizes, size => Assert.InRange(size, 1000, 1_000_000));
        Assert.Contains(sizes, size => size < 2000);
        Assert.Contains(sizes, size => size > 500_000);
    }

    [Fact]
    public void An_id_is_read_as_it_was_written()
    {
        Prop.ForAll<ulong, NonNegativeInt>((seed, sequence) =>
        {
            var id = new LoadId(seed, sequence.Get);
            Span<byte> text = stackalloc byte[LoadId.Length];
            id.Write(text);
            return LoadId.TryParse(text, out LoadId read) && read == id
                && id.ToString() == Encoding.ASCII.GetString(text);
        }).QuickCheckThrowOnFailure();
        Assert.False(LoadId.TryParse("00000000a9a624d1.00000001998 "u8, out _));
        Assert.False(LoadId.TryParse("00000000A9A624D1-000000019989"u8, out _));
    }

    private static void AssertLegal(byte[] wire)
    {
        Assert.True(wire.AsSpan().EndsWith("\r\n"u8));
        foreach (string line in Encoding.Latin1.GetString(wire)[..^2].Split("\r\n"))
        {
            Assert.DoesNotContain('\r', line);
            Assert.DoesNotContain('\n', line);
            Assert.DoesNotContain('\0', line);
            Assert.True(line.Length <= 998 + (line.StartsWith('.') ? 1 : 0));
            Assert.False(line == ".");
        }
    }
}
