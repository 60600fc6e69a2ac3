using FastMail.Server.Cli;

namespace FastMail.Server.Configuration;

/// <summary>How much one client, session or message may take.</summary>
internal static class LimitKeys
{
    public static readonly Key<long> MessageBytes = new(
        "limits.message_size", "50MiB", "octets", "Largest message accepted, 64KiB to 1023MiB; told by SIZE.",
        text => Arguments.MessageBytes(text).Octets);

    public static IEnumerable<Key> All => [MessageBytes];
}
