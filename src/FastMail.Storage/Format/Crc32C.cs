using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace FastMail.Storage;

/// <summary>
/// CRC-32C (Castagnoli, RFC 3720 B.4) by the processor's instruction. One result is ready three cycles after the one
/// before, but an instruction can begin in each: three lanes run at once, and a carry-less multiplication shifts their
/// remainders to where they belong (Gopal et al., "Fast CRC Computation for iSCSI Polynomial Using CRC32 Instruction",
/// Intel 2011). Stateless; any thread.
/// </summary>
internal static class Crc32C
{
    private const int LongLane = 1024; // octets: 3 KiB at a time
    private const int ShortLane = 128; // what is left of that, and short bodies

    private static readonly Vector128<ulong> LongShifts = Shifts(LongLane);
    private static readonly Vector128<ulong> ShortShifts = Shifts(ShortLane);

    /// <summary>
    /// Continues <paramref name="crc"/> (0 to begin, or a salt) over <paramref name="bytes"/>;
    /// <c>Extend(Extend(0, a), b)</c> equals <c>Extend(0, ab)</c>.
    /// </summary>
    public static uint Extend(uint crc, ReadOnlySpan<byte> bytes)
    {
        uint state = ~crc;
        if (bytes.Length >= 3 * ShortLane && Pclmulqdq.IsSupported && Sse42.X64.IsSupported)
        {
            state = ExtendLanes(state, ref bytes, LongLane, LongShifts);
            state = ExtendLanes(state, ref bytes, ShortLane, ShortShifts);
        }

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

    /// <summary>Takes as many times three lanes from the start of the octets as there are.</summary>
    private static uint ExtendLanes(uint state, ref ReadOnlySpan<byte> bytes, int lane, Vector128<ulong> shifts)
    {
        int blocks = bytes.Length / (3 * lane);
        ref byte start = ref MemoryMarshal.GetReference(bytes);
        for (int block = 0; block < blocks; block++)
        {
            ulong first = state;
            ulong second = 0;
            ulong third = 0;
            for (nint at = 0; at < lane; at += sizeof(ulong))
            {
                ref byte word = ref Unsafe.Add(ref start, at);
                first = Sse42.X64.Crc32(first, Unsafe.ReadUnaligned<ulong>(ref word));
                second = Sse42.X64.Crc32(second, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref word, lane)));
                third = Sse42.X64.Crc32(third, Unsafe.ReadUnaligned<ulong>(ref Unsafe.Add(ref word, 2 * lane)));
            }

            Vector128<ulong> remainders = Vector128.Create(first, second);
            Vector128<ulong> shifted = Pclmulqdq.CarrylessMultiply(remainders, shifts, 0x00)
                ^ Pclmulqdq.CarrylessMultiply(remainders, shifts, 0x11);
            state = (uint)(Sse42.X64.Crc32(0, shifted.ToScalar()) ^ third);
            start = ref Unsafe.Add(ref start, 3 * lane);
        }

        bytes = bytes[(blocks * 3 * lane)..];
        return state;
    }

    /// <summary>What the remainders of the first and second lane are multiplied by: two lanes follow, and one.</summary>
    private static Vector128<ulong> Shifts(int lane)
    {
        return Vector128.Create(Shift(2 * lane), (ulong)Shift(lane));
    }

    /// <summary>
    /// x^(8n - 33) modulo the polynomial, bits reversed: a product of two reversed remainders lacks one bit of a word,
    /// and the instruction that reduces it multiplies by x^32, so this makes n octets of zeros.
    /// </summary>
    private static uint Shift(int octets)
    {
        uint power = 1u << (31 - 7); // x^7
        for (int i = 0; i < octets - 5; i++)
        {
            power = BitOperations.Crc32C(power, (byte)0);
        }

        return power;
    }
}
