using System.Net;
using System.Net.Sockets;
using FastMail.Protocol.Dns;
using FastMail.Server.Dns;

namespace FastMail.Server.Relay.Routing;

/// <summary>
/// Finds the route of one domain by one plan: mail exchangers, then their addresses, then what their TLS must be like.
/// Hostile answers cost a bounded number of questions. Owned by the router; loop thread only.
/// </summary>
internal sealed partial class RouteSearch : IDnsAsker
{
    private const int MostHosts = 8; // of one domain: so 500 MX records lead to less than 40 questions
    private const int MostAddressesOfHost = 8; // of a family
    private const int MxNumber = -1;
    private const int PolicyNumber = -2;
    private const int PolicyHostNumber = -3;
    private const int KindsOfHost = 5;

    private static readonly TimeSpan LongestMemory = TimeSpan.FromHours(1);

    private readonly Router _router;
    private readonly RoutePlan _plan;
    private readonly List<string>? _notes;
    private readonly List<Question> _questions = [];
    private List<HostFound> _hosts = [];
    private Stage _stage;
    private int _pending;
    private bool _isMxProven; // nobody between the domain and us can have changed who its mail exchangers are
    private bool _isImplicit; // no MX: the domain itself
    private DnsAnswer _mx = DnsAnswer.Failed;
    private Route? _route;

    /// <param name="router">Owner.</param>
    /// <param name="plan">How.</param>
    /// <param name="domain">Of the recipients, as a key; empty when the plan does not ask for it.</param>
    /// <param name="notes">Takes what is done, for people; null when nobody wants to know.</param>
    public RouteSearch(Router router, RoutePlan plan, string domain, List<string>? notes)
    {
        _router = router;
        _plan = plan;
        _notes = notes;
        Domain = domain;
    }

    private enum Stage
    {
        Exchangers,
        Addresses,
        Certificates,
        End,
    }

    public string Domain { get; }

    /// <summary>Who hears the route, with the numbers they gave.</summary>
    public List<(IRouteAsker Asker, long Number)> Askers { get; } = [];

    /// <summary>What was asked.</summary>
    public IReadOnlyList<Question> Questions => _questions;

    private RouteTarget Target => _plan.Target;

    /// <summary>The route if it is found without waiting; otherwise the askers hear it.</summary>
    public Route? Begin()
    {
        Start();
        Advance();
        if (_route is not null)
        {
            Settle();
        }

        return _route;
    }

    void IDnsAsker.Answered(int number, DnsAnswer answer)
    {
        _pending--;
        Take(number, answer);
        GoOn();
    }

    /// <summary>What was waited for is here.</summary>
    private void GoOn()
    {
        Advance();
        if (_route is not null)
        {
            Settle();
            foreach ((IRouteAsker asker, long waiting) in Askers)
            {
                asker.Found(waiting, _route);
            }
        }
    }

    /// <summary>What the plan alone decides, or the first question.</summary>
    private void Start()
    {
        Note(_plan.DecidedBy.Length > 0 ? $"{_plan.DecidedBy} decides" : "no route and no smarthost: the MX of the domain decides");
        switch (Target.Via)
        {
            case RouteVia.Refuse:
                Fail(RouteFailure.Permanent(550, "5.7.1", "Mail there is refused by the route table"));
                break;
            case RouteVia.Unix:
                TlsDemand none = new(TlsLevel.None, "localhost", "unix socket");
                NextHop hop = new(Target.Socket!, "localhost", none, isImplicitTls: false);
                _route = To([new RouteHost("localhost", 0, [hop])]);
                break;
            case RouteVia.Host:
                _hosts = [new HostFound(Target.Host, 0)];
                _stage = Stage.Addresses;
                AskAddresses();
                break;
            case RouteVia.Mx when Domain.StartsWith('['):
                StartLiteral();
                break;
            default:
                if (IsHostname(Domain))
                {
                    Ask(Domain, DnsType.Mx, MxNumber);
                    AskPolicyRecord();
                }
                else
                {
                    Fail(RouteFailure.Permanent(550, "5.1.2", "The domain is not one that could exist"));
                }

                break;
        }
    }

