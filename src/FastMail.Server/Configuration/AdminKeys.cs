using System.Net;
using FastMail.Server.Cli;

namespace FastMail.Server.Configuration;

/// <summary>The control channel over TCP.</summary>
internal static class AdminKeys
{
    public static readonly Key<IReadOnlyList<IPEndPoint>> Listen = new(
        "admin.listen", "none", "ADDR:PORT, none",
        "Answer administrative requests here too, to whoever brings the token of admin.token in the data directory.",
        Values.EndPoints);

    public static readonly Key<IReadOnlyList<string>> Hosts = new(
        "admin.hosts", "", "NAME, ...", "Host names that requests to admin.listen may be for, beside its addresses and localhost.",
        text => [.. Values.List(text).Select(Arguments.Hostname)]);

    public static IEnumerable<Key> All => [Listen, Hosts];
}
