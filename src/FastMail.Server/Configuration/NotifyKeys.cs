namespace FastMail.Server.Configuration;

/// <summary>What senders are told of their mail.</summary>
internal static class NotifyKeys
{
    public static readonly Key<long> FullSize = new(
        "notify.full_size", "64KiB", "octets", "A notification returns no more than the header of a longer message.",
        Values.Size(0, 1L << 30));

    public static IEnumerable<Key> All => [FullSize];
}
