using System.Buffers;

namespace FastMail.LoadTest.Smtp;

/// <summary>
/// Reply = *( Reply-code "-" [ textstring ] CRLF ) Reply-code [ SP textstring ] CRLF (RFC 5321 4.2), and nothing more
/// lenient: three digits of which the first is 2-5 and the second 0-5, the same code on every line, no bare LF.
/// Stateless; any thread.
/// </summary>
internal static class ReplyParser
{
    /// <summary>Octets of one line; four times the RFC's 512 is still no reply anyone means.</summary>
    internal const int LongestLine = 2048;

    /// <summary>
    /// Done: a whole reply of <paramref name="consumed"/> octets with <paramref name="code"/>. NeedMoreData: none yet.
    /// InvalidData: the octets can never become a reply.
    /// </summary>
    internal static OperationStatus Parse(ReadOnlySpan<byte> received, out int consumed, out int code)
    {
        consumed = 0;
        code = 0;
        int at = 0;
        while (true)
        {
            ReadOnlySpan<byte> rest = received[at..];
            int lineFeed = rest.IndexOf((byte)'\n');
            if (lineFeed < 0)
            {
                return rest.Length > LongestLine ? OperationStatus.InvalidData : OperationStatus.NeedMoreData;
            }

            if (!TryReadLine(rest[..(lineFeed + 1)], out int lineCode, out bool isLast)
                || (code != 0 && lineCode != code))
            {
                return OperationStatus.InvalidData;
            }

            code = lineCode;
            at += lineFeed + 1;
            if (isLast)
            {
                consumed = at;
                return OperationStatus.Done;
            }
        }
    }

    /// <summary>The first line of what a server said, fit for a terminal.</summary>
    internal static string Printable(ReadOnlySpan<byte> reply)
    {
        int end = reply.IndexOfAny((byte)'\r', (byte)'\n');
        ReadOnlySpan<byte> line = reply[..Math.Min(200, end < 0 ? reply.Length : end)];
        return string.Create(line.Length, line, static (text, octets) =>
        {
            for (int i = 0; i < octets.Length; i++)
            {
                text[i] = octets[i] is >= 0x20 and < 0x7f ? (char)octets[i] : '?';
            }
        });
    }

    private static bool TryReadLine(ReadOnlySpan<byte> line, out int code, out bool isLast)
    {
        code = 0;
        isLast = false;
        if (line.Length is < 5 or > LongestLine || line[^2] != (byte)'\r')
        {
            return false;
        }

        int hundreds = line[0] - '0';
        int tens = line[1] - '0';
        int ones = line[2] - '0';
        if (hundreds is < 2 or > 5 || tens is < 0 or > 5 || ones is < 0 or > 9)
        {
            return false;
        }

        code = (hundreds * 100) + (tens * 10) + ones;
        isLast = line[3] != (byte)'-';
        bool hasText = line.Length > 5;
        return hasText ? line[3] is (byte)' ' or (byte)'-' && !line[..^2].Contains((byte)'\r') : line[3] == (byte)'\r';
    }
}
