using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using FastMail.Net;
using FastMail.Server.Accounts;
using FastMail.Server.Configuration;
using FastMail.Server.Dns;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Sts;
using FastMail.Tests.Server.Dns;
using Microsoft.Extensions.Logging.Abstractions;

namespace FastMail.Tests.Server.Relay.Routing;

/// <summary>
/// A router on a loop of its own with a name server that has the given records; local.test is hosted and has u@. This
/// server is called mx.local.test, listens on 127.0.0.9:25 and has the address 198.51.100.9.
/// </summary>
internal sealed class RoutingScene : IDisposable
{
    private readonly EventLoop _loop;
    private readonly StubResolver _resolver;
    private readonly List<Exception> _failures = [];
    private readonly Lazy<Router> _router;
    private StsPolicies? _policies;

    public RoutingScene(string[] records, params string[] settings)
        : this(new ZoneServer(records), settings)
    {
    }

    public RoutingScene(ZoneServer dns, params string[] settings)
        : this(dns, TimeProvider.System, settings)
    {
    }

    public RoutingScene(ZoneServer dns, TimeProvider clock, params string[] settings)
    {
        Dns = dns;
        Settings = Settings.Load(null, settings.Select(text => text.Split('=', 2)).Select(p => new Assignment(p[0], p[1], "test")));
        _loop = EventLoop.Start(
            new EventLoopOptions { Failed = (_, e) => _failures.Add(e), Thread = LoopThread.Own }, clock);
        ResolverOptions options = DnsKeys.Options(Settings) with
        {
            Servers = Settings.Get(DnsKeys.Servers) is { Count: > 0 } servers ? servers : [Dns.EndPoint],
        };
        _resolver = new StubResolver(_loop, options);
        var accounts = AccountDirectory.Make(1, [new Account(1, "u@local.test", null!, DateTimeOffset.UnixEpoch)], [], [], new AddressRules());
        var own = new OwnAddresses(
            "MX.local.test", () => [IPEndPoint.Parse("127.0.0.9:25")], TimeProvider.System, () => [IPAddress.Parse("198.51.100.9")]);
        _router = new Lazy<Router>(() =>
        {
            RoutingRules rules = RouteKeys.Rules(Settings) with { StsPort = PolicyPort };
            rules = Authority is null ? rules : rules with { TrustAnchors = [Authority] };
            _policies = PolicyPort == 0
                ? null
                : StsPolicies.Open(
                    new StsFetcher(rules.TrustAnchors, PolicyPort), _loop, TimeProvider.System, NullLogger.Instance, PolicyFile);
            return new Router(rules, _resolver, () => accounts, own, _loop, new Random(1)) { Policies = _policies };
        });
    }

    public ZoneServer Dns { get; }

    /// <summary>Where hosts of MTA-STS policies listen; 0 when nobody looks for policies.</summary>
    public int PolicyPort { get; init; }

    /// <summary>Keeps policies; null for none.</summary>
    public string? PolicyFile { get; init; }

    /// <summary>Who is believed; null for this machine's authorities.</summary>
    public X509Certificate2? Authority { get; init; }

    public Settings Settings { get; }

    public Router Router => _router.Value;

    /// <summary>The route as the delivery engine gets it.</summary>
    public Route Find(string address) => Asking.Find(this, address).Answer();

    /// <summary>The route with its notes.</summary>
    public Route Explain(string address) => RouteQuestion.AskAsync(Router, address).WaitAsync(TimeSpan.FromSeconds(30)).Result;

    /// <summary>Asked at once, answered later.</summary>
    public Asking Begin(string address) => Asking.Find(this, address);

    public T OnLoop<T>(Func<T> function) => Asking.On(_loop, function);

    /// <summary>The next hops of one attempt as text.</summary>
    public string[] Hops(Route route, int seed = 1)
    {
        List<NextHop> hops = [];
        route.OrderHops(new Random(seed), hops);
        return [.. hops.Select(hop => hop.ToString())];
    }

    public void Dispose()
    {
        _policies?.Dispose();
        _loop.StopAsync(TimeSpan.Zero).Wait();
        _loop.Dispose();
        _resolver.Dispose();
        Dns.Dispose();
        Xunit.Assert.Empty(_failures);
    }

    /// <summary>One question to the router. Entered by the loop.</summary>
    internal sealed class Asking : ILoopWork, IRouteAsker
    {
        private readonly TaskCompletionSource<Route> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly Action<Asking> _run;

        private Asking(Action<Asking> run) => _run = run;

        public bool IsKnownAtOnce { get; private set; }

        public bool IsAnswered => _answer.Task.IsCompleted;

        public static Asking Find(RoutingScene scene, string address)
        {
            Router router = scene.Router;
            var asking = new Asking(self =>
            {
                if (router.Find(Encoding.UTF8.GetBytes(address), self, 7) is { } route)
                {
                    self.IsKnownAtOnce = true;
                    self._answer.SetResult(route);
                }
            });
            scene._loop.Post(asking);
            return asking;
        }

        public static T On<T>(EventLoop loop, Func<T> function)
        {
            var result = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
            loop.Post(new Asking(_ => result.SetResult(function())));
            return result.Task.WaitAsync(TimeSpan.FromSeconds(30)).Result;
        }

        public Route Answer() => _answer.Task.WaitAsync(TimeSpan.FromSeconds(30)).GetAwaiter().GetResult();

        public void Run() => _run(this);

        public void Found(long number, Route route)
        {
            Xunit.Assert.Equal(7, number);
            _answer.SetResult(route); // throws when told twice
        }
    }
}
