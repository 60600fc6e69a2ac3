using System.Buffers.Binary;

namespace FastMail.Protocol;

/// <summary>
/// Words of the command language, compared four octets at a time without regard to ASCII case. Stateless; any thread.
/// Setting bit 5 folds A-Z onto a-z and maps nothing else onto a letter, so no Unicode fold-alike slips in.
/// </summary>
internal static class AsciiWord
{
    private const uint CaseBits = 0x20202020;

    /// <summary>Packs a four-letter word for comparison with <see cref="Fold"/>.</summary>
    public static uint Pack(ReadOnlySpan<byte> word) => BinaryPrimitives.ReadUInt32LittleEndian(word) | CaseBits;

    /// <summary>The first four octets, lower-cased; 0 when there are fewer.</summary>
    public static uint Fold(ReadOnlySpan<byte> line) =>
        line.Length < 4 ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(line) | CaseBits;

    /// <summary>True when <paramref name="text"/> is <paramref name="word"/> in any case.</summary>
    public static bool Is(ReadOnlySpan<byte> text, ReadOnlySpan<byte> word) =>
        System.Text.Ascii.EqualsIgnoreCase(text, word);

    /// <summary>True when <paramref name="text"/> begins with <paramref name="word"/> in any case.</summary>
    public static bool StartsWith(ReadOnlySpan<byte> text, ReadOnlySpan<byte> word) =>
        text.Length >= word.Length && Is(text[..word.Length], word);

    /// <summary>Drops blanks at the end (RFC 5321 4.1.1 asks receivers to bear them).</summary>
    public static ReadOnlySpan<byte> TrimEnd(ReadOnlySpan<byte> text) => text.TrimEnd(" \t"u8);

    public static bool IsLetterOrDigit(byte octet) =>
        (uint)octet - '0' <= 9 || ((uint)octet | 0x20) - 'a' <= 25;

    /// <summary>
    /// The line opens with a field name and a colon, or with a verb of HTTP: content or a web request that strayed into
    /// the command stream. Going on would run an attacker's content as commands.
    /// </summary>
    public static bool IsForeign(ReadOnlySpan<byte> line)
    {
        if (StartsWith(line, "GET "u8) || StartsWith(line, "POST "u8) || StartsWith(line, "CONNECT "u8))
        {
            return true;
        }
        var end = line.IndexOfAnyExceptInRange((byte)'!', (byte)'~'); // ftext and the colon
        var word = end < 0 ? line : line[..end];
        return word.IndexOf((byte)':') > 0;
    }
}
