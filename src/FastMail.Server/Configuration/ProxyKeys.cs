using System.Net;

namespace FastMail.Server.Configuration;

/// <summary>Clients that come through a proxy.</summary>
internal static class ProxyKeys
{
    private static readonly string[] Roles = ["mx", "submission", "lmtp", "pop3", "submissions", "pop3s"];

    public static readonly Key<IReadOnlyList<IPNetwork>> Peers = new(
        "proxy.peers", "", "NETWORK, ...", "Proxies that may name the client by the PROXY protocol, version 1 or 2.",
        Values.Networks);

    public static readonly Key<IReadOnlyList<string>> Listeners = new(
        "proxy.listeners", "", "mx, submission, lmtp, pop3, submissions, pop3s",
        "Listeners that take connections from proxy.peers only, each with a PROXY header.",
        text => Values.List(text) is var roles && roles.Except(Roles, StringComparer.Ordinal).FirstOrDefault() is { } unknown
            ? throw new FormatException($"'{unknown}' is none of {string.Join(", ", Roles)}.")
            : roles);

    public static IEnumerable<Key> All => [Peers, Listeners];
}
