using System.Text;

namespace FastMail.Server.Accounts;

/// <summary>
/// Unicode normalisation form C (UAX #15). .NET has it only with ICU, which this program does without. Stateless; any
/// thread.
/// </summary>
internal static class Nfc
{
    private const int HangulBase = 0xAC00, LeadBase = 0x1100, VowelBase = 0x1161, TailBase = 0x11A7;
    private const int Leads = 19, Vowels = 21, Tails = 28;

    private static readonly Dictionary<ulong, int> Compositions = MakeCompositions();

    /// <summary>The text in NFC; lone surrogates become U+FFFD.</summary>
    public static string Normalize(string text)
    {
        if (Ascii.IsValid(text))
        {
            return text;
        }

        var runes = new List<(int Rune, int Class)>(text.Length + 8);
        foreach (Rune rune in text.EnumerateRunes())
        {
            Decompose(rune.Value, runes);
        }

        Reorder(runes);
        Compose(runes);
        var result = new StringBuilder(text.Length);
        foreach ((int rune, _) in runes)
        {
            result.Append(new Rune(rune).ToString());
        }

        return result.ToString();
    }

    private static void Decompose(int rune, List<(int Rune, int Class)> runes)
    {
        int syllable = rune - HangulBase;
        if ((uint)syllable < Leads * Vowels * Tails)
        {
            runes.Add((LeadBase + (syllable / (Vowels * Tails)), 0));
            runes.Add((VowelBase + (syllable % (Vowels * Tails) / Tails), 0));
            if (syllable % Tails > 0)
            {
                runes.Add((TailBase + (syllable % Tails), 0));
            }

            return;
        }

        int at = Find(NfcTables.Decompositions, rune, isRange: false);
        if (at < 0)
        {
            runes.Add((rune, ClassOf(rune)));
            return;
        }

        Decompose((int)NfcTables.Decompositions[at + 1], runes);
        uint second = NfcTables.Decompositions[at + 2] & ~NfcTables.OneWay;
        if (second != 0)
        {
            Decompose((int)second, runes);
        }
    }

    /// <summary>Marks behind one starter in the order of their classes, otherwise as they came.</summary>
    private static void Reorder(List<(int Rune, int Class)> runes)
    {
        for (int i = 1; i < runes.Count; i++)
        {
            for (int j = i; j > 0 && runes[j].Class != 0 && runes[j - 1].Class > runes[j].Class; j--)
            {
                (runes[j - 1], runes[j]) = (runes[j], runes[j - 1]);
            }
        }
    }

    private static void Compose(List<(int Rune, int Class)> runes)
    {
        int starter = -1;
        int last = 0; // class of the rune before this one, behind the starter
        int length = 0;
        for (int i = 0; i < runes.Count; i++)
        {
            (int rune, int @class) = runes[i];
            bool isBlocked = length - starter > 1 && last >= @class;
            if (starter >= 0 && !isBlocked && TryCompose(runes[starter].Rune, rune, out int composed))
            {
                runes[starter] = (composed, 0);
                continue;
            }

            if (@class == 0)
            {
                starter = length;
            }

            last = @class;
            runes[length++] = (rune, @class);
        }

        runes.RemoveRange(length, runes.Count - length);
    }

    private static bool TryCompose(int first, int second, out int composed)
    {
        int lead = first - LeadBase, vowel = second - VowelBase;
        if ((uint)lead < Leads && (uint)vowel < Vowels)
        {
            composed = HangulBase + (((lead * Vowels) + vowel) * Tails);
            return true;
        }

        int syllable = first - HangulBase, tail = second - TailBase;
        if ((uint)syllable < Leads * Vowels * Tails && syllable % Tails == 0 && tail is > 0 and < Tails)
        {
            composed = first + tail;
            return true;
        }

        return Compositions.TryGetValue(Pair((uint)first, (uint)second), out composed);
    }

    private static int ClassOf(int rune)
    {
        int at = Find(NfcTables.Classes, rune, isRange: true);
        return at < 0 ? 0 : (int)NfcTables.Classes[at + 2];
    }

    /// <summary>Binary search over triples; their first number, or their first two, say for which runes they are.</summary>
    private static int Find(ReadOnlySpan<uint> triples, int rune, bool isRange)
    {
        int low = 0, high = (triples.Length / 3) - 1;
        while (low <= high)
        {
            int middle = (low + high) / 2;
            uint first = triples[middle * 3];
            if (rune < first)
            {
                high = middle - 1;
            }
            else if (rune > (isRange ? triples[(middle * 3) + 1] : first))
            {
                low = middle + 1;
            }
            else
            {
                return middle * 3;
            }
        }

        return -1;
    }

    private static Dictionary<ulong, int> MakeCompositions()
    {
        var compositions = new Dictionary<ulong, int>();
        ReadOnlySpan<uint> triples = NfcTables.Decompositions;
        for (int i = 0; i < triples.Length; i += 3)
        {
            if ((triples[i + 2] & NfcTables.OneWay) == 0)
            {
                compositions.Add(Pair(triples[i + 1], triples[i + 2]), (int)triples[i]);
            }
        }

        return compositions;
    }

    private static ulong Pair(uint first, uint second) => ((ulong)first << 32) | second;
}
