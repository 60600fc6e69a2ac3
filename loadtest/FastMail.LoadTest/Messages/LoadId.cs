using System.Buffers.Text;
using System.Globalization;
using System.Runtime.InteropServices;

namespace FastMail.LoadTest.Messages;

/// <summary>
/// Names one generated message for ever: the seed of its run and its number in it, written as 16 hexadecimal digits,
/// a dot and 12 decimal digits. A value; any thread.
/// </summary>
[StructLayout(LayoutKind.Auto)]
internal readonly record struct LoadId(ulong Seed, long Sequence)
{
    internal const string FieldName = "X-Load-Id";

    /// <summary>Octets of the written form.</summary>
    internal const int Length = 29;

    private const int SeedDigits = 16;

    internal void Write(Span<byte> text)
    {
        _ = Utf8Formatter.TryFormat(Seed, text, out _, new('x', SeedDigits));
        text[SeedDigits] = (byte)'.';
        _ = Utf8Formatter.TryFormat(Sequence, text[(SeedDigits + 1)..], out _, new('D', 12));
    }

    internal static bool TryParse(ReadOnlySpan<byte> text, out LoadId id)
    {
        id = default;
        if (text.Length != Length || text[SeedDigits] != (byte)'.'
            || !ulong.TryParse(
                text[..SeedDigits], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong seed)
            || !long.TryParse(
                text[(SeedDigits + 1)..], NumberStyles.None, CultureInfo.InvariantCulture, out long sequence))
        {
            return false;
        }

        id = new LoadId(seed, sequence);
        return true;
    }

    public override string ToString() =>
        string.Create(CultureInfo.InvariantCulture, $"{Seed:x16}.{Sequence:D12}");
}
