using FastMail.Net;
using FastMail.Server.Accounts;
using FastMail.Server.Dns;
using FastMail.Server.Relay.Sts;

namespace FastMail.Server.Relay.Routing;

/// <summary>Waits for a route; called on the loop thread, once, and never inside the call that asked.</summary>
internal interface IRouteAsker
{
    /// <summary>What was asked under this number has been decided.</summary>
    void Found(long number, Route route);
}

/// <summary>
/// Decides where mail for an address goes: into a maildrop, to the next hop of a route, to the smarthost, or to the mail
/// exchangers of its domain. Decisions are kept as long as DNS allows. Owned by the server; loop thread only.
/// </summary>
internal sealed class Router
{
    /// <summary>For everybody who has a maildrop here.</summary>
    public static Route Hosted { get; } = Route.Local("hosted domain");

    private static readonly Route UnknownHere = Route.Fail(
        "hosted domain", RouteFailure.Permanent(550, "5.1.1", "No such mailbox here"));

    private static readonly Route NoAddress = Route.Fail(
        "the address", RouteFailure.Permanent(550, "5.1.3", "Not an address that mail could go to"));

    private readonly Func<AccountDirectory> _accounts;
    private readonly List<Account> _mailboxes = []; // for the time of a call
    private readonly Dictionary<RouteLine, RoutePlan> _plans = new(ReferenceEqualityComparer.Instance);
    private readonly RoutePlan _otherwise;

    /// <param name="rules">What the operator has said.</param>
    /// <param name="resolver">Looks up names.</param>
    /// <param name="accounts">Who is hosted here, now.</param>
    /// <param name="own">Which hosts are this server.</param>
    /// <param name="loop">Whose thread this is.</param>
    /// <param name="random">Draws among hosts alike.</param>
    /// <exception cref="Configuration.SettingException">A password file cannot be read.</exception>
    public Router(
        RoutingRules rules, StubResolver resolver, Func<AccountDirectory> accounts, OwnAddresses own, EventLoop loop,
        Random random)
    {
        Rules = rules;
        Resolver = resolver;
        Own = own;
        Loop = loop;
        Random = random;
        _accounts = accounts;
        foreach (RouteLine line in rules.Table.Lines)
        {
            _plans.Add(line, PlanOf(line.Target, $"route.table '{line.Text}'"));
        }

        _otherwise = rules.Smarthost is { } smarthost
            ? PlanOf(smarthost, $"relay.smarthost '{smarthost.Text}'")
            : PlanOf(RouteTarget.ByMx, "");
    }

    /// <summary>Policies of domains about TLS; null when they do not bind.</summary>
    public StsPolicies? Policies { get; init; }

    internal RoutingRules Rules { get; private set; }

    internal StubResolver Resolver { get; }

    internal OwnAddresses Own { get; }

    internal EventLoop Loop { get; }

    internal Random Random { get; }

    /// <summary>
    /// The decision if it is known, without an allocation; otherwise null, and the asker is told later, never inside this
    /// call, and in the order of asking for one domain.
    /// </summary>
    /// <param name="forwardPath">UTF-8, no angle brackets.</param>
    /// <param name="asker">Who wants to know.</param>
    /// <param name="number">Handed back to the asker.</param>
    public Route? Find(ReadOnlySpan<byte> forwardPath, IRouteAsker asker, long number)
    {
        Span<char> key = stackalloc char[AddressKey.MaxLength];
        if (TryDecide(forwardPath, key, out ReadOnlySpan<char> domain, out RoutePlan? plan, out Route? route))
        {
            return route;
        }

        return Find(plan!, domain, asker, number);
    }

    /// <summary>As <see cref="Find"/>, for who goes that way already.</summary>
    /// <param name="route">Found by this router; leads to a next hop.</param>
    /// <param name="asker">Who wants to know.</param>
    /// <param name="number">Handed back to the asker.</param>
    public Route? FindAgain(Route route, IRouteAsker asker, long number) =>
        Find(route.Plan!, route.Domain, asker, number);

    private Route? Find(RoutePlan plan, ReadOnlySpan<char> domain, IRouteAsker asker, long number)
    {
        if (plan.Find(domain, Loop.Elapsed) is { } known)
        {
            return known;
        }

        string name = domain.ToString();
        RouteSearch? search = plan.FindSearch(name);
        if (search is null)
        {
            search = new RouteSearch(this, plan, name, notes: null);
            plan.Add(search);
            if (search.Begin() is { } found)
            {
                return found;
            }
        }

        search.Askers.Add((asker, number));
        return null;
    }

    /// <summary>As <see cref="Find"/>, but decided anew, and with <see cref="Route.Notes"/>.</summary>
    public Route? Explain(ReadOnlySpan<byte> forwardPath, IRouteAsker asker, long number)
    {
        Span<char> key = stackalloc char[AddressKey.MaxLength];
        if (TryDecide(forwardPath, key, out ReadOnlySpan<char> domain, out RoutePlan? plan, out Route? route))
        {
            return route;
        }

        var search = new RouteSearch(this, plan!, domain.ToString(), notes: []);
        search.Askers.Add((asker, number));
        return search.Begin();
    }

