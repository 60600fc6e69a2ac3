namespace FastMail.Protocol;

/// <summary>
/// Base64 as SASL needs it (RFC 4648 4, RFC 4954 4): no white space, padding exactly where it belongs, unused bits
/// zero, so that every value has one spelling. Stateless; any thread. <c>System.Buffers.Text.Base64</c> skips blanks.
/// </summary>
internal static class StrictBase64
{
    private const byte Bad = 0xFF;

    private static readonly byte[] Values = MakeValues();

    /// <summary>Octets that <paramref name="text"/> decodes to at most.</summary>
    public static int MaxDecodedBytes(ReadOnlySpan<byte> text) => text.Length / 4 * 3;

    /// <summary>
    /// Decodes all of <paramref name="text"/>; false on any flaw or when the destination is too small.
    /// </summary>
    public static bool TryDecode(ReadOnlySpan<byte> text, Span<byte> destination, out int written)
    {
        written = 0;
        if (text.Length % 4 != 0)
        {
            return false;
        }
        var padding = text.EndsWith("=="u8) ? 2 : text.EndsWith("="u8) ? 1 : 0;
        var length = MaxDecodedBytes(text) - padding;
        if (length > destination.Length)
        {
            return false;
        }
        var at = 0;
        for (var quantum = 0; quantum < text.Length; quantum += 4)
        {
            var pads = quantum + 4 == text.Length ? padding : 0;
            if (!TryDecodeQuantum(text.Slice(quantum, 4), pads, out var bits))
            {
                return false;
            }
            for (var shift = 16; shift >= 8 * pads; shift -= 8)
            {
                destination[at++] = (byte)(bits >> shift);
            }
        }
        written = length;
        return true;
    }

    private static bool TryDecodeQuantum(ReadOnlySpan<byte> four, int pads, out int bits)
    {
        bits = 0;
        for (var i = 0; i < 4 - pads; i++)
        {
            var value = Values[four[i]];
            if (value == Bad)
            {
                return false;
            }
            bits |= value << (18 - (6 * i));
        }
        return (bits & ((1 << (8 * pads)) - 1)) == 0; // bits behind the last octet
    }

    private static byte[] MakeValues()
    {
        var values = new byte[256];
        values.AsSpan().Fill(Bad);
        var alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"u8;
        for (var i = 0; i < alphabet.Length; i++)
        {
            values[alphabet[i]] = (byte)i;
        }
        return values;
    }
}
