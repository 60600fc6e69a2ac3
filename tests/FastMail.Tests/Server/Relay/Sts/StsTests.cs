using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Sts;
using FastMail.Tests.Server.Relay.Routing;
using Xunit;

namespace FastMail.Tests.Server.Relay.Sts;

/// <summary>Policies of domains about TLS (RFC 8461): found, fetched, kept and obeyed.</summary>
public sealed class StsTests
{
    private const string Enforce = "version: STSv1\r\nmode: enforce\r\nmx: m1.a.test\r\nmx: *.mail.test\r\nmax_age: 86400\r\n";

    private const int MostOfParent = 16; // fetches at one time for names below one domain

    private static readonly string[] Records =
    [
        "a.test MX 1 m1.a.test", "a.test MX 2 m2.a.test", "a.test MX 3 x.mail.test", "_mta-sts.a.test TXT v=STSv1; id=1;",
        "m1.a.test A 192.0.2.1", "m2.a.test A 192.0.2.2", "x.mail.test A 192.0.2.3", "mta-sts.a.test A 127.0.0.1",
    ];

    [Fact]
    public void An_enforced_policy_demands_verified_TLS_and_bars_hosts_it_does_not_name()
    {
        using var host = new PolicyHost("mta-sts.a.test") { Policy = Enforce };
        using RoutingScene scene = Start(host);
        Route route = scene.Find("x@a.test");
        Assert.Equal(["m1.a.test[192.0.2.1]:25", "x.mail.test[192.0.2.3]:25"], scene.Hops(route));
        Assert.All(route.Hosts, found => Assert.Equal("verify (MTA-STS of a.test)", found.Hops.First().Tls.ToString()));
        Assert.Equal("m1.a.test", route.Hosts[0].Hops.First().Tls.ServerName);
    }

    [Fact]
    public void A_policy_under_test_changes_nothing()
    {
        using var host = new PolicyHost("mta-sts.a.test") { Policy = Enforce.Replace("enforce", "testing", StringComparison.Ordinal) };
        using RoutingScene scene = Start(host);
        Route route = scene.Find("x@a.test");
        Assert.Equal(3, scene.Hops(route).Length);
        Assert.Equal(TlsLevel.May, route.Hosts[0].Hops.First().Tls.Level);
        Assert.Contains("m2.a.test is not named by the policy", scene.Explain("x@a.test").Notes, StringComparer.Ordinal);
    }

    [Fact]
    public void A_policy_that_leaves_no_host_defers_mail()
    {
        using var host = new PolicyHost("mta-sts.a.test") { Policy = "version: STSv1\nmode: enforce\nmx: other.test\nmax_age: 1000" };
        using RoutingScene scene = Start(host);
        Assert.Equal("451 4.7.5 The MTA-STS policy of a.test leaves no host", scene.Find("x@a.test").Failure!.ToString());
    }

