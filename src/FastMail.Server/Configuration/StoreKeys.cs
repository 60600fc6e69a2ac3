using FastMail.Server.Cli;

namespace FastMail.Server.Configuration;

/// <summary>How the mail log lies on the disk.</summary>
internal static class StoreKeys
{
    public static readonly Key<long> SegmentBytes = new(
        "store.segment_size", "256MiB", "octets", "Size of a mail log segment, 1MiB to 1GiB.",
        text => Arguments.SegmentBytes(text).Octets);

    public static readonly Key<long> JumboBytes = new(
        "store.jumbo_size", "4MiB", "octets",
        "A longer message has its body in a file of its own and streams through, 64KiB to 8MiB.",
        Values.Size(64 << 10, 8 << 20));

    public static readonly Key<int> JumbosInFlight = new(
        "store.jumbos_in_flight", "32", "messages", "So many of those are received at one time; one more is answered 452.",
        Values.Count(1, 10_000));

    public static readonly Key<long> CheckpointBytes = new(
        "store.checkpoint_size", "256MiB", "octets", "Growth of the mail log after which its index is saved.",
        Values.Size(1L << 20, 1L << 40));

    public static readonly Key<TimeSpan> CheckpointInterval = new(
        "store.checkpoint_interval", "60s", "time", "Time after which a changed index is saved.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(1)));

    public static readonly Key<TimeSpan> SlowAfter = new(
        "store.slow_after", "1s", "time", "While a flush has been taking longer, MAIL is answered 451 4.3.2.",
        Values.Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(30)));

    public static readonly Key<TimeSpan> CommitDeadline = new(
        "store.commit_deadline", "60s", "time",
        "A message that is not on the disk by then is answered 451 4.4.5 and taken back; clients wait for 10min.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(9)));

    public static IEnumerable<Key> All =>
    [
        SegmentBytes, JumboBytes, JumbosInFlight, CheckpointBytes, CheckpointInterval, SlowAfter, CommitDeadline,
    ];
}
