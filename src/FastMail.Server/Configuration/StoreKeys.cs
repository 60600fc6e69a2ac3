using FastMail.Server.Cli;
using FastMail.Storage;

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
        "store.checkpoint_size", "512MiB", "octets", "Growth of the mail log after which its index is saved.",
        Values.Size(1L << 20, 1L << 40));

    public static readonly Key<TimeSpan> CheckpointInterval = new(
        "store.checkpoint_interval", "60s", "time", "Time after which a changed index is saved.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(1)));

    public static readonly Key<TimeSpan> SlowAfter = new(
        "store.slow_after", "1s", "time", "While a flush has been taking longer, MAIL is answered 451 4.3.2: stress.",
        Values.Duration(TimeSpan.FromMilliseconds(100), TimeSpan.FromSeconds(30)));

    public static readonly Key<TimeSpan> CommitDeadline = new(
        "store.commit_deadline", "60s", "time",
        "A message that is not on the disk by then is answered 451 4.4.5 and taken back; clients wait for 10min.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(9)));

    public static readonly Key<long> ReserveBytes = new(
        "store.reserve", "8MiB", "octets",
        "File kept for a full disk, 1MiB to 1GiB: removals go on in it until space is back.",
        text => Values.Size(1 << 20, MailLogOptions.MaxSegmentBytes)(text) & ~4095L);

    public static readonly Key<long> MinFreeBytes = new(
        "store.min_free", "auto", "octets",
        "With less of the disk free MAIL is answered 452 4.3.1, until there is a third more; auto: 1.5 x limits.message_size "
        + "+ store.reserve.",
        static text => text == "auto" ? Auto : Values.Size(0, 1L << 50)(text));

    public static readonly Key<int> Spares = new(
        "store.spares", "2", "segments",
        "Kept ready, 1 to 16: so much mail is written at full speed in one burst. More than one only while they are a "
        + "small part of what is free.",
        Values.Count(1, MailLogOptions.MaxSpares));

    public static readonly Key<bool> ReusesSegments = new(
        "store.reuse", "on", "on, off",
        "Whether segments whose mail was removed are used again; off on a file system that copies on write.",
        Values.Switch);

    public static readonly Key<bool> Reclaims = new(
        "store.reclaim", "on", "on, off", "Whether space of removed mail comes back by itself.", Values.Switch);

    public static readonly Key<int> ReclaimDeadPercent = new(
        "store.reclaim_dead", "50", "percent", "Segments are copied together when more than this part of them is dead.",
        Values.Count(1, 99));

    public static readonly Key<TimeSpan> ReclaimAfter = new(
        "store.reclaim_after", "1h", "time", "So long a full segment rests before its live messages are copied.",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromDays(365)));

    public static readonly Key<long> ReclaimRate = new(
        "store.reclaim_rate", "50MiB", "octets/s", "So much is copied at most; 0 is no limit.",
        Values.Size(0, 1L << 40));

    private const long Auto = -1;

    public static IEnumerable<Key> All =>
    [
        SegmentBytes, JumboBytes, JumbosInFlight, CheckpointBytes, CheckpointInterval, SlowAfter, CommitDeadline,
        ReserveBytes, MinFreeBytes, Spares, ReusesSegments, Reclaims, ReclaimDeadPercent, ReclaimAfter, ReclaimRate,
    ];

    /// <summary>Octets that stay free on the disk.</summary>
    public static long LeastFree(Settings settings)
    {
        long bytes = settings.Get(MinFreeBytes);
        return bytes != Auto ? bytes : (settings.Get(LimitKeys.MessageBytes) * 3 / 2) + settings.Get(ReserveBytes);
    }
}
