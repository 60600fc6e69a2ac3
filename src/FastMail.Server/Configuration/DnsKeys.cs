using System.Net;
using FastMail.Server.Cli;
using FastMail.Server.Dns;

namespace FastMail.Server.Configuration;

/// <summary>Who is asked for names.</summary>
internal static class DnsKeys
{
    private const int DnsPort = 53;
    private const int QuestionsAtOnce = 200; // each has a socket
    private const int QuestionsWaiting = 20_000;

    public static readonly Key<IReadOnlyList<IPEndPoint>> Servers = new(
        "dns.servers", "", "ADDR[:PORT], ...", "Recursive resolvers to ask; empty for those of /etc/resolv.conf.",
        text => [.. Values.List(text).Select(Server)]);

    public static readonly Key<TimeSpan> Timeout = new(
        "dns.timeout", "10s", "time", "For all attempts of one question; then it counts as not answered.",
        Values.Duration(TimeSpan.FromMilliseconds(200), TimeSpan.FromMinutes(1)));

    public static readonly Key<bool> TrustsProofs = new(
        "dns.trust_ad", "off", "on, off",
        "The resolvers check DNSSEC and nobody can forge their answers on the way, as on this host: DANE needs that.",
        Values.Switch);

    public static IEnumerable<Key> All => [Servers, Timeout, TrustsProofs];

    /// <summary>One address, with port 53 when none is given.</summary>
    /// <exception cref="FormatException">With a text for the user.</exception>
    public static IPEndPoint Server(string text) =>
        IPAddress.TryParse(text, out IPAddress? address) && address.ToString() == text
            ? new IPEndPoint(address, DnsPort)
            : Arguments.EndPoint(text);

    /// <summary>For the relay.</summary>
    public static ResolverOptions Options(Settings settings) => new()
    {
        Servers = ServersOf(settings),
        Timeout = settings.Get(Timeout),
        TrustsProofs = settings.Get(TrustsProofs),
        MaxUnderWay = QuestionsAtOnce,
        MaxWaiting = QuestionsWaiting,
    };

    public static IReadOnlyList<IPEndPoint> ServersOf(Settings settings) =>
        settings.Get(Servers) is { Count: > 0 } servers ? servers : ResolverFile.Servers(ResolverFile.Path);
}
