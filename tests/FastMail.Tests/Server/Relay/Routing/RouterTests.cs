using System.Net;
using System.Net.Sockets;
using FastMail.Server.Relay.Routing;
using FastMail.Tests.Server.Dns;
using Xunit;

namespace FastMail.Tests.Server.Relay.Routing;

/// <summary>Where mail goes: hosted, by a route, by the smarthost, by MX; and when it goes nowhere.</summary>
public sealed class RouterTests
{
    private static readonly string[] Mail =
    [
        "example.org MX 20 mx2.example.org",
        "example.org MX 10 mx1.example.org",
        "mx1.example.org A 192.0.2.1",
        "mx1.example.org AAAA 2001:db8::1",
        "mx2.example.org A 192.0.2.2",
    ];

    [Fact]
    public void Mail_goes_to_the_mail_exchangers_by_preference_IPv6_first()
    {
        using var scene = new RoutingScene(Mail);
        Route route = scene.Find("Ann@Example.ORG");
        Assert.Equal((RouteKind.Remote, "example.org", "MX of example.org"), (route.Kind, route.Destination, route.DecidedBy));
        Assert.Equal(
            ["mx1.example.org[2001:db8::1]:25", "mx1.example.org[192.0.2.1]:25", "mx2.example.org[192.0.2.2]:25"],
            scene.Hops(route));
        Assert.Equal("may (relay.tls)", route.Hosts[0].Hops.First().Tls.ToString());
    }

    [Fact]
    public void Hosts_of_one_preference_are_tried_in_any_order()
    {
        using var scene = new RoutingScene(
        [
            .. Enumerable.Range(1, 4).SelectMany(i => (string[])[$"a.test MX 5 m{i}.test", $"m{i}.test A 192.0.2.{i}"]),
            "a.test MX 9 last.test", "last.test A 192.0.2.9",
        ]);
        Route route = scene.Find("x@a.test");
        string[][] orders = [.. Enumerable.Range(0, 200).Select(seed => scene.Hops(route, seed))];
        Assert.Equal(24, orders.Select(hops => string.Join(' ', hops[..4])).Distinct(StringComparer.Ordinal).Count());
        Assert.All(orders, hops => Assert.Equal("last.test[192.0.2.9]:25", hops[4]));
    }

    [Fact]
    public void A_host_with_many_addresses_leaves_room_for_the_next()
    {
        using var scene = new RoutingScene(
        [
            "a.test MX 5 many.test", "a.test MX 6 other.test", "a.test MX 7 third.test",
            .. Enumerable.Range(1, 20).Select(i => $"many.test A 192.0.2.{i}"),
            "other.test A 198.51.100.1", "third.test A 198.51.100.2",
        ]);
        string[] hops = scene.Hops(scene.Find("x@a.test"));
        Assert.Equal(4, hops.Length);
        Assert.Equal(["other.test[198.51.100.1]:25", "third.test[198.51.100.2]:25"], hops[2..]);
    }

    [Fact]
    public void A_domain_without_MX_is_its_own_mail_exchanger()
    {
        using var scene = new RoutingScene(["a.test A 192.0.2.7", "a.test TXT hello"]);
        Assert.Equal(["a.test[192.0.2.7]:25"], scene.Hops(scene.Find("x@a.test")));
    }

