using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// CRC-32C (Castagnoli, RFC 3720 B.4) by the processor's instruction. Stateless; any thread.
/// </summary>
internal static class Crc32C
{
    /// <summary>
    /// Continues <paramref name="crc"/> (0 to begin, or a salt) over <paramref name="bytes"/>;
    /// <c>Extend(Extend(0, a), b)</c> equals <c>Extend(0, ab)</c>.
    /// </summary>
    public static uint Extend(uint crc, ReadOnlySpan<byte> bytes)
    {
        uint state = ~crc;
        ReadOnlySpan<ulong> words = MemoryMarshal.Cast<byte, ulong>(bytes);
        foreach (ulong word in words)
        {
            state = BitOperations.Crc32C(state, word);
        }

        foreach (byte octet in bytes[(words.Length * sizeof(ulong))..])
        {
            state = BitOperations.Crc32C(state, octet);
        }

        return ~state;
    }

    /// <summary>Continues over four octets, little-endian.</summary>
    public static uint Extend(uint crc, uint value)
    {
        Span<byte> octets = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(octets, value);
        return Extend(crc, octets);
    }
}
