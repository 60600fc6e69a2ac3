using System.Net;

namespace FastMail.Server.Configuration;

/// <summary>Mail from a mail system beside us (RFC 2033).</summary>
internal static class LmtpKeys
{
    public static readonly Key<IReadOnlyList<EndPoint>> Listen = new(
        "listen.lmtp", "none", "ADDR:PORT, unix:PATH, none",
        "Take mail for hosted recipients over LMTP here; not on port 25. Owner and group may open a unix socket.",
        text => Values.EndPointsOrPaths(text) is var points && points.All(p => p is not IPEndPoint { Port: 25 })
            ? points
            : throw new FormatException("LMTP must not be spoken on port 25 (RFC 2033 5)."));

    public static IEnumerable<Key> All => [Listen];
}