    [Theory]
    [InlineData("x@null.test", "556 5.1.10 The domain null.test takes no mail (null MX)", "null.test MX 0 .", "null.test A 192.0.2.1")]
    [InlineData("x@nobody.test", "550 5.1.2 The domain nobody.test does not exist")]
    [InlineData("x@empty.test", "550 5.1.2 The domain empty.test has neither MX nor address", "empty.test TXT x")]
    [InlineData("x@a.test", "550 5.4.4 No mail exchanger of a.test has an address", "a.test MX 1 gone.test")]
    [InlineData("x@a.test", "451 4.4.3 The MX of a.test cannot be looked up: the name server fails or refuses", "a.test FAIL")]
    [InlineData("x@a.test", "451 4.4.3 No address of the mail exchangers of a.test can be looked up", "a.test MX 1 m.test", "m.test FAIL")]
    [InlineData("x@a.test", "550 5.4.6 Mail for a.test would come back to this server: MX 1 mx.local.test is this server", "a.test MX 1 mx.local.test", "a.test MX 2 m.test", "m.test A 192.0.2.1")]
    [InlineData("x@a.test", "550 5.4.6 Mail for a.test would come back to this server: m.test has the address 198.51.100.9, which is this server", "a.test MX 1 m.test", "m.test A 198.51.100.9")]
    [InlineData("x@a.test", "550 5.4.4 Mail must not go to any address of the mail exchangers of a.test: 10.1.2.3 (private)", "a.test MX 1 m.test", "m.test A 10.1.2.3")]
    [InlineData("x@a_b..test", "550 5.1.2 The domain is not one that could exist")]
    [InlineData("nobody@local.test", "550 5.1.1 No such mailbox here")]
    [InlineData("x", "550 5.1.3 Not an address that mail could go to")]
    [InlineData("x@", "550 5.1.3 Not an address that mail could go to")]
    [InlineData("x@[127.0.0.1]", "550 5.4.4 Mail must not go to any address of [127.0.0.1]: 127.0.0.1 (loopback)")]
    [InlineData("x@[IPv6:::1]", "550 5.4.4 Mail must not go to any address of [ipv6:::1]: ::1 (loopback)")]
    [InlineData("x@[0177.0.0.1]", "550 5.1.2 The address literal cannot be read")]
    [InlineData("x@[198.51.100.9]", "550 5.4.6 Mail for [198.51.100.9] would come back to this server: 198.51.100.9 has the address 198.51.100.9, which is this server")]
    public void Without_a_way_the_failure_says_why_and_whether_to_try_again(string address, string failure, params string[] records)
    {
        using var scene = new RoutingScene(records, "dns.timeout=2s");
        Route route = scene.Find(address);
        Assert.Equal((RouteKind.Failed, failure), (route.Kind, route.Failure!.ToString()));
        Assert.Equal(failure[0] == '5', route.Failure.IsPermanent);
        Assert.Equal(failure[4], failure[0]);
    }

    [Fact]
    public void Our_own_place_in_the_list_cuts_it_off()
    {
        using var scene = new RoutingScene(
        [
            "a.test MX 5 best.test", "a.test MX 10 mx.local.test", "a.test MX 10 same.test", "a.test MX 20 worse.test",
            "b.test MX 5 best.test", "b.test MX 10 alias.test", "b.test MX 20 worse.test",
            "best.test A 192.0.2.1", "same.test A 192.0.2.2", "worse.test A 192.0.2.3", "alias.test A 198.51.100.9",
        ]);
        Assert.Equal(["best.test[192.0.2.1]:25"], scene.Hops(scene.Find("x@a.test")));
        Assert.Equal(["best.test[192.0.2.1]:25"], scene.Hops(scene.Find("x@b.test")));
    }

    [Fact]
    public void Addresses_that_DNS_must_not_lead_to_are_passed_over_unless_the_route_says_so()
    {
        string[] records = ["a.test MX 5 m.test", "m.test A 127.0.0.1", "m.test A 192.0.2.1", "m.test AAAA ::ffff:10.0.0.1"];
        using (var scene = new RoutingScene(records))
        {
            Assert.Equal(["m.test[192.0.2.1]:25"], scene.Hops(scene.Find("x@a.test")));
            Assert.Contains(
                "m.test has the address 127.0.0.1: loopback, not used", scene.Explain("x@a.test").Notes, StringComparer.Ordinal);
        }

        using (var scene = new RoutingScene(records, "route.table=a.test=mx private"))
        {
            Assert.Equal(3, scene.Hops(scene.Find("x@a.test")).Length);
        }
    }

    [Theory]
    [InlineData("x@b.test", "127.0.0.1:2525", "127.0.0.1[127.0.0.1]:2525", "b.test=[127.0.0.1]:2525")]
    [InlineData("x@b.test", "host.test:2525", "host.test[192.0.2.5]:2525", "b.test=host.test:2525")]
    [InlineData("x@b.test", "lmtp:unix:/run/x", "unix:/run/x", "b.test=lmtp:unix:/run/x")]
    [InlineData("x@b.test", "lmtp:host.test:24", "host.test[192.0.2.5]:24", "b.test=lmtp:host.test:24")]
    [InlineData("x@b.test", "b.test:2525", "host.test[192.0.2.5]:2525", "b.test=mx:2525")]
    [InlineData("x@sub.b.test", "192.0.2.9:25", "192.0.2.9[192.0.2.9]:25", "b.test=refuse", ".b.test=192.0.2.9:25")]
    [InlineData("x@deep.sub.b.test", "192.0.2.9:25", "192.0.2.9[192.0.2.9]:25", "*=refuse", ".b.test=192.0.2.8:25", ".sub.b.test=192.0.2.9:25")]
    [InlineData("Ann@b.test", "192.0.2.9:25", "192.0.2.9[192.0.2.9]:25", "b.test=refuse", "ann@B.test=192.0.2.9:25")]
    [InlineData("x@other.test", "[2001:db8::2]:25", "2001:db8::2[2001:db8::2]:25", "b.test=refuse", "*=[2001:db8::2]:25")]
    public void The_most_exact_route_holds(string address, string destination, string hop, params string[] table)
    {
        using var scene = new RoutingScene(
            ["host.test A 192.0.2.5", "b.test MX 1 host.test"], $"route.table={string.Join(',', table)}");
        Route route = scene.Find(address);
        Assert.Equal([hop], scene.Hops(route));
        Assert.Equal(destination, route.Destination);
        Assert.StartsWith("route.table '", route.DecidedBy, StringComparison.Ordinal);
        Assert.Same(route, scene.Find(address)); // until DNS must be asked again
    }

