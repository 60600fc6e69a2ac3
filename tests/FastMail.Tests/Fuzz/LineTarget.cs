using System.Text;
using FastMail.Protocol;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// The reader of command lines, cut anywhere, against one that has the whole input at hand: the same lines, the same
/// complaints, in the same order.
/// </summary>
internal sealed class LineTarget() : FuzzTarget(
    "line",
    "NOOP\r\n", "\r\n", "\r", "\n", "\0", "\r\r\n", "\n\r", "{{30*a}}\r\n", "{{31*b}}", "{{62*c}}\r\n", "{{100*d}}",
    "x")
{
    private const int Limit = 32; // octets
    private const int SkippedBytes = 64 * 1024;

    public override int QuickRuns => 2000;

    protected override int LongestInput => 2000;

    public override string Run(byte[] input)
    {
        var chance = ChanceOf(input);
        var text = chance.Next(50) == 0 ? [.. input, .. Enumerable.Repeat((byte)'z', SkippedBytes), .. input] : input;
        string[] first = [];
        foreach (var takesBareLf in (bool[])[false, true])
        {
            var expected = Expect(text, takesBareLf).ToArray();
            first = takesBareLf ? first : expected;
            Compare(() => text.Length, text.Length);
            Compare(() => 1 + chance.Next(40), 40);
            Compare(() => 1, 1);

            void Compare(Func<int> segment, int longest)
            {
                var found = Read(text, takesBareLf, segment);
                Promise(
                    found.SequenceEqual(expected, StringComparer.Ordinal),
                    $"segments up to {longest}: [{string.Join('|', found)}] is not [{string.Join('|', expected)}]");
            }
        }
        return string.Join(' ', first.Select(e => e[..1]));
    }

    private static List<string> Read(byte[] text, bool takesBareLf, Func<int> segment)
    {
        var reader = new LineReader(takesBareLf);
        var events = new List<string>();
        var (start, end) = (0, 0);
        while (end < text.Length)
        {
            end = Math.Min(end + segment(), text.Length);
            for (var isOver = false; start < end && !isOver;)
            {
                var status = reader.Read(text.AsSpan(start, end - start), Limit, out var line, out var consumed);
                Promise(consumed <= end - start, $"{consumed} octets used up of {end - start}");
                start += consumed;
                switch (status)
                {
                    case LineStatus.Incomplete:
                        Promise(end - start < Limit, $"{end - start} octets are not enough to tell");
                        isOver = true;
                        break;
                    case LineStatus.Complete:
                        events.Add("=" + Encoding.Latin1.GetString(line));
                        break;
                    case LineStatus.TooLong:
                        events.Add("long");
                        break;
                    case LineStatus.Skipped:
                        Promise(consumed > 0, "skipped nothing");
                        break;
                    default:
                        events.Add($"!{status}");
                        return events;
                }
            }
        }
        return events;
    }

    private static IEnumerable<string> Expect(byte[] octets, bool takesBareLf)
    {
        var text = Encoding.Latin1.GetString(octets);
        for (var at = 0; at < text.Length;)
        {
            var (length, isWhole, isBad) = Next(text[at..], takesBareLf);
            var isLong = isBad ? length >= Limit : isWhole ? length > Limit : text.Length - at >= Limit;
            if (isLong)
            {
                yield return "long";
                if (isBad || (isWhole ? length : text.Length - at) > SkippedBytes)
                {
                    yield return "!Endless";
                    yield break;
                }
            }
            else if (isBad)
            {
                yield return "!Malformed";
                yield break;
            }
            else if (isWhole)
            {
                var line = text.Substring(at, length);
                yield return "=" + (line.EndsWith("\r\n", StringComparison.Ordinal) ? line[..^2] : line[..^1]);
            }
            at += isWhole ? length : text.Length;
        }
    }

    /// <summary>Octets up to the end of the line and with it, or up to the octet that spoils it.</summary>
    private static (int Length, bool IsWhole, bool IsBad) Next(string text, bool takesBareLf)
    {
        for (var i = 0; i < text.Length; i++)
        {
            if (takesBareLf ? text[i] == '\n' : text[i] == '\n' && i > 0 && text[i - 1] == '\r')
            {
                return (i + 1, true, false);
            }
            if (takesBareLf)
            {
                continue;
            }
            if (text[i] is '\n' or '\0')
            {
                return (i, false, true);
            }
            if (text[i] == '\r' && i + 1 < text.Length && text[i + 1] != '\n')
            {
                // It takes the octet behind a CR to know that it is bare.
                return (i + 1, false, true);
            }
        }
        return (text.Length, false, false);
    }
}

/// <summary>The command reader of both protocols.</summary>
public sealed class LineFuzz : FuzzRun
{
    internal override FuzzTarget Target { get; } = new LineTarget();
}
