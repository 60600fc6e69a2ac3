using System.Net;
using System.Net.Sockets;

namespace FastMail.Server.Relay.Routing;

/// <summary>
/// Addresses that a stranger's DNS must not lead us to: what listens there would take us for somebody it trusts.
/// Stateless; any thread.
/// </summary>
internal static class ForbiddenAddress
{
    private static readonly (IPNetwork Network, string Kind)[] Networks =
    [
        (IPNetwork.Parse("0.0.0.0/8"), "unspecified"),
        (IPNetwork.Parse("10.0.0.0/8"), "private"),
        (IPNetwork.Parse("100.64.0.0/10"), "private"), // RFC 6598
        (IPNetwork.Parse("127.0.0.0/8"), "loopback"),
        (IPNetwork.Parse("169.254.0.0/16"), "link-local"),
        (IPNetwork.Parse("172.16.0.0/12"), "private"),
        (IPNetwork.Parse("192.0.0.0/24"), "reserved"),
        (IPNetwork.Parse("192.168.0.0/16"), "private"),
        (IPNetwork.Parse("198.18.0.0/15"), "reserved"),
        (IPNetwork.Parse("224.0.0.0/4"), "multicast"),
        (IPNetwork.Parse("240.0.0.0/4"), "reserved"),
        (IPNetwork.Parse("::/128"), "unspecified"),
        (IPNetwork.Parse("::1/128"), "loopback"),
        (IPNetwork.Parse("64:ff9b:1::/48"), "private"), // RFC 8215
        (IPNetwork.Parse("100::/64"), "reserved"),
        (IPNetwork.Parse("2001::/32"), "reserved"), // Teredo: leads to any IPv4 address
        (IPNetwork.Parse("fc00::/7"), "private"),
        (IPNetwork.Parse("fe80::/10"), "link-local"),
        (IPNetwork.Parse("fec0::/10"), "private"),
        (IPNetwork.Parse("ff00::/8"), "multicast"),
    ];

    /// <summary>IPv6 addresses that lead to an IPv4 address, and where it stands in them.</summary>
    private static readonly (IPNetwork Network, int At)[] Embedding =
    [
        (IPNetwork.Parse("::ffff:0:0/96"), 12),
        (IPNetwork.Parse("::/96"), 12),
        (IPNetwork.Parse("64:ff9b::/96"), 12), // RFC 6052
        (IPNetwork.Parse("2002::/16"), 2), // 6to4
    ];

    /// <summary>What kind of address it is, in a word; null for one that anybody may name.</summary>
    public static string? KindOf(IPAddress address)
    {
        foreach ((IPNetwork network, string kind) in Networks)
        {
            if (network.Contains(address))
            {
                return kind;
            }
        }

        if (address.AddressFamily == AddressFamily.InterNetworkV6)
        {
            foreach ((IPNetwork network, int at) in Embedding)
            {
                if (network.Contains(address))
                {
                    return KindOf(new IPAddress(address.GetAddressBytes().AsSpan(at, 4)));
                }
            }
        }

        return null;
    }
}
