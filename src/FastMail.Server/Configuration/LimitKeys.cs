using System.Net;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Server.Cli;
using FastMail.Server.Defence;

namespace FastMail.Server.Configuration;

/// <summary>How much one client, session or message may take.</summary>
internal static class LimitKeys
{
    public static readonly Key<IReadOnlyList<IPNetwork>> Exempt = new(
        "limits.exempt", "", "NETWORK, ...", "Client networks free of per-client limits, delays and throttles.",
        Values.Networks);

    public static readonly Key<int> Connections = new(
        "limits.connections", "20000", "connections", "Open at a time, at most 80 % of the descriptors the process may have.",
        Values.Count(1, 1_000_000));

    public static readonly Key<int> ConnectionsPerAddress = new(
        "limits.connections_per_address", "50", "connections", "Open at a time from one address; 0 is no limit.",
        Values.Count(0, 1_000_000));

    public static readonly Key<int> ConnectionsPerNetwork = new(
        "limits.connections_per_ipv6_64", "50", "connections", "Open at a time from one IPv6 /64; 0 is no limit.",
        Values.Count(0, 1_000_000));

    public static readonly Key<int> NewConnections = new(
        "limits.new_connections", "60", "connections/min", "New ones from one IPv4 address or IPv6 /64; 0 is no limit.",
        Values.Count(0, 1_000_000));

    public static readonly Key<int> NewConnectionsBurst = new(
        "limits.new_connections_burst", "30", "connections", "New ones at once before that rate counts.",
        Values.Count(1, 1_000_000));

    public static readonly Key<long> MessageBytes = new(
        "limits.message_size", "50MiB", "octets", "Largest message accepted, 64KiB to 2047MiB; told by SIZE.",
        text => Arguments.MessageBytes(text).Octets);

    public static readonly Key<int> Recipients = new(
        "limits.recipients", "1000", "recipients", "Of one message; the next is answered 452 4.5.3. At least 100.",
        Values.Count(100, 100_000));

    public static readonly Key<long> CommandLine = new(
        "limits.command_line", "2KiB", "octets", "Longest SMTP command with its CRLF.", Values.Size(1 << 10, 8 << 10));

    public static readonly Key<long> AuthLine = new(
        "limits.auth_line", "12KiB", "octets", "Longest AUTH command or response with its CRLF.",
        Values.Size(12 << 10, 16 << 10));

    public static readonly Key<long> ContentLine = new(
        "limits.content_line", "64KiB", "octets",
        "Longest line of content; stored as it came, a longer one is answered 554 5.6.0.", Values.Size(1 << 10, 1 << 30));

    public static readonly Key<long> HeaderBytes = new(
        "limits.header_size", "1MiB", "octets", "Largest header section of a message.", Values.Size(64 << 10, 1 << 30));

    public static readonly Key<int> HeaderLines = new(
        "limits.header_lines", "2000", "lines", "Most lines of a header section.", Values.Count(100, 1_000_000));

    public static readonly Key<int> Errors = new(
        "limits.errors", "20", "commands", "Bad commands since the last message before the session is closed.",
        Values.Count(1, 100_000));

    public static readonly Key<int> PromptErrors = new(
        "limits.errors_before_delay", "10", "commands", "Bad commands, or refused recipients, before each costs a delay.",
        Values.Count(0, 100_000));

    public static readonly Key<TimeSpan> ErrorDelay = new(
        "limits.error_delay", "1s", "time", "That delay; 0 is none.", Values.Duration(TimeSpan.Zero, LongestDelay));

    public static readonly Key<TimeSpan> Tarpit = new(
        "limits.tarpit", "0", "time", "Delay after each bad command and refused recipient from the first on; 0 is none.",
        Values.Duration(TimeSpan.Zero, LongestDelay));

    public static readonly Key<TimeSpan> GreetDelay = new(
        "limits.greet_delay", "0", "time",
        "Hold SMTP's greeting back; a client that speaks before it is answered 554 5.5.1. 0 is not at all.",
        Values.Duration(TimeSpan.Zero, LongestDelay));

    public static readonly Key<int> IdleCommands = new(
        "limits.idle_commands", "100", "commands", "NOOP, RSET, VRFY and such since the last message; more are errors.",
        Values.Count(10, 1_000_000));

