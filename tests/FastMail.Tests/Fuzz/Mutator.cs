using System.Globalization;
using System.Text;

namespace FastMail.Tests.Fuzz;

/// <summary>
/// Makes inputs out of the words of a grammar and of inputs that were interesting before. Used for one input and its
/// thread; all chance is the given one's.
/// </summary>
internal sealed class Mutator(Random random, byte[][] words, int longest)
{
    private static readonly byte[] Odd =
        [0, 1, 9, 10, 13, 27, 32, 34, 37, 40, 46, 48, 58, 60, 61, 62, 64, 91, 92, 93, 127, 128, 0xC0, 0xE3, 0xFF];

    private static readonly string[] Numbers =
    [
        "0", "1", "2", "3", "-1", "+1", "00", "007", "127", "128", "255", "256", "998", "999", "1000", "1001", "65535",
        "65536", "2147483647", "2147483648", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808",
        "18446744073709551616", "99999999999999999999999999", "0x10", "1e3", "1 ", " 1", "\xD9\xA1",
    ];

    private static readonly int[] Lengths =
        [2, 3, 31, 32, 60, 63, 64, 65, 100, 253, 254, 255, 256, 300, 505, 512, 998, 1000, 2046, 2048, 2050];

    private byte[] _text = [];

    public byte[] Make(IReadOnlyList<byte[]> population)
    {
        _text = population.Count == 0 || random.Next(8) == 0 ? Sentence() : Pick(population);
        for (var rounds = 1 + random.Next(random.Next(2) == 0 ? 3 : 12); rounds > 0; rounds--)
        {
            Change(population);
        }
        return _text.Length > longest ? _text[..longest] : _text;
    }

    private byte[] Sentence() =>
        [.. Enumerable.Range(0, 1 + random.Next(16)).SelectMany(_ => Word())];

    private void Change(IReadOnlyList<byte[]> population)
    {
        var (start, end) = Range();
        switch (random.Next(14))
        {
            case 0 or 1 or 2:
                Replace(start, start, Word());
                break;
            case 3:
                Replace(start, end, Word());
                break;
            case 4:
                Replace(start, end, []);
                break;
            case 5:
                Replace(end, end, _text[start..end]);
                break;
            case 6:
                Replace(start, start, [Odd[random.Next(Odd.Length)]]);
                break;
            case 7 when start < _text.Length:
                Replace(start, start + 1, [Odd[random.Next(Odd.Length)]]);
                break;
            case 8 when start < _text.Length:
                Replace(start, start + 1, [(byte)(_text[start] ^ (1 << random.Next(8)))]);
                break;
            case 9:
                ChangeNumber();
                break;
            case 10 when start < _text.Length:
                var octet = random.Next(3) == 0 ? _text[start] : (byte)'a';
                Replace(start, start, [.. Enumerable.Repeat(octet, Lengths[random.Next(Lengths.Length)])]);
                break;
            case 11 when population.Count > 0:
                var other = Pick(population);
                var cut = random.Next(other.Length + 1);
                Replace(start, _text.Length, other[cut..]);
                break;
            case 12:
                var word = Word();
                Replace(start, start, [.. Enumerable.Repeat(word, 2 + random.Next(30)).SelectMany(w => w)]);
                break;
            default:
                SwapLines();
                break;
        }
    }

    private byte[] Word() => words[random.Next(words.Length)];

    private byte[] Pick(IReadOnlyList<byte[]> population) => population[random.Next(population.Count)];

    private (int Start, int End) Range()
    {
        var start = random.Next(_text.Length + 1);
        var length = random.Next(4) == 0 ? random.Next(_text.Length - start + 1) : random.Next(12);
        return (start, Math.Min(start + length, _text.Length));
    }

    private void Replace(int start, int end, byte[] by) => _text = [.. _text[..start], .. by, .. _text[end..]];

    private void ChangeNumber()
    {
        var digits = Enumerable.Range(0, _text.Length)
            .Where(i => char.IsAsciiDigit((char)_text[i]) && (i == 0 || !char.IsAsciiDigit((char)_text[i - 1])))
            .ToArray();
        if (digits.Length == 0)
        {
            return;
        }
        var start = digits[random.Next(digits.Length)];
        var end = start;
        while (end < _text.Length && char.IsAsciiDigit((char)_text[end]))
        {
            end++;
        }
        var isSmall = long.TryParse(
            Encoding.ASCII.GetString(_text, start, end - start), NumberStyles.None, CultureInfo.InvariantCulture,
            out var number) && number < long.MaxValue;
        var text = isSmall && random.Next(2) == 0
            ? (number + (random.Next(2) == 0 ? 1 : -1)).ToString(CultureInfo.InvariantCulture)
            : Numbers[random.Next(Numbers.Length)];
        Replace(start, end, Encoding.Latin1.GetBytes(text));
    }

    /// <summary>Lines in another order: most state machines fall over commands, not over octets.</summary>
    private void SwapLines()
    {
        var lines = Encoding.Latin1.GetString(_text).Split('\n');
        var (one, other) = (random.Next(lines.Length), random.Next(lines.Length));
        (lines[one], lines[other]) = (lines[other], lines[one]);
        _text = Encoding.Latin1.GetBytes(string.Join('\n', lines));
    }
}