    [Fact]
    public void Hosted_mail_stays_here_whatever_the_routes_say()
    {
        using var scene = new RoutingScene([], "route.table=*=192.0.2.1:25, u@local.test=refuse", "relay.smarthost=192.0.2.2");
        Assert.Equal(RouteKind.Local, scene.Find("U+tag@local.test").Kind);
    }

    [Fact]
    public void The_smarthost_takes_what_no_route_takes_and_a_password_goes_only_to_a_verified_host()
    {
        string file = Path.GetTempFileName();
        File.WriteAllText(file, "open sesame\nignored\n");
        using var scene = new RoutingScene(
            ["smart.test A 192.0.2.5"], "relay.smarthost=smtp://me%40b.test@smart.test", $"relay.smarthost_password_file={file}",
            "route.table=b.test=192.0.2.1");
        Route route = scene.Find("x@a.test");
        File.Delete(file); // it was read at the start
        Assert.Equal("me@b.test", route.Credentials!.User);
        Assert.False(route.AllowsCleartextAuth);
        Assert.DoesNotContain("sesame", route.Credentials.ToString(), StringComparison.Ordinal);
        Assert.Equal(["smart.test[192.0.2.5]:587"], scene.Hops(route));
        Assert.Equal("verify (a password is sent there)", route.Hosts[0].Hops.First().Tls.ToString());
        Assert.Same(route, scene.Find("y@c.test"));
        Assert.Equal(["192.0.2.1[192.0.2.1]:25"], scene.Hops(scene.Find("x@b.test")));
        Assert.Equal(("192.0.2.1:25", "me@b.test@smart.test:587"), (scene.Find("x@b.test").Destination, route.Destination));
    }

    [Fact]
    public void A_next_hop_that_the_operator_has_misspelt_defers_mail_and_does_not_return_it()
    {
        using var scene = new RoutingScene([], "relay.smarthost=gone.test", "route.table=b.test=127.0.0.9:25");
        Assert.Equal("451 4.4.4 gone.test has no address", scene.Find("x@a.test").Failure!.ToString());
        Assert.Equal("4.4.6", scene.Find("x@b.test").Failure!.Status);
    }

    [Fact]
    public void Options_of_a_line_are_the_routes()
    {
        using var scene = new RoutingScene(
            [], "route.table=b.test=192.0.2.1:26 tls=verify name=mail.b.test source=192.0.2.77, c.test=smtps://192.0.2.1",
            "relay.source=192.0.2.78, 2001:db8::78", "relay.tls=none");
        Route b = scene.Find("x@b.test");
        TlsDemand tls = b.Hosts[0].Hops.First().Tls;
        Assert.Equal((TlsLevel.Verify, "mail.b.test"), (tls.Level, tls.ServerName));
        Assert.Equal(IPAddress.Parse("192.0.2.77"), b.SourceFor(AddressFamily.InterNetwork));
        Assert.Null(b.SourceFor(AddressFamily.InterNetworkV6));
        Route c = scene.Find("x@c.test");
        NextHop hop = c.Hosts[0].Hops.First();
        Assert.True(hop.IsImplicitTls);
        Assert.Equal((TlsLevel.Encrypt, 465), (hop.Tls.Level, ((IPEndPoint)hop.EndPoint).Port));
        Assert.Equal(IPAddress.Parse("2001:db8::78"), c.SourceFor(AddressFamily.InterNetworkV6));
    }

    [Fact]
    public void Questions_alike_are_asked_once_and_the_answer_is_kept()
    {
        using var scene = new RoutingScene(Mail);
        RoutingScene.Asking[] asked = scene.OnLoop(
            () => (RoutingScene.Asking[])[scene.Begin("a@example.org"), scene.Begin("b@example.org"), scene.Begin("c@EXAMPLE.org")]);
        Route route = asked[0].Answer();
        Assert.All(asked, asking => Assert.Same(route, asking.Answer()));
        Assert.False(asked[0].IsKnownAtOnce);
        RoutingScene.Asking later = scene.Begin("d@example.org");
        Assert.Same(route, later.Answer());
        Assert.True(later.IsKnownAtOnce);
        Assert.Single(scene.Dns.Asked, question => question.Type == FastMail.Protocol.Dns.DnsType.Mx);
        Assert.Equal(5, scene.Dns.Asked.Count);
    }

