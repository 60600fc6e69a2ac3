using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.Protocol.Sasl;

namespace FastMail.Server.Relay.Routing;

/// <summary>What becomes of mail for an address.</summary>
internal enum RouteKind
{
    /// <summary>It goes to a next hop.</summary>
    Remote,

    /// <summary>It goes into maildrops of this server.</summary>
    Local,

    /// <summary>There is no way to go.</summary>
    Failed,
}

/// <summary>
/// One decision of the <see cref="Router"/>, shared by all recipients it holds for. Immutable, any thread. When DNS is
/// asked again a new one with an equal <see cref="Destination"/> takes its place.
/// </summary>
internal sealed class Route
{
    public const int MostAddresses = 5; // RFC 5321 5.1 wants two at least; more only keep a dead destination busy

    private readonly RouteHost[] _hosts; // by preference
    private string? _outcome;

    private Route(RouteKind kind, string destination, string decidedBy, RouteHost[] hosts)
    {
        Kind = kind;
        Destination = destination;
        DecidedBy = decidedBy;
        _hosts = hosts;
    }

    public RouteKind Kind { get; }

    /// <summary>
    /// What is grouped, limited and cached together: <c>example.org</c> for mail that goes by its MX,
    /// <c>smtp.isp.example:587</c> for a host that was named. Empty unless <see cref="RouteKind.Remote"/>.
    /// </summary>
    public string Destination { get; }

    /// <summary>The setting or record that made the decision, for people.</summary>
    public string DecidedBy { get; }

    /// <summary>As <see cref="RouteExplanation.Outcome"/> says it.</summary>
    public string Outcome => _outcome ??= RouteExplanation.Of("", this).Outcome();

    /// <summary>Why there is no way; null unless <see cref="RouteKind.Failed"/>.</summary>
    public RouteFailure? Failure { get; private init; }

    public bool IsLmtp { get; private init; }

    /// <summary>Who we are at the next hop; null for nobody.</summary>
    public RouteCredentials? Credentials { get; private init; }

    /// <summary>The password may be said outside TLS: on loopback, or because the line says <c>tls=none</c>.</summary>
    public bool AllowsCleartextAuth { get; private init; }

    /// <summary>The way that was gone; null for what no search has found.</summary>
    public RoutePlan? Plan { get; private init; }

    /// <summary>What that was asked for; empty when it is one destination whatever the domain.</summary>
    public string Domain { get; private init; } = "";

    /// <summary>How it came about, step by step; only when that was asked for.</summary>
    public IReadOnlyList<string> Notes { get; private init; } = [];

    /// <summary>The hosts in the order of their preference.</summary>
    public IReadOnlyList<RouteHost> Hosts => _hosts;

    private IReadOnlyList<IPAddress> Sources { get; init; } = [];

    public static Route Local(string decidedBy) => new(RouteKind.Local, "", decidedBy, []);

    public static Route Fail(string decidedBy, RouteFailure failure, IReadOnlyList<string>? notes = null) =>
        new(RouteKind.Failed, "", decidedBy, []) { Failure = failure, Notes = notes ?? [] };

    /// <param name="destination">See <see cref="Destination"/>.</param>
    /// <param name="decidedBy">See <see cref="DecidedBy"/>.</param>
    /// <param name="hosts">One at least, each with an address; sorted by preference.</param>
    /// <param name="isLmtp">See <see cref="IsLmtp"/>.</param>
    /// <param name="credentials">See <see cref="Credentials"/>.</param>
    /// <param name="allowsCleartextAuth">See <see cref="AllowsCleartextAuth"/>.</param>
    /// <param name="sources">Addresses of ours to connect from, at most one of a family.</param>
    /// <param name="notes">See <see cref="Notes"/>.</param>
    /// <param name="plan">See <see cref="Plan"/>.</param>
    /// <param name="domain">See <see cref="Domain"/>.</param>
    public static Route To(
        string destination,
        string decidedBy,
        RouteHost[] hosts,
        bool isLmtp = false,
        RouteCredentials? credentials = null,
        bool allowsCleartextAuth = false,
        IReadOnlyList<IPAddress>? sources = null,
        IReadOnlyList<string>? notes = null,
        RoutePlan? plan = null,
        string domain = "") =>
        new(RouteKind.Remote, destination, decidedBy, hosts)
        {
            IsLmtp = isLmtp,
            Credentials = credentials,
            AllowsCleartextAuth = allowsCleartextAuth,
            Sources = sources ?? [],
            Notes = notes ?? [],
            Plan = plan,
            Domain = domain,
        };

    /// <summary>The address to connect from; null for any.</summary>
    public IPAddress? SourceFor(AddressFamily family)
    {
        foreach (IPAddress source in Sources)
        {
            if (source.AddressFamily == family)
            {
                return source;
            }
        }

        return null;
    }

    /// <summary>
    /// The next hops in the order to try them, drawn anew for each call: hosts by preference and those alike in any
    /// order (RFC 5321 5.1), the addresses of a host IPv6 and IPv4 in turn (RFC 8305 4). Allocates nothing once the list
    /// has grown.
    /// </summary>
    /// <param name="random">Draws the order.</param>
    /// <param name="hops">Cleared; then <see cref="MostAddresses"/> at most.</param>
    public void OrderHops(Random random, List<NextHop> hops)
    {
        hops.Clear();
        // So that the first host's many addresses do not keep us from ever trying the second.
        int mostOfHost = _hosts.Length switch { 1 => MostAddresses, 2 => 3, _ => 2 };
        Span<int> order = stackalloc int[_hosts.Length];
        for (int start = 0, end; start < _hosts.Length; start = end)
        {
            for (end = start; end < _hosts.Length && _hosts[end].Preference == _hosts[start].Preference; end++)
            {
                order[end] = end;
            }

            random.Shuffle(order[start..end]);
            foreach (int host in order[start..end])
            {
                _hosts[host].AddHops(random, Math.Min(mostOfHost, MostAddresses - hops.Count), hops);
            }
        }
    }
}

/// <summary>Why mail for an address cannot go anywhere. Immutable.</summary>
/// <param name="IsPermanent">Trying again would not help.</param>
/// <param name="Code">Reply code for who is told of it.</param>
/// <param name="Status">Enhanced status code (RFC 3463).</param>
/// <param name="Text">One line of printable ASCII.</param>
internal sealed record RouteFailure(bool IsPermanent, int Code, string Status, string Text)
{
    public const int LongestText = 400;

    public static RouteFailure Permanent(int code, string status, string text) => new(true, code, status, Cut(text));

    public static RouteFailure Temporary(string status, string text) => new(false, 451, status, Cut(text));

    /// <summary>As a reply would say it.</summary>
    public override string ToString() => $"{Code} {Status} {Text}";

    private static string Cut(string text) => text.Length <= LongestText ? text : text[..LongestText];
}

/// <summary>A login at a next hop. Immutable, any thread; its text shows no password.</summary>
internal sealed class RouteCredentials
{
    /// <param name="user">Name of the account there.</param>
    /// <param name="password">Its password.</param>
    /// <exception cref="ArgumentException">One of them is empty, has more than 255 octets or a NUL.</exception>
    public RouteCredentials(string user, string password)
    {
        User = user;
        Session = new ClientCredentials(Encoding.UTF8.GetBytes(user), Encoding.UTF8.GetBytes(password));
    }

    public string User { get; }

    /// <summary>For sessions; one object for all of them, as it remembers what SCRAM has cost.</summary>
    public ClientCredentials Session { get; }

    public override string ToString() => User;
}
