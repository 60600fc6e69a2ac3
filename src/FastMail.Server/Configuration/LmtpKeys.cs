using System.Net;

namespace FastMail.Server.Configuration;

/// <summary>Mail from a mail system beside us (RFC 2033).</summary>
internal static class LmtpKeys
{
    public static readonly Key<IReadOnlyList<IPEndPoint>> Listen = new(
        "listen.lmtp", "none", "ADDR:PORT, none", "Take mail for hosted recipients over LMTP here; not on port 25.",
        text => Values.EndPoints(text) is var points && points.All(p => p.Port != 25)
            ? points
            : throw new FormatException("LMTP must not be spoken on port 25 (RFC 2033 5)."));

    public static IEnumerable<Key> All => [Listen];
}
