namespace FastMail.Server.Configuration;

/// <summary>How the mail log is looked through for decay in the background.</summary>
internal static class ScrubKeys
{
    public static readonly Key<long> Rate = new(
        "scrub.rate", "10MiB", "octets/s", "Speed at which stored mail is read again and checked, 0 for never.",
        Values.Size(0, 1L << 40));

    public static readonly Key<TimeSpan> Interval = new(
        "scrub.interval", "12h", "time", "From the beginning of one check of everything to the next, if it does not take longer.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(30)));

    public static IEnumerable<Key> All => [Rate, Interval];
}
