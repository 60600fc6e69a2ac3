using System.Globalization;
using System.Net;
using FastMail.Server.Cli;

namespace FastMail.Server.Configuration;

/// <summary>Readers of values by kind. Each throws <see cref="FormatException"/> with a text for the user.</summary>
internal static class Values
{
    private static readonly (string Suffix, double Milliseconds)[] DurationUnits =
        [("ms", 1), ("s", 1000), ("min", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

    /// <summary>A list is written with commas; the empty text is the empty list.</summary>
    public static IReadOnlyList<string> List(string text) =>
        text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Listener addresses; <c>none</c> alone turns the role off.</summary>
    public static IReadOnlyList<IPEndPoint> EndPoints(string text) => Arguments.EndPoints(List(text));

    /// <summary>The same, and unix sockets as <c>unix:PATH</c>.</summary>
    public static IReadOnlyList<EndPoint> EndPointsOrPaths(string text) => Arguments.EndPointsOrPaths(List(text));

    /// <summary>Client networks: <c>10.0.0.0/8, ::1/128, 192.0.2.7</c>.</summary>
    public static IReadOnlyList<IPNetwork> Networks(string text) => [.. List(text).Select(Network)];

    /// <summary>A whole number in a range.</summary>
    public static Func<string, int> Count(int least, int most) => text =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count >= least && count <= most
            ? count
            : throw new FormatException($"'{text}' is not a number from {least} to {most}.");

    /// <summary>A size in octets: a number, or one with KiB, MiB, GiB.</summary>
    public static Func<string, long> Size(long least, long most) => text => Arguments.Bytes(text, least, most).Octets;

    /// <summary>A time such as <c>250ms</c>, <c>30s</c>, <c>5min</c>, <c>4h</c>, <c>5d</c>, or <c>0</c>.</summary>
    public static Func<string, TimeSpan> Duration(TimeSpan least, TimeSpan most) => text =>
    {
        int digits = text.AsSpan().IndexOfAnyExceptInRange('0', '9');
        ReadOnlySpan<char> number = digits < 0 ? text : text.AsSpan(0, digits);
        string suffix = digits < 0 ? "" : text[digits..];
        double unit = text == "0" ? 1 : DurationUnits.FirstOrDefault(u => u.Suffix == suffix).Milliseconds;
        bool isNumber = long.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out long count);
        if (!isNumber || unit == 0 || count * unit > most.TotalMilliseconds || count * unit < least.TotalMilliseconds)
        {
            throw new FormatException($"'{text}' is not a time from {Text(least)} to {Text(most)}, e.g. 30s, 5min, 4h.");
        }

        return TimeSpan.FromMilliseconds(count * unit);
    };

    /// <summary><c>on</c> or <c>off</c> (also true, false).</summary>
    public static bool Switch(string text) => text switch
    {
        "on" or "true" or "True" => true, // JSON's own words arrive capitalised from the configuration reader
        "off" or "false" or "False" => false,
        _ => throw new FormatException($"'{text}' is neither on nor off."),
    };

    private static IPNetwork Network(string text)
    {
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        string host = slash < 0 ? text : text[..slash];
        if (IPAddress.TryParse(host, out IPAddress? address) && address.ToString() == host)
        {
            int bits = address.GetAddressBytes().Length * 8;
            if (slash < 0)
            {
                return new IPNetwork(address, bits);
            }

            if (IPNetwork.TryParse(text, out IPNetwork network) && network.BaseAddress.Equals(address)) // no host bits
            {
                return network;
            }
        }

        throw new FormatException($"'{text}' is not a network, e.g. 192.0.2.0/24, 2001:db8::/32 or one address.");
    }

    private static string Text(TimeSpan time)
    {
        (string suffix, double unit) = DurationUnits.LastOrDefault(
            u => time.TotalMilliseconds >= u.Milliseconds && time.TotalMilliseconds % u.Milliseconds == 0, ("", 1));
        return string.Create(CultureInfo.InvariantCulture, $"{time.TotalMilliseconds / unit}{suffix}");
    }
}
