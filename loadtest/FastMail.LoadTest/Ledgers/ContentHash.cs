using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace FastMail.LoadTest.Ledgers;

/// <summary>
/// A SHA-256 as 32 octets in place: a ledger holds millions, and as text each would take five times as many. A value;
/// any thread.
/// </summary>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct ContentHash(UInt128 High, UInt128 Low)
{
    private const int Octets = 32;

    internal static bool TryParse(ReadOnlySpan<char> digits, out ContentHash hash)
    {
        Span<byte> octets = stackalloc byte[Octets];
        hash = default;
        if (digits.Length != Octets * 2
            || Convert.FromHexString(digits, octets, out _, out _) != OperationStatus.Done)
        {
            return false;
        }

        hash = new ContentHash(
            BinaryPrimitives.ReadUInt128BigEndian(octets), BinaryPrimitives.ReadUInt128BigEndian(octets[(Octets / 2)..]));
        return true;
    }

    /// <summary>64 lower-case hexadecimal digits.</summary>
    public override string ToString() => $"{High:x32}{Low:x32}";
}
