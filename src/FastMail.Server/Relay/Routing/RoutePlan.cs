namespace FastMail.Server.Relay.Routing;

/// <summary>
/// One way in which mail is sent on (a line of the table, the smarthost, plain MX), with the routes it has led to of
/// late and the searches under way. Owned by the router; loop thread only.
/// </summary>
internal sealed class RoutePlan
{
    private const int MostRoutes = 16_384; // domains; more are looked up again

    // RFC 9520 3.2. Each new message would wait for its next attempt because of a failure that is over, so not longer; and
    // not shorter, so that a dead name server is not asked for every message. Questions alike are one question anyway.
    private static readonly TimeSpan FirstFailureMemory = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LongestFailureMemory = TimeSpan.FromSeconds(40);

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

    public RouteCredentials? Credentials { get; set; }

    /// <summary>The route of a domain as long as it holds, else null.</summary>
    public Route? Find(ReadOnlySpan<char> domain, TimeSpan now) =>
        _bySpan.TryGetValue(domain, out Remembered remembered) && remembered.Until > now ? remembered.Route : null;

    public RouteSearch? FindSearch(string domain) => _searches.GetValueOrDefault(domain);

    public void Add(RouteSearch search) => _searches.Add(search.Domain, search);

    /// <summary>A search has ended.</summary>
    /// <param name="search">It is not under way any more.</param>
    /// <param name="route">What it has found.</param>
    /// <param name="now">Of the loop.</param>
    /// <param name="lifetime">
    /// For how long it holds; null when a name server has failed: then it is looked for again soon, and later each time.
    /// </param>
    public void Remember(RouteSearch search, Route route, TimeSpan now, TimeSpan? lifetime)
    {
        _searches.Remove(search.Domain);
        bool isKnown = _routes.TryGetValue(search.Domain, out Remembered before);
        TimeSpan pause = lifetime is not null ? TimeSpan.Zero
            : before.Pause == TimeSpan.Zero ? FirstFailureMemory
            : before.Pause < LongestFailureMemory ? before.Pause * 2 : LongestFailureMemory;
        if (!isKnown)
        {
            if (_routes.Count >= MostRoutes)
            {
                _routes.Remove(_oldest.Dequeue());
            }

            _oldest.Enqueue(search.Domain);
        }

        _routes[search.Domain] = new Remembered(route, now + (lifetime ?? pause), pause, search.Questions);
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

    /// <param name="Route">What was found.</param>
    /// <param name="Until">Of the loop.</param>
    /// <param name="Pause">Between two searches while name servers fail; zero when they do not.</param>
    /// <param name="Questions">What was asked.</param>
    private readonly record struct Remembered(
        Route Route, TimeSpan Until, TimeSpan Pause, IReadOnlyList<Dns.Question> Questions);
}