    /// <summary>RFC 5321 5.1: an address literal is where it says, without a look at DNS.</summary>
    private void StartLiteral()
    {
        string inner = Domain[1..^1];
        string text = inner.StartsWith("ipv6:", StringComparison.OrdinalIgnoreCase) ? inner[5..] : inner;
        if (!Domain.EndsWith(']')
            || !IPAddress.TryParse(text, out IPAddress? address)
            || text.Contains('%', StringComparison.Ordinal)
            || (address.AddressFamily == AddressFamily.InterNetwork && address.ToString() != text)) // 0177.0.0.1
        {
            Fail(RouteFailure.Permanent(550, "5.1.2", "The address literal cannot be read"));
            return;
        }

        _hosts = [new HostFound(address.ToString(), 0) { Addresses = { address } }];
        _stage = Stage.Addresses;
    }

    /// <summary>Goes from stage to stage until a question is open or the route is found.</summary>
    private void Advance()
    {
        while (_pending == 0 && _route is null)
        {
            switch (_stage++)
            {
                case Stage.Exchangers:
                    ReadExchangers();
                    break;
                case Stage.Addresses:
                    JudgeAddresses();
                    break;
                case Stage.Certificates:
                    JudgeCertificates();
                    break;
                default:
                    Conclude();
                    break;
            }
        }
    }

    private void Ask(string name, DnsType type, int number)
    {
        _questions.Add(new Question(name, type));
        _pending++;
        if (_router.Resolver.Ask(name, type, this, number) is { } answer)
        {
            _pending--;
            Take(number, answer);
        }
    }

    private void Take(int number, DnsAnswer answer)
    {
        switch (number)
        {
            case MxNumber:
                _mx = answer;
                break;
            case PolicyNumber:
                _policyRecord = answer;
                break;
            case PolicyHostNumber:
                _policyHost.AddRange(answer.Data.Select(data => new IPAddress(data)));
                break;
            default:
                _hosts[number / KindsOfHost].Take((HostQuestion)(number % KindsOfHost), answer, MostAddressesOfHost);
                break;
        }
    }

    private void ReadExchangers()
    {
        if (_mx.Outcome == DnsOutcome.Failed)
        {
            Fail(RouteFailure.Temporary("4.4.3", $"The MX of {Domain} cannot be looked up: {WhyOf(_mx)}"));
            return;
        }

        _isMxProven = _mx.IsAuthentic;
        if (_mx.Outcome == DnsOutcome.Absent)
        {
            if (_mx.IsNameAbsent)
            {
                Fail(RouteFailure.Permanent(550, "5.1.2", $"The domain {Domain} does not exist"));
                return;
            }

            Note($"{Domain} has no MX: it is its own mail exchanger");
            _isImplicit = true;
            _hosts = [new HostFound(Domain, 0)];
        }
        else if (!TryReadRecords())
        {
            return;
        }

        AskAddresses();
        AskPolicyHost();
    }

    /// <summary>Takes the hosts out of the MX records; false when there is none to ask about.</summary>
    private bool TryReadRecords()
    {
        MxRecord[] records = [.. _mx.Data.Select(data => MxRecord.Of(data))];
        if (records is [{ IsNull: true }])
        {
            Fail(RouteFailure.Permanent(556, "5.1.10", $"The domain {Domain} takes no mail (null MX)"));
            return false;
        }

        _router.Random.Shuffle(records);
        foreach (MxRecord record in records.OrderBy(record => record.Preference)) // a stable sort: ties stay shuffled
        {
            if (string.IsNullOrEmpty(record.Host) || !IsHostname(record.Host))
            {
                Note($"MX {record.Preference} is not the name of a host: not used");
            }
            else if (_router.Own.IsName(record.Host))
            {
                return !CutAt(record.Preference, $"MX {record.Preference} {record.Host} is this server");
            }
            else if (_hosts.Count < MostHosts && !_hosts.Exists(host => host.Name == record.Host))
            {
                Note($"MX {record.Preference} {record.Host}");
                _hosts.Add(new HostFound(record.Host, record.Preference));
            }
        }

        if (_hosts.Count == 0)
        {
            Fail(RouteFailure.Permanent(550, "5.4.4", $"No MX of {Domain} is the name of a host"));
        }

        return _hosts.Count > 0;
    }

