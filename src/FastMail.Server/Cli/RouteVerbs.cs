using System.CommandLine;
using System.Net;
using System.Text.Json;
using FastMail.Net;
using FastMail.Server.Accounts;
using FastMail.Server.Configuration;
using FastMail.Server.Control;
using FastMail.Server.Dns;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Sts;
using Microsoft.Data.Sqlite;
using Microsoft.Extensions.Logging.Abstractions;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail route test ADDRESS</c>: where mail for an address goes, and what decides that.</summary>
internal sealed class RouteVerbs
{
    private readonly Option<string> _data;
    private readonly SettingOptions _settings;
    private readonly Argument<string> _address = new("ADDRESS") { Description = "E.g. user@example.org." };
    private readonly Option<bool> _json = new("--json") { Description = "Print one JSON object." };

    public RouteVerbs(Option<string> data)
    {
        _data = data;
        _settings = new SettingOptions(data)
            .Short("--route", "PATTERN=NEXTHOP", RouteKeys.Table, "A line of the route table; repeatable.")
            .Short("--smarthost", "NEXTHOP", RouteKeys.Smarthost, "Takes what no route sends elsewhere.");
    }

    public Command Build()
    {
        var test = new Command("test", """
            Says where mail for an address goes now, the line or record that decides it, and each host with its addresses
            and the TLS it must have. A running server is asked; without one, or when settings are given here, the
            decision is made by this command with the settings a server would have. Nothing is sent to the hosts.

            Exits with 0 when there is a way, 68 when mail would be sent back, 75 when it would be tried again later.
            """)
        {
            _address, _json,
        };
        _settings.AddTo(test);
        test.SetAction((parsed, token) => TestAsync(parsed, token));
        return new Command("route", "Explains where mail goes.") { test };
    }

    private async Task<int> TestAsync(ParseResult parsed, CancellationToken token)
    {
        string address = parsed.GetRequiredValue(_address).Trim('<', '>');
        if (!address.Contains('@', StringComparison.Ordinal))
        {
            address = "postmaster@" + address; // a domain alone is what one often wants to know about
        }

        if (AccountEdit.MailboxOf(address) is null)
        {
            return AccountEdit.Fail(ExitCode.Usage, $"'{address}' is not an address, e.g. user@example.org");
        }

        RouteExplanation explanation;
        try
        {
            explanation = Ask(parsed, address) ?? await DecideAsync(parsed, address, token);
        }
        catch (Exception e) when (e is SettingException or IOException or UnauthorizedAccessException or SqliteException)
        {
            await Console.Error.WriteLineAsync($"fastmail: {e.Message}");
            return e is SettingException ? ExitCode.Configuration
                : e is ControlException ? ExitCode.TemporaryFailure
                : ExitCode.IoError;
        }

        Console.Out.WriteLine(parsed.GetValue(_json)
            ? JsonSerializer.Serialize(explanation, ControlJson.Default.RouteExplanation)
            : TextOf(explanation));
        return explanation.Failure is not { } failure ? ExitCode.Ok
            : failure.IsPermanent ? ExitCode.NoHost
            : ExitCode.TemporaryFailure;
    }

    /// <summary>What the running server says; null when there is none or other settings are wanted.</summary>
    private RouteExplanation? Ask(ParseResult parsed, string address)
    {
        if (_settings.IsAnyGiven(parsed))
        {
            return null;
        }

        using ControlClient? server = ControlClient.TryConnect(parsed.GetRequiredValue(_data));
        return server?.Get($"v1/route?address={Uri.EscapeDataString(address)}", ControlJson.Default.RouteExplanation);
    }

    private async Task<RouteExplanation> DecideAsync(ParseResult parsed, string address, CancellationToken token)
    {
        Settings settings = _settings.Read(parsed);
        RoutingRules rules = RouteKeys.Rules(settings);
        AccountDirectory accounts = AccountsIn(parsed.GetRequiredValue(_data), AddressKeys.Rules(settings));
        EventLoop.PrepareRuntime();
        using EventLoop loop = EventLoop.Start(
            new EventLoopOptions { Failed = (_, e) => Console.Error.WriteLine($"fastmail: {e}") }, TimeProvider.System);
        using var resolver = new StubResolver(loop, DnsKeys.Options(settings));
        var own = new OwnAddresses(
            settings.Get(ServeKeys.Hostname),
            () => settings.Get(ServeKeys.Mx).Concat(settings.Get(ServeKeys.Submission)).Concat(settings.Get(ServeKeys.Submissions))
                .Concat(settings.Get(LmtpKeys.Listen).OfType<IPEndPoint>()),
            TimeProvider.System);
        using StsPolicies? policies = rules.UsesSts
            ? StsPolicies.Open(
                new StsFetcher(rules.TrustAnchors, rules.StsPort), loop, TimeProvider.System, NullLogger.Instance, file: null)
            : null;
        var router = new Router(rules, resolver, () => accounts, own, loop, new Random()) { Policies = policies };
        Route route = await RouteQuestion.AskAsync(router, address).WaitAsync(token);
        await loop.StopAsync(TimeSpan.Zero);
        return RouteExplanation.Of(address, route);
    }

    /// <summary>Who is hosted; nobody when there is no data directory yet.</summary>
    private static AccountDirectory AccountsIn(string directory, AddressRules rules)
    {
        if (!File.Exists(Path.Join(directory, AccountStore.FileName)))
        {
            return AccountDirectory.Make(0, [], [], [], rules);
        }

        using AccountStore store = AccountStore.Open(directory);
        return store.ReadDirectory(rules);
    }

    private static string TextOf(RouteExplanation explanation)
    {
        List<string> lines = [explanation.Address, $"  {explanation.Outcome()}", $"  decided by: {explanation.DecidedBy}"];
        foreach (ExplainedHost host in explanation.Hosts)
        {
            lines.Add($"  host {host.Name}, preference {host.Preference}: {string.Join(", ", host.Addresses)}; "
                + $"tls {host.Tls} ({host.TlsReason})");
        }

        lines.AddRange(explanation.Notes.Select(note => $"  - {note}"));
        return string.Join(Environment.NewLine, lines);
    }
}
