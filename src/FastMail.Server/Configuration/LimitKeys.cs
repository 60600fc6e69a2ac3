using System.Net;
using FastMail.Server.Cli;
using FastMail.Server.Defence;

namespace FastMail.Server.Configuration;

/// <summary>How much one client, session or message may take.</summary>
internal static class LimitKeys
{
    public static readonly Key<IReadOnlyList<IPNetwork>> Exempt = new(
        "limits.exempt", "", "NETWORK, ...", "Client networks free of per-client limits, delays and throttles.",
        Values.Networks);

    public static readonly Key<int> Connections = new(
        "limits.connections", "20000", "connections", "Open at a time, at most 80 % of the descriptors the process may have.",
        Values.Count(1, 1_000_000));

    public static readonly Key<int> ConnectionsPerAddress = new(
        "limits.connections_per_address", "50", "connections", "Open at a time from one address; 0 is no limit.",
        Values.Count(0, 1_000_000));

    public static readonly Key<int> ConnectionsPerNetwork = new(
        "limits.connections_per_ipv6_64", "50", "connections", "Open at a time from one IPv6 /64; 0 is no limit.",
        Values.Count(0, 1_000_000));

    public static readonly Key<int> NewConnections = new(
        "limits.new_connections", "60", "connections/min", "New ones from one IPv4 address or IPv6 /64; 0 is no limit.",
        Values.Count(0, 1_000_000));

    public static readonly Key<int> NewConnectionsBurst = new(
        "limits.new_connections_burst", "30", "connections", "New ones at once before that rate counts.",
        Values.Count(1, 1_000_000));

    public static readonly Key<long> MessageBytes = new(
        "limits.message_size", "50MiB", "octets", "Largest message accepted, 64KiB to 2047MiB; told by SIZE.",
        text => Arguments.MessageBytes(text).Octets);

    public static IEnumerable<Key> All =>
    [
        Exempt, Connections, ConnectionsPerAddress, ConnectionsPerNetwork, NewConnections, NewConnectionsBurst,
        MessageBytes,
    ];

    public static ClientLimits Clients(Settings settings) => new()
    {
        PerAddress = settings.Get(ConnectionsPerAddress),
        PerNetwork = settings.Get(ConnectionsPerNetwork),
        NewPerMinute = settings.Get(NewConnections),
        NewAtOnce = settings.Get(NewConnectionsBurst),
    };
}