    private void AskAddresses()
    {
        for (int i = 0; i < _hosts.Count; i++)
        {
            if (Target.Address is not null)
            {
                _hosts[i].Addresses.Add(Target.Address);
                continue;
            }

            foreach (AddressFamily family in _router.Rules.Families)
            {
                bool isSix = family == AddressFamily.InterNetworkV6;
                int number = (i * KindsOfHost) + (int)(isSix ? HostQuestion.Six : HostQuestion.Four);
                Ask(_hosts[i].Name, isSix ? DnsType.Aaaa : DnsType.A, number);
            }
        }
    }

    /// <summary>
    /// We stand in the list ourselves: whoever is not better than we are would send it back (RFC 5321 5.1). True when
    /// nobody is left.
    /// </summary>
    private bool CutAt(int preference, string why)
    {
        Note($"{why}: hosts of preference {preference} and above are not used");
        _hosts.RemoveAll(host => host.Preference >= preference);
        if (_hosts.Count == 0)
        {
            Fail(Target.Via == RouteVia.Mx
                ? RouteFailure.Permanent(550, "5.4.6", $"Mail for {Domain} would come back to this server: {why}")
                : RouteFailure.Temporary("4.4.6", $"The next hop is this server itself: {why}"));
        }

        return _hosts.Count == 0;
    }

    private void Fail(RouteFailure failure)
    {
        string decidedBy = _plan.DecidedBy.Length > 0 ? _plan.DecidedBy : $"MX of {Domain}";
        _route = Route.Fail(decidedBy, failure, _notes);
    }

    private Route To(RouteHost[] hosts) => Route.To(
        DestinationText(),
        _plan.DecidedBy.Length > 0 ? _plan.DecidedBy : Domain.StartsWith('[') ? "the address literal" : $"MX of {Domain}",
        hosts,
        Target.IsLmtp,
        _plan.Credentials,
        Target.Tls == TlsLevel.None || IsLoopback(Target.Address),
        Target.Source is { } source ? [source] : _router.Rules.Sources,
        _notes,
        _plan,
        Domain);

    private string DestinationText() => Target.DestinationOf(Domain);

    /// <summary>The router keeps the route for as long as all answers hold.</summary>
    private void Settle()
    {
        if (_notes is not null)
        {
            return; // an explanation is for one reader
        }

        TimeSpan lifetime = LongestMemory;
        bool isUnsure = _isPolicyUnknown;
        foreach (Question question in _questions)
        {
            TimeSpan left = _router.Resolver.LifetimeOf(question.Name, question.Type);
            isUnsure |= left == TimeSpan.Zero;
            lifetime = left < lifetime ? left : lifetime;
        }

        _plan.Remember(this, _route!, _router.Loop.Elapsed, isUnsure ? null : lifetime);
    }

    private void Note(string text) => _notes?.Add(text);

    private static string WhyOf(DnsAnswer answer) => answer.Failure switch
    {
        DnsFailure.Refused => "the name server fails or refuses",
        DnsFailure.Broken or DnsFailure.NotUnderstood or DnsFailure.Truncated => "the answer cannot be read",
        _ => "no answer in time",
    };

    /// <summary>Labels of letters, digits, hyphens and underscores: some domains with mail have those.</summary>
    private static bool IsHostname(string text) => text.Length is > 0 and <= 253 && text.Split('.').All(label =>
        label.Length is > 0 and <= 63 && label.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_'));
}
