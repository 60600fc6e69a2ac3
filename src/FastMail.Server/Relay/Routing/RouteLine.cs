using FastMail.Server.Accounts;
using FastMail.Server.Cli;

namespace FastMail.Server.Relay.Routing;

/// <summary>
/// A line of the route table: <c>PATTERN=NEXTHOP [options]</c>, where PATTERN is an address, a domain, <c>.domain</c> for
/// all below it, or <c>*</c>. Immutable.
/// </summary>
/// <param name="Pattern">As a key of <see cref="AddressKey"/>: <c>user@domain</c>, <c>@domain</c>, <c>@.domain</c>, <c>*</c>.</param>
/// <param name="Target">Where it sends mail.</param>
/// <param name="Text">As it was written.</param>
internal sealed record RouteLine(string Pattern, RouteTarget Target, string Text)
{
    /// <exception cref="FormatException">With a text for the user.</exception>
    public static RouteLine Parse(string text)
    {
        int equals = text.IndexOf('=', StringComparison.Ordinal);
        if (equals <= 0)
        {
            throw new FormatException($"'{text}' is not PATTERN=NEXTHOP, e.g. example.org=127.0.0.1:2525.");
        }

        try
        {
            RouteTarget target = RouteTarget.Parse(text[(equals + 1)..]);
            return new RouteLine(PatternOf(text[..equals].Trim()), target, Shown(text));
        }
        catch (FormatException e)
        {
            throw new FormatException($"'{Shown(text)}': {e.Message}", e);
        }
    }

    private static string Shown(string text) => string.Join(' ', text.Split(' ', StringSplitOptions.RemoveEmptyEntries));

    private static string PatternOf(string text)
    {
        if (text == "*")
        {
            return text;
        }

        int at = text.LastIndexOf('@');
        string domain = text[(at + 1)..];
        bool isBelow = at < 0 && domain.StartsWith('.');
        string? key = AddressKey.Of("@" + (isBelow ? domain[1..] : domain));
        if (key is null || key.Length < 2 || !IsDomain(key[1..]))
        {
            throw new FormatException($"'{text}' is neither an address nor a domain, .domain or *.");
        }

        if (at <= 0)
        {
            return isBelow ? "@." + key[1..] : key;
        }

        return AddressKey.Of(text) ?? throw new FormatException($"'{text}' is not an address.");
    }

    private static bool IsDomain(string text)
    {
        if (text.StartsWith('[') && text.EndsWith(']'))
        {
            return true; // mail for an address literal
        }

        try
        {
            return Arguments.Hostname(text).Length > 0;
        }
        catch (FormatException)
        {
            return false;
        }
    }
}
