using FastMail.Server.Cli;

namespace FastMail.Server.Configuration;

/// <summary>How the mail log lies on the disk.</summary>
internal static class StoreKeys
{
    public static readonly Key<long> SegmentBytes = new(
        "store.segment_size", "256MiB", "octets", "Size of a mail log segment, 1MiB to 1GiB.",
        text => Arguments.SegmentBytes(text).Octets);

    public static IEnumerable<Key> All => [SegmentBytes];
}
