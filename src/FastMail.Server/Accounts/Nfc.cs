using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace FastMail.Server.Accounts;

/// <summary>
/// Unicode normalisation form C (UAX #15) and with it what this program needs of ICU. Stateless; any thread.
/// </summary>
/// <remarks>
/// .NET normalises with ICU; in its invariant mode it returns text beyond ASCII as it came and says nothing, and
/// IdnMapping maps nothing either, so two spellings of one address were two keys. ICU costs 9 ms at the start of a verb
/// (74 to 83 ms), 0.5 MB of private memory, and 4 MB of its tables that all processes share; the start of the server
/// does not show it (474 and 479 ms; medians of 15 in turn). For that, tables of ours need not follow Unicode's.
/// </remarks>
internal static class Nfc
{
    /// <summary>
    /// Before anything else: no text of this program follows the locale of whoever starts it, as if there were no ICU.
    /// </summary>
    public static void ForgetLocale()
    {
        CultureInfo.DefaultThreadCurrentCulture = CultureInfo.InvariantCulture;
        CultureInfo.DefaultThreadCurrentUICulture = CultureInfo.InvariantCulture;
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        CultureInfo.CurrentUICulture = CultureInfo.InvariantCulture;
    }

    /// <summary>False where the environment has put .NET into its invariant mode, as some container images do.</summary>
    public static bool IsAvailable => "e\u0301".Normalize() == "\u00e9";

    /// <summary>The text in NFC; false when it is no text: lone surrogates, or U+FFFE, which ICU takes for a swapped mark.</summary>
    public static bool TryNormalize(string text, [NotNullWhen(true)] out string? normalized)
    {
        try
        {
            normalized = text.Normalize(); // ASCII comes back as it is
            return true;
        }
        catch (ArgumentException)
        {
            normalized = null;
            return false;
        }
    }
}