    /// <summary>
    /// What decides about an address that such a route was found for, as <see cref="Route.DecidedBy"/>: several lines may
    /// lead to one destination, and its route tells of one of them. Allocates nothing.
    /// </summary>
    public string RuleFor(ReadOnlySpan<byte> forwardPath, Route route)
    {
        Span<char> key = stackalloc char[AddressKey.MaxLength];
        return route.Kind == RouteKind.Remote && !TryDecide(forwardPath, key, out _, out RoutePlan? plan, out _)
            && plan!.DecidedBy.Length > 0
            ? plan.DecidedBy
            : route.DecidedBy;
    }

    /// <summary>
    /// The destinations of a domain that a line of the table speaks of, or that is hosted and so has none; false for
    /// others.
    /// </summary>
    /// <param name="domain">ASCII.</param>
    /// <param name="isWithSubdomains">And of those below it that have lines of their own.</param>
    /// <param name="destinations">Added to.</param>
    public bool TryFindRouted(ReadOnlySpan<byte> domain, bool isWithSubdomains, List<string> destinations)
    {
        byte[] address = [.. "postmaster@"u8, .. domain];
        if (AddressKey.Of(address) is not { } key)
        {
            return false;
        }

        string name = key[(key.LastIndexOf('@') + 1)..];
        if (Rules.Table.FindDomain("@" + name) is { Target: { Via: not RouteVia.Refuse } target })
        {
            destinations.Add(target.DestinationOf(name));
        }

        if (isWithSubdomains)
        {
            // "@.name" speaks of all below; where those go by MX, nobody knows which they are.
            destinations.AddRange(Rules.Table.Lines
                .Where(line => line.Pattern[0] == '@' && line.Pattern.EndsWith("." + name, StringComparison.Ordinal))
                .Where(line => line.Target.Via != RouteVia.Refuse
                    && (line.Target.Via != RouteVia.Mx || line.Pattern[1] != '.'))
                .Select(line => line.Target.DestinationOf(line.Pattern[1..])));
        }

        return destinations.Count > 0 || _accounts().Resolve(address, [], _mailboxes) != Residence.Elsewhere;
    }

    /// <summary>Mail for that address would go to that destination, if there is a way.</summary>
    public bool LeadsTo(string destination, ReadOnlySpan<byte> forwardPath)
    {
        Span<char> key = stackalloc char[AddressKey.MaxLength];
        return !TryDecide(forwardPath, key, out ReadOnlySpan<char> domain, out RoutePlan? plan, out _)
            && plan!.Target.DestinationOf(domain.ToString()) == destination;
    }

    /// <summary>What DNS has said is asked anew.</summary>
    /// <param name="destination">Only of this destination, or of this domain when there was none; null for all.</param>
    public void Forget(string? destination)
    {
        foreach (RoutePlan plan in _plans.Values.Append(_otherwise))
        {
            foreach (Question question in plan.Forget(destination))
            {
                Resolver.Forget(question.Name, question.Type);
            }
        }
    }

    /// <summary>
    /// Goes by passwords and certificates that were read once more; connections keep what they began with.
    /// </summary>
    /// <param name="rules">The rules there are, but for what stands in files.</param>
    public void Renew(RoutingRules rules)
    {
        Rules = rules;
        foreach (RoutePlan plan in _plans.Values.Append(_otherwise))
        {
            plan.Credentials = CredentialsOf(plan.Target);
            _ = plan.Forget(destination: null); // decided anew; DNS need not be asked again for that
        }
    }

    /// <summary>Decides what needs no name server; otherwise says which plan holds for which domain.</summary>
    private bool TryDecide(
        ReadOnlySpan<byte> forwardPath, Span<char> buffer, out ReadOnlySpan<char> domain, out RoutePlan? plan, out Route? route)
    {
        domain = default;
        plan = null;
        int length = AddressKey.Write(forwardPath, buffer);
        ReadOnlySpan<char> key = buffer[..Math.Max(0, length)];
        route = _accounts().Resolve(forwardPath, [], _mailboxes) switch
        {
            Residence.Mailbox or Residence.TooMany => Hosted,
            Residence.UnknownHere => UnknownHere,
            _ => key.LastIndexOf('@') <= 0 || key[^1] == '@' ? NoAddress : null,
        };
        if (route is not null)
        {
            return true;
        }

        plan = Rules.Table.Find(key) is { } line ? _plans[line] : _otherwise;
        // A named host is one destination whatever the domain; mail exchangers are the domain's own.
        domain = plan.Target.Via == RouteVia.Mx ? key[(key.LastIndexOf('@') + 1)..] : "";
        return false;
    }

    private RoutePlan PlanOf(RouteTarget target, string decidedBy) => new(target, decidedBy, CredentialsOf(target));

    private RouteCredentials? CredentialsOf(RouteTarget target) => target is { User: { } user, PasswordFile: { } file }
        ? new RouteCredentials(user, Rules.ReadPassword(file))
        : null;
}
