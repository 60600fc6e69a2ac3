using System.Net;
using FastMail.Server.Cli;
using FastMail.Server.Defence;

namespace FastMail.Server.Configuration;

/// <summary>Lists of senders of spam that are asked over DNS (RFC 5782).</summary>
internal static class DnsblKeys
{
    private const int LongestZone = 80; // it stands in a reply, and behind the 64 octets of an IPv6 address in a name

    public static readonly Key<IReadOnlyList<BlocklistZone>> Zones = new(
        "dnsbl.zones", "", "ZONE[=127.0.0.N], ...",
        "DNS blocklists whose clients are refused at RCPT on MX listeners; with an address only those listed with it.",
        text => [.. Values.List(text).Select(Zone)]);

    public static readonly Key<IReadOnlyList<IPEndPoint>> Servers = new(
        "dnsbl.servers", "", "ADDR[:PORT], ...", "Recursive resolvers to ask about clients; empty for dns.servers.",
        text => [.. Values.List(text).Select(DnsKeys.Server)]);

    public static readonly Key<TimeSpan> Timeout = new(
        "dnsbl.timeout", "5s", "time", "Without an answer after so long the client counts as not listed.",
        Values.Duration(TimeSpan.FromMilliseconds(200), TimeSpan.FromSeconds(60)));

    public static IEnumerable<Key> All => [Zones, Servers, Timeout];

    private static BlocklistZone Zone(string text)
    {
        string[] parts = text.Split('=', 2);
        string name = Arguments.Hostname(parts[0]).ToLowerInvariant();
        if (name.Length > LongestZone)
        {
            throw new FormatException($"'{name}' is longer than {LongestZone} octets.");
        }

        IPAddress? code = null;
        if (parts.Length == 2
            && (!IPAddress.TryParse(parts[1], out code) || code.ToString() != parts[1] || !parts[1].StartsWith("127.", StringComparison.Ordinal)))
        {
            throw new FormatException($"'{parts[1]}' is not an answer of a blocklist, e.g. {name}=127.0.0.2.");
        }

        return new BlocklistZone(name, code);
    }
}