    [Fact]
    public void What_was_forgotten_is_asked_anew()
    {
        using var scene = new RoutingScene(Mail);
        _ = scene.Find("x@example.org");
        scene.Dns.Remove("example.org");
        scene.Dns.Add("example.org MX 1 mx2.example.org");
        Assert.Equal(2, scene.Find("x@example.org").Hosts.Count);
        scene.OnLoop(() =>
        {
            scene.Router.Forget("example.org");
            return true;
        });
        Assert.Equal(["mx2.example.org[192.0.2.2]:25"], scene.Hops(scene.Find("x@example.org")));
    }

    [Fact]
    public void Only_the_families_that_are_wanted_are_looked_up()
    {
        using var scene = new RoutingScene(Mail, "relay.ip=ipv4");
        Assert.DoesNotContain(scene.Hops(scene.Find("x@example.org")), hop => hop.Contains("2001", StringComparison.Ordinal));
        Assert.DoesNotContain(scene.Dns.Asked, question => question.Type == FastMail.Protocol.Dns.DnsType.Aaaa);
    }

    [Fact]
    public void An_internationalised_domain_is_asked_for_by_its_A_labels()
    {
        using var scene = new RoutingScene(["xn--bcher-kva.test A 192.0.2.4"]);
        Assert.Equal(["xn--bcher-kva.test[192.0.2.4]:25"], scene.Hops(scene.Find("x@Bücher.test")));
    }

    [Theory]
    [InlineData("127.0.0.1", "loopback")]
    [InlineData("10.0.0.1", "private")]
    [InlineData("172.31.255.255", "private")]
    [InlineData("172.32.0.0", null)]
    [InlineData("192.168.1.1", "private")]
    [InlineData("100.64.0.1", "private")]
    [InlineData("169.254.169.254", "link-local")]
    [InlineData("0.0.0.0", "unspecified")]
    [InlineData("224.0.0.1", "multicast")]
    [InlineData("255.255.255.255", "reserved")]
    [InlineData("8.8.8.8", null)]
    [InlineData("::", "unspecified")]
    [InlineData("::1", "loopback")]
    [InlineData("fe80::1", "link-local")]
    [InlineData("fd00::1", "private")]
    [InlineData("ff02::1", "multicast")]
    [InlineData("::ffff:127.0.0.1", "loopback")]
    [InlineData("::127.0.0.1", "loopback")]
    [InlineData("64:ff9b::a00:1", "private")]
    [InlineData("2002:7f00:1::", "loopback")]
    [InlineData("2002:808:808::", null)]
    [InlineData("2a00:1450:4001::1", null)]
    public void Addresses_that_mean_something_only_here_are_told_apart(string address, string? kind) =>
        Assert.Equal(kind, ForbiddenAddress.KindOf(IPAddress.Parse(address)));

    [Theory]
    [InlineData("route.table", "b.test")]
    [InlineData("route.table", "=127.0.0.1")]
    [InlineData("route.table", "b.test=")]
    [InlineData("route.table", "b.test=127.1:25")]
    [InlineData("route.table", "b.test=2001:db8::1")]
    [InlineData("route.table", "b.test=127.0.0.1:0")]
    [InlineData("route.table", "b.test=127.0.0.1:65536")]
    [InlineData("route.table", "b.test=127.0.0.1 tls=dane")]
    [InlineData("route.table", "b.test=127.0.0.1 tsl=may")]
    [InlineData("route.table", "b.test=mx user=me")]
    [InlineData("route.table", "b..test=127.0.0.1")]
    [InlineData("route.table", "b.test=smtp://me:secret@host.test")]
    [InlineData("route.table", "b.test=smtp://me@host.test tls=may")]
    [InlineData("route.table", "b.test=smtps://host.test tls=none")]
    [InlineData("relay.smarthost", "smtp://")]
    [InlineData("relay.tls", "always")]
    [InlineData("relay.source", "192.0.2.1, 192.0.2.2")]
    public void What_cannot_be_a_route_is_refused_by_its_key(string key, string value)
    {
        var e = Assert.Throws<FastMail.Server.Configuration.SettingException>(() =>
            FastMail.Server.Configuration.Settings.Load(null, [new(key, value, "test")]));
        Assert.Contains(key, e.Message, StringComparison.Ordinal);
    }
}
