using FastMail.Storage;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>The checksum, beside its definition taken bit by bit.</summary>
public sealed class Crc32CTests
{
    private const uint Polynomial = 0x82F63B78; // of RFC 3720 B.4, bits reversed

    [Fact]
    public void The_examples_of_RFC_3720_come_out()
    {
        Assert.Equal(0x8A9136AAu, Crc32C.Extend(0, new byte[32]));
        Assert.Equal(0x62A8AB43u, Crc32C.Extend(0, [.. Enumerable.Repeat((byte)0xFF, 32)]));
        Assert.Equal(0x46DD794Eu, Crc32C.Extend(0, [.. Enumerable.Range(0, 32).Select(i => (byte)i)]));
    }

    /// <summary>Every length up to where the longest lanes run twice, beginning at every alignment.</summary>
    [Fact]
    public void Every_length_and_alignment_gives_what_the_definition_does()
    {
        byte[] octets = new byte[7_000];
        new Random(1).NextBytes(octets);
        for (int start = 0; start < 8; start++)
        {
            uint expected = 0;
            for (int length = 0; start + length < octets.Length; length++)
            {
                Assert.Equal(expected, Crc32C.Extend(0, octets.AsSpan(start, length)));
                expected = Defined(expected, octets[start + length]);
            }
        }
    }

    [Fact]
    public void Parts_give_what_the_whole_does()
    {
        Prop.ForAll(
            Gen.Choose(0, 65_536).ToArbitrary(), Gen.Choose(0, 65_536).ToArbitrary(), ArbMap.Default.ArbFor<uint>(),
            (length, cut, seed) =>
            {
                byte[] octets = new byte[length];
                new Random(cut).NextBytes(octets);
                int at = Math.Min(length, cut);
                uint parts = Crc32C.Extend(Crc32C.Extend(seed, octets.AsSpan(0, at)), octets.AsSpan(at));
                Assert.Equal(Crc32C.Extend(seed, octets), parts);
            }).QuickCheckThrowOnFailure();
    }

    private static uint Defined(uint crc, byte octet)
    {
        uint state = ~crc ^ octet;
        for (int bit = 0; bit < 8; bit++)
        {
            state = (state >> 1) ^ ((state & 1) * Polynomial);
        }

        return ~state;
    }
}
