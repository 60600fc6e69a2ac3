using System.Net;
using FastMail.Server.Relay;
using FastMail.Server.Relay.Scheduling;

namespace FastMail.Server.Configuration;

/// <summary>Whose mail for others is taken, and how it is delivered. Where it goes is in <see cref="RouteKeys"/>.</summary>
internal static class RelayKeys
{
    public static readonly Key<IReadOnlyList<IPNetwork>> From = new(
        "relay.from", "", "CIDR, ...",
        "Clients whose mail for others is taken without a login. Anybody there can send in anybody's name.",
        Values.Networks);

    public static readonly Key<TimeSpan> RetryMin = new(
        "relay.retry_min", "5min", "time", "Between the first failed attempt and the second; doubled after each.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(1)));

    public static readonly Key<TimeSpan> RetryMax = new(
        "relay.retry_max", "4h", "time", "Attempts are never further apart.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(2)));

    public static readonly Key<TimeSpan> Lifetime = new(
        "relay.lifetime", "5d", "time", "After that the sender gets it back; RFC 5321 wants 4d to 5d.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(30)));

    public static readonly Key<TimeSpan> LongestHold = new(
        "relay.longest_hold", "30d", "time",
        "So long may a submitter have mail held back (FUTURERELEASE: HOLDFOR, HOLDUNTIL); 0 is not at all.",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromSeconds(999_999_999))); // RFC 4865 has nine digits

    public static readonly Key<int> MostHeld = new(
        "relay.most_held", "1000", "recipients",
        "A submitter who has mail for so many held back may not have more held: MAIL is answered 552 5.7.16.",
        Values.Count(1, 10_000_000));

    public static readonly Key<TimeSpan> DelayNotice = new(
        "relay.delay_notice", "4h", "time", "After that the sender is told once that it takes longer; 0 is never.",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromDays(30)));

    public static readonly Key<int> Connections = new(
        "relay.connections", "400", "connections", "To all destinations at one time.", Values.Count(1, 100_000));

    public static readonly Key<int> Concurrency = new(
        "relay.concurrency", "20", "connections", "To one destination at one time, once it has shown that it can bear them.",
        Values.Count(1, 10_000));

    public static readonly Key<int> StartConcurrency = new(
        "relay.concurrency_start", "5", "connections", "To a destination that is not known yet.", Values.Count(1, 10_000));

    public static readonly Key<int> Rate = new(
        "relay.rate", "0", "messages/min", "To one destination; 0 is no limit.", Values.Count(0, 100_000_000));

    public static readonly Key<int> Recipients = new(
        "relay.recipients", "100", "recipients", "Of one message in one transaction; every host takes 100.",
        Values.Count(1, 10_000));

    public static readonly Key<int> Transactions = new(
        "relay.transactions", "1000", "messages", "On one connection, which is then closed.", Values.Count(1, 1_000_000));

    public static readonly Key<TimeSpan> ConnectTimeout = new(
        "relay.connect_timeout", "30s", "time", "For a connection to one host to stand, by whichever of its addresses.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(10)));

    public static readonly Key<TimeSpan> IdleTime = new(
        "relay.idle_time", "5s", "time", "A connection without work is kept for so long.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromMinutes(5)));

    public static readonly Key<int> Unflushed = new(
        "relay.unflushed", "500", "deliveries",
        "Made, and not yet noted on the disk: as many may arrive twice after a crash.", Values.Count(1, 100_000));

    public static readonly Key<TimeSpan> DrainTime = new(
        "relay.drain_time", "10s", "time", "At the end deliveries under way have so long.",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromMinutes(10)));

    public static IEnumerable<Key> All =>
    [
        From, RetryMin, RetryMax, Lifetime, LongestHold, MostHeld, DelayNotice, Connections, Concurrency, StartConcurrency, Rate,
        Recipients, Transactions, ConnectTimeout, IdleTime, Unflushed, DrainTime,
    ];

    public static ScheduleOptions Schedule(Settings settings) => new()
    {
        RetryMin = settings.Get(RetryMin),
        RetryMax = Max(settings.Get(RetryMin), settings.Get(RetryMax)),
        Lifetime = settings.Get(Lifetime),
        DelayNotice = settings.Get(DelayNotice),
        Connections = settings.Get(Connections),
        MostConcurrency = settings.Get(Concurrency),
        StartConcurrency = settings.Get(StartConcurrency),
        PerMinute = settings.Get(Rate),
        Recipients = settings.Get(Recipients),
        ProbeMin = Min(settings.Get(RetryMin), TimeSpan.FromSeconds(10)),
    };

    public static DeliveryOptions Delivery(Settings settings) => new()
    {
        ConnectTime = settings.Get(ConnectTimeout),
        IdleTime = settings.Get(IdleTime),
        TransactionsPerConnection = settings.Get(Transactions),
        MostUndurable = settings.Get(Unflushed),
    };

    private static TimeSpan Max(TimeSpan one, TimeSpan other) => one > other ? one : other;

    private static TimeSpan Min(TimeSpan one, TimeSpan other) => one < other ? one : other;
}
