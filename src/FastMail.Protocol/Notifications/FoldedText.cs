namespace FastMail.Protocol.Notifications;

/// <summary>Breaks one line of words into lines of readable length. Stateless; any thread.</summary>
internal static class FoldedText
{
    private const int LineOctets = 76;
    private const int WordOctets = 900; // with what stands before it on its line it stays below 998

    /// <summary>
    /// Writes words that one space separates, and the line end. Where a line would become too long, a line end and
    /// <paramref name="indent"/> take the place of the space, or come into a word that no line could hold.
    /// </summary>
    /// <param name="output">Where to.</param>
    /// <param name="column">Octets that the line has already.</param>
    /// <param name="text">Clean: no line ends.</param>
    /// <param name="indent">At least one blank.</param>
    public static void WriteLine(WireOutput output, int column, ReadOnlySpan<byte> text, ReadOnlySpan<byte> indent)
    {
        for (var isFirst = true; !text.IsEmpty; isFirst = false)
        {
            var length = text.IndexOf((byte)' ');
            length = Math.Min(length < 0 ? text.Length : length, WordOctets);
            if (!isFirst && column + 1 + length > LineOctets)
            {
                output.WriteLine();
                output.Write(indent);
                column = indent.Length;
            }
            else if (!isFirst)
            {
                output.Write((byte)' ');
                column++;
            }
            while (length < text.Length && length > 0 && (text[length] & 0xC0) == 0x80)
            {
                length--; // not in the midst of a character
            }
            output.Write(text[..length]);
            column += length;
            text = text[length..];
            text = text.StartsWith(" "u8) ? text[1..] : text;
        }
        output.WriteLine();
    }
}
