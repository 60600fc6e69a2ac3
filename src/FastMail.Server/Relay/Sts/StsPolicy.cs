using System.Globalization;
using System.Text;
using FastMail.Protocol.Dns;

namespace FastMail.Server.Relay.Sts;

/// <summary>What a domain wants of those who send to it (RFC 8461 5).</summary>
internal enum StsMode
{
    /// <summary>Nothing any more.</summary>
    None,

    /// <summary>To hear of failures, and the mail all the same.</summary>
    Testing,

    /// <summary>No mail but over verified TLS to the hosts it names.</summary>
    Enforce,
}

/// <summary>The policy of one domain about TLS to its mail exchangers (RFC 8461 3.2). Immutable; any thread.</summary>
/// <param name="Mode">What it wants.</param>
/// <param name="Patterns">Lower case: names of hosts, or <c>*.</c> and a domain for those one label below it.</param>
/// <param name="MaxAge">It holds for so long after it was fetched.</param>
internal sealed record StsPolicy(StsMode Mode, IReadOnlyList<string> Patterns, TimeSpan MaxAge)
{
    /// <summary>Octets of the longest policy that is read (RFC 8461 3.3 suggests it).</summary>
    public const int MostBytes = 64 << 10;

    private const int MostPatterns = 100;
    private const int LongestAgeSeconds = 31_557_600; // a year, the most that RFC 8461 3.2 allows

    /// <summary>The id in the TXT records of <c>_mta-sts.DOMAIN</c>; null when the domain has no policy.</summary>
    public static string? IdIn(DnsAnswer answer)
    {
        // RFC 8461 3.1: records that begin otherwise are passed over, and two that do not are none.
        string[] records =
        [
            .. answer.Data.Select(data => TxtRecord.TextOf(data)).OfType<string>()
                .Where(text => text.StartsWith("v=STSv1;", StringComparison.Ordinal)),
        ];
        string? id = records is [string record]
            ? record.Split(';', StringSplitOptions.TrimEntries)
                .FirstOrDefault(field => field.StartsWith("id=", StringComparison.Ordinal))?[3..]
            : null;
        return id is { Length: > 0 and <= 32 } && id.All(char.IsAsciiLetterOrDigit) ? id : null;
    }

    /// <summary>Reads what <c>https://mta-sts.DOMAIN/.well-known/mta-sts.txt</c> says; null when it is no policy.</summary>
    public static StsPolicy? Parse(ReadOnlySpan<byte> text)
    {
        StsMode? mode = null;
        int? age = null;
        bool hasVersion = false;
        List<string> patterns = [];
        foreach (string line in Encoding.UTF8.GetString(text).Split('\n'))
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            string value = colon < 0 ? "" : line[(colon + 1)..].Trim();
            switch (colon < 0 ? "" : line[..colon].Trim())
            {
                case "version":
                    hasVersion = value == "STSv1";
                    break;
                case "mode":
                    mode ??= value switch
                    {
                        "enforce" => StsMode.Enforce,
                        "testing" => StsMode.Testing,
                        "none" => StsMode.None,
                        _ => null,
                    };
                    break;
                case "max_age":
                    bool isNumber = int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int seconds);
                    age ??= isNumber ? Math.Min(seconds, LongestAgeSeconds) : null;
                    break;
                case "mx" when patterns.Count < MostPatterns:
                    patterns.Add(value.ToLowerInvariant().TrimEnd('.'));
                    break;
            }
        }

        bool isWhole = hasVersion && mode is not null && age is not null && (patterns.Count > 0 || mode == StsMode.None);
        return isWhole ? new StsPolicy(mode!.Value, patterns, TimeSpan.FromSeconds(age!.Value)) : null;
    }

    /// <summary>The policy names this host (RFC 8461 4.1): a star stands for exactly one label.</summary>
    /// <param name="host">Lower case.</param>
    public bool Names(string host)
    {
        int dot = host.IndexOf('.', StringComparison.Ordinal);
        return Patterns.Any(pattern => pattern.StartsWith("*.", StringComparison.Ordinal)
            ? dot > 0 && host.AsSpan(dot + 1).SequenceEqual(pattern.AsSpan(2))
            : pattern == host);
    }
}
