using System.CommandLine.Parsing;
using System.Globalization;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Cli;

/// <summary>Option values with a grammar of their own. Stateless; called while the command line is parsed.</summary>
internal static class OptionParsers
{
    private const long Mega = 1024 * 1024;

    /// <summary>The longest content that makes sense here: the largest any server is known to take.</summary>
    private const long MostOctets = 1024 * Mega;

    internal static TargetAddress? Target(ArgumentResult result)
    {
        if (!TargetAddress.TryParse(result.Tokens[0].Value, out TargetAddress? address, out string error))
        {
            result.AddError($"--target: {error}");
        }

        return address;
    }

    /// <summary>Where to listen; port 0 lets the system choose.</summary>
    internal static TargetAddress? Listening(ArgumentResult result)
    {
        if (!TargetAddress.TryParse(result.Tokens[0].Value, leastPort: 0, out TargetAddress? address, out string error))
        {
            result.AddError($"--listen: {error}");
        }

        return address;
    }

    /// <summary>A share from 0 to 1.</summary>
    internal static double? Share(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        if (double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double share)
            && share <= 1)
        {
            return share;
        }

        result.AddError($"'{text}' is not a share from 0 to 1 like 0.05");
        return null;
    }

    /// <summary>N or A..B, each with an optional K or M (1024).</summary>
    internal static OctetRange? Size(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        string[] ends = text.Split("..");
        if (ends.Length <= 2 && TryOctets(ends[0], out long least) && TryOctets(ends[^1], out long most)
            && least <= most)
        {
            return new OctetRange(least, most);
        }

        result.AddError($"--size: '{text}' is not a size like 1024, 10K, 25M or a range like 0..25M (at most 1024M)");
        return null;
    }

    /// <summary>Seconds as a number, or with the unit ms, s, m or h.</summary>
    internal static TimeSpan? Time(ArgumentResult result)
    {
        string text = result.Tokens[0].Value;
        (string number, double unit) = text switch
        {
            _ when text.EndsWith("ms", StringComparison.Ordinal) => (text[..^2], 0.001),
            _ when text.EndsWith('s') => (text[..^1], 1.0),
            _ when text.EndsWith('m') => (text[..^1], 60.0),
            _ when text.EndsWith('h') => (text[..^1], 3600.0),
            _ => (text, 1.0),
        };
        if (double.TryParse(number, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double value)
            && value * unit < 1e7)
        {
            return TimeSpan.FromSeconds(value * unit);
        }

        result.AddError($"'{text}' is not a time like 10, 10s, 500ms, 5m or 1h");
        return null;
    }

    private static bool TryOctets(string text, out long octets)
    {
        (string number, long unit) = text switch
        {
            _ when text.EndsWith('K') => (text[..^1], 1024L),
            _ when text.EndsWith('M') => (text[..^1], Mega),
            _ => (text, 1L),
        };
        bool isNumber = long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out octets);
        octets = isNumber && octets <= MostOctets ? octets * unit : -1;
        return octets is >= 0 and <= MostOctets;
    }
}