    public static readonly Key<TimeSpan> CommandTimeout = new(
        "limits.command_timeout", "5min", "time", "For a whole SMTP command, from the reply before.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(1)));

    public static readonly Key<TimeSpan> LoginTimeout = new(
        "limits.pop3_login_timeout", "60s", "time", "For a whole POP3 login.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(1)));

    public static readonly Key<TimeSpan> IdleTimeout = new(
        "limits.pop3_idle_timeout", "10min", "time", "For a whole POP3 command after login; RFC 1939 wants 10min.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromDays(1)));

    public static readonly Key<int> DataRate = new(
        "limits.data_rate", "240", "octets/s", "Least average for content coming in and replies going out; 0 is none.",
        Values.Count(0, 1_000_000));

    public static readonly Key<TimeSpan> DataGrace = new(
        "limits.data_grace", "5s", "time", "Free before that average counts.",
        Values.Duration(TimeSpan.Zero, TimeSpan.FromHours(1)));

    public static readonly Key<TimeSpan> PeerTimeout = new(
        "limits.peer_timeout", "60s", "time", "A peer that acknowledges nothing on TCP's level for so long is gone.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(1)));

    public static readonly Key<int> StressBegin = new(
        "limits.stress_begin", "80", "percent",
        "Stress begins at so much of the connections or content memory, and ends at stress_end.", Values.Count(10, 100));

    public static readonly Key<int> StressEnd = new(
        "limits.stress_end", "60", "percent", "See stress_begin; at most that.", Values.Count(1, 100));

    public static readonly Key<TimeSpan> StressCommandTimeout = new(
        "limits.stress_command_timeout", "10s", "time", "For a whole SMTP command, or a POP3 login, under stress.",
        Values.Duration(TimeSpan.FromSeconds(1), TimeSpan.FromHours(1)));

    private static TimeSpan LongestDelay => TimeSpan.FromSeconds(60);

    public static IEnumerable<Key> All =>
    [
        Exempt, Connections, ConnectionsPerAddress, ConnectionsPerNetwork, NewConnections, NewConnectionsBurst,
        MessageBytes, Recipients, CommandLine, AuthLine, ContentLine, HeaderBytes, HeaderLines,
        Errors, PromptErrors, ErrorDelay, Tarpit, GreetDelay, IdleCommands,
        CommandTimeout, LoginTimeout, IdleTimeout, DataRate, DataGrace, PeerTimeout,
        StressBegin, StressEnd, StressCommandTimeout,
    ];

    public static ClientLimits Clients(Settings settings) => new()
    {
        PerAddress = settings.Get(ConnectionsPerAddress),
        PerNetwork = settings.Get(ConnectionsPerNetwork),
        NewPerMinute = settings.Get(NewConnections),
        NewAtOnce = settings.Get(NewConnectionsBurst),
    };

    public static SessionLimits Session(Settings settings) => new()
    {
        CommandLineBytes = (int)settings.Get(CommandLine),
        AuthLineBytes = (int)settings.Get(AuthLine),
        ContentLineBytes = (int)settings.Get(ContentLine),
        HeaderBytes = (int)settings.Get(HeaderBytes),
        HeaderLines = settings.Get(HeaderLines),
        BadCommands = settings.Get(Errors),
        PromptErrors = settings.Get(PromptErrors),
        ErrorPause = settings.Get(ErrorDelay),
        Tarpit = settings.Get(Tarpit),
        GreetingPause = settings.Get(GreetDelay),
        IdleCommands = settings.Get(IdleCommands),
    };

    public static SessionTimes Times(Settings settings) => new()
    {
        Command = settings.Get(CommandTimeout),
        StressCommand = settings.Get(StressCommandTimeout),
        Pop3Login = settings.Get(LoginTimeout),
        Pop3Idle = settings.Get(IdleTimeout),
        Rate = new MinimumRate(settings.Get(DataRate), settings.Get(DataGrace)),
    };

    public static StressLimits Stress(Settings settings) => new()
    {
        BeginsAtPercent = settings.Get(StressBegin),
        EndsAtPercent = Math.Min(settings.Get(StressBegin), settings.Get(StressEnd)),
        SlowAfter = settings.Get(StoreKeys.SlowAfter),
    };
}
