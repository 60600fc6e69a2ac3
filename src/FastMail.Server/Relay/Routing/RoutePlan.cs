namespace FastMail.Server.Relay.Routing;

/// <summary>
/// One way in which mail is sent on (a line of the table, the smarthost, plain MX), with the routes it has led to of
/// late and the searches under way. Owned by the router; loop thread only.
/// </summary>
internal sealed class RoutePlan
{
    private const int MostRoutes = 16_384; // domains; more are looked up again

    private readonly Dictionary<string, Remembered> _routes = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Remembered>.AlternateLookup<ReadOnlySpan<char>> _bySpan;
    private readonly Queue<string> _oldest = new(); // each domain of the routes once
    private readonly Dictionary<string, RouteSearch> _searches = new(StringComparer.Ordinal);

    public RoutePlan(RouteTarget target, string decidedBy, RouteCredentials? credentials)
    {
        Target = target;
        DecidedBy = decidedBy;
        Credentials = credentials;
        _bySpan = _routes.GetAlternateLookup<ReadOnlySpan<char>>();
    }

    public RouteTarget Target { get; }

    /// <summary>The line or setting, for people; empty for plain MX.</summary>
    public string DecidedBy { get; }

    public RouteCredentials? Credentials { get; }

    /// <summary>The route of a domain as long as it holds, else null.</summary>
    public Route? Find(ReadOnlySpan<char> domain, TimeSpan now) =>
        _bySpan.TryGetValue(domain, out Remembered remembered) && remembered.Until > now ? remembered.Route : null;

    public RouteSearch? FindSearch(string domain) => _searches.GetValueOrDefault(domain);

    public void Add(RouteSearch search) => _searches.Add(search.Domain, search);

    /// <summary>A search has ended, and its route holds until then.</summary>
    public void Remember(RouteSearch search, Route route, TimeSpan until)
    {
        _searches.Remove(search.Domain);
        if (!_routes.ContainsKey(search.Domain))
        {
            if (_routes.Count >= MostRoutes)
            {
                _routes.Remove(_oldest.Dequeue());
            }

            _oldest.Enqueue(search.Domain);
        }

        _routes[search.Domain] = new Remembered(route, until, search.Questions);
    }

    /// <summary>
    /// Ends the time of routes; hands out what was asked for them.
    /// </summary>
    /// <param name="destination">Null for all.</param>
    public IEnumerable<Dns.Question> Forget(string? destination)
    {
        List<Dns.Question> questions = [];
        foreach ((string domain, Remembered remembered) in _routes.ToArray())
        {
            // A failure has no destination; it is forgotten by the domain that it is about.
            if (destination is null || remembered.Route.Destination == destination || domain == destination)
            {
                questions.AddRange(remembered.Questions);
                _routes[domain] = remembered with { Until = TimeSpan.Zero };
            }
        }

        return questions;
    }

    private readonly record struct Remembered(Route Route, TimeSpan Until, IReadOnlyList<Dns.Question> Questions);
}
