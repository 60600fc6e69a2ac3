using System.Net;

namespace FastMail.Server.Configuration;

/// <summary>Clients that come through a go-between that speaks SMTP.</summary>
internal static class XclientKeys
{
    public static readonly Key<IReadOnlyList<IPNetwork>> Peers = new(
        "xclient.peers", "", "NETWORK, ...",
        "Go-betweens that may name the client by XCLIENT, over SMTP and LMTP; a unix socket counts as 127.0.0.1.",
        Values.Networks);

    public static IEnumerable<Key> All => [Peers];
}