    [Theory]
    [InlineData("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")]
    [InlineData("HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnope")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\nversion: STSv1\r\n")]
    [InlineData("nonsense\r\n\r\n")]
    public void Without_a_policy_that_can_be_fetched_mail_goes_as_if_there_were_none(string response)
    {
        using var host = new PolicyHost("mta-sts.a.test") { Response = response };
        using RoutingScene scene = Start(host);
        Assert.Equal(3, scene.Hops(scene.Find("x@a.test")).Length);
        _ = scene.Explain("x@a.test");
        Assert.Equal(1, host.Requests); // not again within minutes
    }

    [Fact]
    public void A_policy_from_a_host_whose_certificate_is_not_for_it_is_not_taken()
    {
        using var host = new PolicyHost("mta-sts.b.test") { Policy = Enforce };
        using RoutingScene scene = Start(host);
        Assert.Equal(3, scene.Hops(scene.Find("x@a.test")).Length);
        Assert.Equal(0, host.Requests);
    }

    [Fact]
    public void A_policy_host_at_a_private_address_is_not_called()
    {
        using var host = new PolicyHost("mta-sts.a.test") { Policy = Enforce };
        using RoutingScene scene = Start(host, isPrivate: false);
        Assert.Equal(3, scene.Hops(scene.Find("x@a.test")).Length);
        Assert.Equal(0, host.Requests);
    }

    [Fact]
    public void A_policy_outlives_its_record_and_the_server()
    {
        string file = Path.GetTempFileName();
        using var host = new PolicyHost("mta-sts.a.test") { Policy = Enforce };
        using (RoutingScene first = Start(host, file: file))
        {
            Assert.Equal(2, first.Hops(first.Find("x@a.test")).Length);
        }

        File.AppendAllText(file, "{\"domain\":\"b.te"); // the process ended in the midst of a line
        using var second = Start(host, file: file, without: "_mta-sts.a.test TXT v=STSv1; id=1;");
        Assert.Equal(2, second.Hops(second.Find("x@a.test")).Length);
        Assert.Equal(1, host.Requests);
        File.Delete(file);
    }

    [Fact]
    public void A_new_id_brings_the_new_policy()
    {
        using var host = new PolicyHost("mta-sts.a.test") { Policy = Enforce };
        using RoutingScene scene = Start(host);
        Assert.Equal(2, scene.Hops(scene.Find("x@a.test")).Length);
        host.Policy = "version: STSv1\nmode: none\nmax_age: 1000";
        scene.Dns.Remove("_mta-sts.a.test");
        scene.Dns.Add("_mta-sts.a.test TXT v=STSv1; id=2;");
        scene.OnLoop(() =>
        {
            scene.Router.Forget(null);
            return true;
        });
        Assert.Equal(3, scene.Hops(scene.Find("x@a.test")).Length);
        Assert.Equal(2, host.Requests);
    }

    [Fact]
    public async Task A_policy_that_is_fetched_anew_is_not_waited_for()
    {
        string file = Path.GetTempFileName();
        DateTimeOffset fetched = TimeProvider.System.GetUtcNow().AddHours(-20);
        await File.WriteAllTextAsync(file, $$$"""
            {"domain":"a.test","id":"1","fetchedAt":"{{{fetched:O}}}","policy":{"mode":"Enforce","patterns":["m1.a.test"],"maxAge":"1.00:00:00"}}

            """);
        var mayAnswer = new TaskCompletionSource();
        using var host = new PolicyHost("mta-sts.a.test")
        {
            Policy = "version: STSv1\nmode: none\nmax_age: 86400",
            MayAnswer = mayAnswer.Task,
        };
        using RoutingScene scene = Start(host, file: file);
        Assert.Single(scene.Hops(scene.Find("x@a.test")));
        Assert.Single(scene.Hops(scene.Explain("x@a.test"))); // and is not fetched twice
        mayAnswer.SetResult();
        await RelayTests.Until(() => scene.Hops(scene.Explain("x@a.test")).Length == 3);
        Assert.Equal(1, host.Requests);
        File.Delete(file);
    }

    [Fact]
    public async Task Mail_waits_when_its_policy_is_not_known_and_too_many_are_being_fetched()
    {
        string[] domains = [.. Enumerable.Range(0, MostOfParent + 1).Select(i => $"s{i}.a.test")];
        var mayAnswer = new TaskCompletionSource();
        using var host = new PolicyHost([.. domains.Select(domain => "mta-sts." + domain)])
        {
            Policy = Enforce,
            MayAnswer = mayAnswer.Task,
        };
        using RoutingScene scene = Start(host);
        foreach (string domain in domains)
        {
            scene.Dns.Add($"{domain} MX 1 m1.a.test");
            scene.Dns.Add($"_mta-sts.{domain} TXT v=STSv1; id=1;");
            scene.Dns.Add($"mta-sts.{domain} A 127.0.0.1");
        }

        RoutingScene.Asking[] askings = [.. domains.Select(domain => scene.Begin("x@" + domain))];
        await RelayTests.Until(() => askings.Any(asking => asking.IsAnswered));
        mayAnswer.SetResult();
        Route[] routes = [.. askings.Select(asking => asking.Answer())];
        int put = Array.FindIndex(routes, route => route.Failure is not null);
        Assert.Equal(
            $"451 4.7.5 The MTA-STS policy of {domains[put]} cannot be fetched now: too many are being fetched",
            routes[put].Failure!.ToString());
        Assert.Equal(MostOfParent, routes.Count(route => route.Failure is null && route.Hosts[0].Hops.First().Tls.Level == TlsLevel.Verify));
        Assert.Equal(TlsLevel.Verify, scene.Explain("x@" + domains[put]).Hosts[0].Hops.First().Tls.Level);
    }

    [Fact]
    public async Task Silent_hosts_below_one_domain_keep_no_policy_of_another_waiting()
    {
        using var host = new PolicyHost("mta-sts.b.test") { Policy = Enforce };
        using var silent = new TcpListener(IPAddress.Parse("127.0.0.2"), host.Port);
        silent.Start();
        using var fetcher = new StsFetcher([host.Authority], host.Port);
        for (int i = 0; i < MostOfParent; i++)
        {
            Assert.True(fetcher.TryBegin($"s{i}.a.test", [IPAddress.Parse("127.0.0.2")], static (_, _) => { }));
        }

        Assert.False(fetcher.TryBegin("one.more.a.test", [IPAddress.Parse("127.0.0.2")], static (_, _) => { }));
        var fetched = new TaskCompletionSource<StsPolicy?>();
        Assert.True(fetcher.TryBegin("b.test", [IPAddress.Loopback], (policy, _) => fetched.SetResult(policy)));
        Assert.Equal(StsMode.Enforce, (await fetched.Task.WaitAsync(TimeSpan.FromSeconds(30)))?.Mode);
    }

    [Theory]
    [InlineData("version: STSv1\nmode: enforce\nmx: a.test\nmax_age: 1", true)]
    [InlineData("version: STSv1\r\nmode: none\r\nmax_age: 1\r\n", true)]
    [InlineData("version: STSv1\nmode: enforce\nmax_age: 1", false)] // whom may it go to?
    [InlineData("version: STSv2\nmode: enforce\nmx: a.test\nmax_age: 1", false)]
    [InlineData("version: STSv1\nmode: always\nmx: a.test\nmax_age: 1", false)]
    [InlineData("version: STSv1\nmode: enforce\nmx: a.test\nmax_age: -1", false)]
    [InlineData("", false)]
    public void A_policy_is_whole_or_none(string text, bool isPolicy) =>
        Assert.Equal(isPolicy, StsPolicy.Parse(Encoding.ASCII.GetBytes(text)) is not null);

    [Theory]
    [InlineData("m1.a.test", true)]
    [InlineData("m2.a.test", false)]
    [InlineData("x.mail.test", true)]
    [InlineData("y.x.mail.test", false)]
    [InlineData("mail.test", false)]
    [InlineData("xmail.test", false)]
    public void A_star_stands_for_one_label(string host, bool isNamed) =>
        Assert.Equal(isNamed, StsPolicy.Parse(Encoding.ASCII.GetBytes(Enforce))!.Names(host));

    private static RoutingScene Start(PolicyHost host, bool isPrivate = true, string? file = null, string? without = null) =>
        new(
            new FastMail.Tests.Server.Dns.ZoneServer([.. Records.Where(record => record != without)]),
            isPrivate ? ["route.table=*=mx private"] : [])
        {
            PolicyFile = file,
            Authority = host.Authority,
            PolicyPort = host.Port,
        };
}
