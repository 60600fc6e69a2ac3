using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FastMail.Protocol.Dns;
using FastMail.Server.Relay.Routing;
using FastMail.Tests.Server.Dns;
using FastMail.Tests.Server.Relay.Sts;
using Xunit;

namespace FastMail.Tests.Server.Relay.Routing;

/// <summary>Certificates that a zone names (RFC 7672): only with proofs, and then without a way around.</summary>
public sealed class DaneTests
{
    private const string Digest = "0000000000000000000000000000000000000000000000000000000000000000";

    private static readonly string[] Records =
        ["a.test MX 1 m.a.test", "m.a.test A 192.0.2.1", $"_25._tcp.m.a.test TLSA 3 1 1 {Digest}"];

    [Fact]
    public void Proved_records_bind()
    {
        using var dns = new ZoneServer(Records) { IsAuthentic = true };
        using var scene = new RoutingScene(dns, "dns.trust_ad=on");
        TlsDemand tls = scene.Find("x@a.test").Hosts[0].Hops.First().Tls;
        Assert.Equal("dane (TLSA of _25._tcp.m.a.test)", tls.ToString());
        Assert.Equal("m.a.test", tls.ServerName);
        Assert.NotNull(tls.Judge(isChainTrusted: true, isNameRight: true, isVouchedFor: false));
        Assert.Null(tls.Judge(isChainTrusted: false, isNameRight: false, isVouchedFor: true));
    }

    [Theory]
    [InlineData("dns.trust_ad=off", "")]
    [InlineData("dns.trust_ad=on", "a.test")]
    [InlineData("dns.trust_ad=on", "m.a.test")]
    [InlineData("dns.trust_ad=on", "_25._tcp.m.a.test")]
    [InlineData("relay.dane=off", "")]
    [InlineData("relay.tls=none", "")]
    [InlineData("route.table=*=mx tls=may", "")]
    public void Without_a_proof_of_every_step_they_do_not(string setting, string unproven)
    {
        using var dns = new ZoneServer(Records) { IsAuthentic = true, Unproven = { unproven } };
        using var scene = new RoutingScene(dns, "dns.trust_ad=on", setting);
        Assert.True(scene.Find("x@a.test").Hosts[0].Hops.First().Tls.Level <= TlsLevel.May);
    }

    [Theory]
    [InlineData("FAIL", "AAAA")]
    [InlineData("REFUSED", "AAAA")]
    [InlineData("FAIL", "A")]
    public void They_bind_also_when_the_addresses_of_one_family_are_kept_from_us(string fate, string family)
    {
        using var dns = new ZoneServer([.. Records, "m.a.test AAAA 2001:db8::1", $"m.a.test {fate} {family}"]) { IsAuthentic = true };
        using var scene = new RoutingScene(dns, "dns.trust_ad=on");
        NextHop hop = Assert.Single(scene.Find("x@a.test").Hosts[0].Hops);
        Assert.Equal("dane (TLSA of _25._tcp.m.a.test)", hop.Tls.ToString());
    }

    [Fact]
    public void An_address_without_a_proof_stays_so_when_those_of_the_other_family_are_kept_from_us()
    {
        using var dns = new ZoneServer([.. Records, "m.a.test FAIL AAAA"]) { IsAuthentic = true, Unproven = { "m.a.test" } };
        using var scene = new RoutingScene(dns, "dns.trust_ad=on");
        Assert.Equal(TlsLevel.May, Assert.Single(scene.Find("x@a.test").Hosts[0].Hops).Tls.Level);
    }

    [Fact]
    public void Records_that_nobody_can_use_demand_TLS_with_any_certificate()
    {
        using var dns = new ZoneServer([.. Records[..2], $"_25._tcp.m.a.test TLSA 1 1 1 {Digest}"]) { IsAuthentic = true };
        using var scene = new RoutingScene(dns, "dns.trust_ad=on");
        Assert.Equal(TlsLevel.Encrypt, scene.Find("x@a.test").Hosts[0].Hops.First().Tls.Level);
    }

