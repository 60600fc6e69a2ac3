using System.Buffers;
using System.Globalization;
using System.Text;

namespace FastMail.Protocol.Notifications;

/// <summary>
/// Texts of others, made fit to stand in a header field or in front of a person. Stateless; any thread.
/// </summary>
internal static class CleanText
{
    /// <summary>
    /// The text in one line: blanks, line ends and controls become single spaces, what is no UTF-8 a question mark, and
    /// so does all that is not ASCII unless <paramref name="takesUtf8"/>. Never longer than the text.
    /// </summary>
    public static int Write(ReadOnlySpan<byte> text, bool takesUtf8, Span<byte> destination)
    {
        var written = 0;
        while (!text.IsEmpty)
        {
            var status = Rune.DecodeFromUtf8(text, out var rune, out var length);
            var isBlank = status == OperationStatus.Done && IsBlank(rune);
            if (isBlank)
            {
                if (written > 0 && destination[written - 1] != ' ')
                {
                    destination[written++] = (byte)' ';
                }
            }
            else if (status == OperationStatus.Done && (takesUtf8 || rune.IsAscii))
            {
                text[..length].CopyTo(destination[written..]);
                written += length;
            }
            else
            {
                destination[written++] = (byte)'?';
            }
            text = text[length..];
        }
        return written > 0 && destination[written - 1] == ' ' ? written - 1 : written;
    }

    // Format characters could turn the direction of the rest of the line around.
    private static bool IsBlank(Rune rune) =>
        rune.Value == ' ' || (!rune.IsAscii || Rune.IsControl(rune))
            && Rune.GetUnicodeCategory(rune) is UnicodeCategory.Control or UnicodeCategory.Format
                or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator
                or UnicodeCategory.SpaceSeparator;
}