    [Fact]
    public void A_host_whose_records_are_kept_from_us_is_not_used()
    {
        using var dns = new ZoneServer([.. Records[..2], "_25._tcp.m.a.test FAIL", "a.test MX 2 n.a.test", "n.a.test A 192.0.2.2"])
        {
            IsAuthentic = true,
        };
        using var scene = new RoutingScene(dns, "dns.trust_ad=on");
        Assert.Equal(["n.a.test[192.0.2.2]:25"], scene.Hops(scene.Find("x@a.test")));
        dns.Add("_25._tcp.n.a.test FAIL");
        scene.OnLoop(() =>
        {
            scene.Router.Forget(null);
            return true;
        });
        Assert.Equal("451 4.7.5 The TLSA records of the mail exchangers of a.test cannot be looked up", scene.Find("x@a.test").Failure!.ToString());
    }

    [Theory]
    [InlineData("", "", "x.b.test")] // all of the way is proved
    [InlineData("", "_25._tcp.x.b.test", "m.a.test")] // but the records there: its own
    [InlineData("_25._tcp.x.b.test FAIL", "", null)]
    [InlineData("", "m.a.test A", "m.a.test")] // the alias is, and not what is behind it
    [InlineData("", "m.a.test", "")] // nothing is
    [InlineData("m.a.test FAIL CNAME", "m.a.test A", null)]
    public void The_records_of_an_alias_are_those_of_the_name_behind_it_or_else_its_own(string more, string unproven, string? domain)
    {
        using var dns = new ZoneServer(
            [
                "a.test MX 1 m.a.test", "m.a.test CNAME y.b.test", "y.b.test CNAME x.b.test", "x.b.test A 192.0.2.1",
                "m.a.test FAIL AAAA", $"_25._tcp.m.a.test TLSA 3 1 1 {Digest}", $"_25._tcp.x.b.test TLSA 3 1 1 {Digest}",
            ])
        {
            IsAuthentic = true,
            Unproven = { unproven },
        };
        if (more.Length > 0)
        {
            dns.Add(more);
        }

        using var scene = new RoutingScene(dns, "dns.trust_ad=on");
        Route route = scene.Find("x@a.test");
        if (domain is null)
        {
            Assert.Equal("4.7.5", route.Failure?.Status);
            return;
        }

        TlsDemand tls = Assert.Single(route.Hosts[0].Hops).Tls;
        Assert.Equal(domain.Length > 0 ? TlsLevel.Dane : TlsLevel.May, tls.Level);
        Assert.Equal(domain.Length > 0 ? domain : "m.a.test", tls.ServerName);
    }

    [Fact]
    public void Certificates_match_by_themselves_or_by_their_authority()
    {
        using var host = new PolicyHost("m.a.test");
        using var stranger = new PolicyHost("m.a.test");
        using X509Certificate2 leaf = host.Issue("m.a.test");
        ReadOnlyMemory<byte>[] shown = [leaf.RawData, host.Authority.RawData];
        byte[] key = leaf.PublicKey.ExportSubjectPublicKeyInfo();
        bool Matches(TlsaRecord record, string name = "m.a.test", ReadOnlyMemory<byte>[]? chain = null) =>
            DaneCheck.Matches([record], name, chain ?? shown);

        Assert.True(Matches(new(3, 1, 1, SHA256.HashData(key)), "any.name"));
        Assert.True(Matches(new(3, 1, 2, SHA512.HashData(key))));
        Assert.True(Matches(new(3, 0, 0, leaf.RawData)));
        Assert.False(Matches(new(3, 0, 1, SHA256.HashData(host.Authority.RawData))));
        Assert.False(Matches(new(3, 1, 1, SHA256.HashData(leaf.RawData))));
        Assert.False(Matches(new(1, 1, 1, SHA256.HashData(key))));

        var anchor = new TlsaRecord(2, 0, 1, SHA256.HashData(host.Authority.RawData));
        Assert.True(Matches(anchor));
        Assert.False(Matches(anchor, "other.test"));
        Assert.True(DaneCheck.Matches([anchor], "other.test", shown, "m.a.test"));
        Assert.False(DaneCheck.Matches([anchor], "other.test", shown, "third.test"));
        Assert.False(Matches(anchor, chain: [leaf.RawData])); // the anchor must be shown
        using X509Certificate2 forged = stranger.Issue("m.a.test"); // its authority has the same name and another key
        Assert.False(Matches(anchor, chain: [forged.RawData, host.Authority.RawData]));
        Assert.False(DaneCheck.Matches([anchor], "m.a.test", []));
        Assert.False(DaneCheck.Matches([anchor], "m.a.test", [new byte[] { 1, 2, 3 }]));
    }
}
