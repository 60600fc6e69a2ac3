using FastMail.Protocol.Dns;
using FastMail.Server.Relay.Routing;
using FastMail.Tests.Protocol.Dns;
using FastMail.Tests.Server.Dns;
using Xunit;

namespace FastMail.Tests.Server.Relay.Routing;

/// <summary>
/// DNS that is down, slow or hostile: mail is deferred with 4.4.3, questions are bounded, and other domains feel nothing.
/// </summary>
public sealed class HostileDnsTests
{
    private const string Unanswered = "451 4.4.3 The MX of bad.test cannot be looked up: no answer in time";

    private static readonly string[] Good = ["good.test MX 1 m.good.test", "m.good.test A 192.0.2.1"];

    [Fact]
    public void A_silent_server_defers_mail_and_delays_no_other_domain()
    {
        using var scene = new RoutingScene([.. Good, "bad.test SILENT"], "dns.timeout=2s");
        RoutingScene.Asking bad = scene.Begin("x@bad.test");
        Assert.Equal("good.test", scene.Find("x@good.test").Destination);
        Assert.Equal(Unanswered, bad.Answer().Failure!.ToString());
        Assert.Equal(2, scene.Dns.Asked.Count(question => question is { Name: "bad.test", Type: DnsType.Mx }));
        Assert.Same(bad.Answer(), scene.Find("y@bad.test")); // the failure is remembered for a while
    }

    [Fact]
    public void A_server_may_stop_while_a_question_is_open()
    {
        RoutingScene.Asking open;
        using (var scene = new RoutingScene(["bad.test SILENT"], "dns.timeout=60s"))
        {
            open = scene.Begin("x@bad.test");
            Assert.True(SpinWait.SpinUntil(() => !scene.Dns.Asked.IsEmpty, TimeSpan.FromSeconds(30)));
        }

        Assert.False(open.IsAnswered);
    }

    [Theory]
    [InlineData("FAIL")]
    [InlineData("SILENT")]
    public void A_failure_is_believed_for_seconds_and_longer_each_time_it_is_found_again(string failure)
    {
        var clock = new HurriedClock();
        using var scene = new RoutingScene(new ZoneServer($"bad.test {failure}"), clock, "dns.timeout=1s");
        int asked = 0;
        foreach (int seconds in (int[])[5, 10, 20, 40, 40])
        {
            Assert.False(scene.Find("x@bad.test").Failure!.IsPermanent);
            Assert.True(scene.Dns.Asked.Count > asked);
            asked = scene.Dns.Asked.Count;
            clock.Hurry(TimeSpan.FromSeconds(seconds - 3));
            _ = scene.Find("x@bad.test");
            Assert.Equal(asked, scene.Dns.Asked.Count); // one failure answers for all mail of that time
            clock.Hurry(TimeSpan.FromSeconds(4));
        }

        scene.Dns.Remove("bad.test");
        scene.Dns.Add("bad.test MX 1 m.bad.test");
        scene.Dns.Add("m.bad.test A 192.0.2.1");
        clock.Hurry(TimeSpan.FromSeconds(41));
        Assert.Equal("bad.test", scene.Find("x@bad.test").Destination);
    }

    [Fact]
    public void A_server_that_is_not_there_is_passed_over()
    {
        var dead = new ZoneServer();
        dead.Dispose();
        using var dns = new ZoneServer(Good);
        using var scene = new RoutingScene(dns, $"dns.servers={dead.EndPoint}, {dns.EndPoint}", "dns.timeout=60s");
        Assert.Equal("good.test", scene.Find("x@good.test").Destination);
    }

    [Fact]
    public void A_server_that_fails_is_passed_over_while_another_is_left()
    {
        using var failing = new ZoneServer("good.test FAIL", "m.good.test REFUSED");
        using var dns = new ZoneServer(Good);
        using var scene = new RoutingScene(dns, $"dns.servers={failing.EndPoint}, {dns.EndPoint}", "dns.timeout=60s");
        Assert.Equal("good.test", scene.Find("x@good.test").Destination);
        Assert.NotEmpty(failing.Asked);
    }

    [Fact]
    public void Five_hundred_mail_exchangers_lead_to_less_than_thirty_questions_and_five_addresses()
    {
        string[] records =
        [
            .. Enumerable.Range(0, 500).Select(i => $"big.test MX {1000 - i} m{i}.big.test"),
            .. Enumerable.Range(0, 500).SelectMany(i => (string[])[$"m{i}.big.test A 192.0.2.{i % 250}", $"m{i}.big.test AAAA 2001:db8::{i:x}"]),
        ];
        using var scene = new RoutingScene(records);
        Route route = scene.Find("x@big.test");
        Assert.InRange(scene.Dns.Asked.Count, 3, 30);
        Assert.Contains(scene.Dns.Asked, question => question is { Type: DnsType.Mx, IsStream: true }); // too long for a datagram
        Assert.Equal(5, scene.Hops(route).Length);
        Assert.StartsWith("m499.big.test[", scene.Hops(route)[0], StringComparison.Ordinal); // the best of all, not of the first
    }

    [Fact]
    public void A_long_answer_comes_over_TCP()
    {
        string[] records = [.. Enumerable.Range(1, 200).Select(i => $"long.test A 192.0.2.{i}"), "good.test MX 1 long.test"];
        using var scene = new RoutingScene(records);
        Assert.Equal(5, scene.Hops(scene.Find("x@good.test")).Length);
        Assert.Equal(2, scene.Dns.Asked.Count(question => question is { Name: "long.test", Type: DnsType.A }));
    }

    [Fact]
    public void A_server_that_does_not_know_EDNS0_is_asked_without()
    {
        using var dns = new ZoneServer(Good) { IsOld = true };
        using var scene = new RoutingScene(dns);
        Assert.Equal("good.test", scene.Find("x@good.test").Destination);
    }

    [Fact]
    public void A_chain_of_names_is_followed_and_one_without_end_is_given_up()
    {
        using var scene = new RoutingScene(
        [
            "alias.test CNAME second.test", "second.test CNAME good.test", .. Good,
            "loop.test CNAME pool.test", "pool.test CNAME loop.test",
            .. Enumerable.Range(0, 15).Select(i => $"c{i}.test CNAME c{i + 1}.test"), "c15.test MX 1 m.good.test",
        ]);
        Assert.Equal(["m.good.test[192.0.2.1]:25"], scene.Hops(scene.Find("x@alias.test")));
        Assert.Equal(
            "451 4.4.3 The MX of loop.test cannot be looked up: the answer cannot be read",
            scene.Find("x@loop.test").Failure!.ToString());
        Assert.Equal("4.4.3", scene.Find("x@c0.test").Failure!.Status);
    }

    [Fact]
    public void Answers_with_another_id_or_to_another_question_are_not_believed()
    {
        using var dns = new ZoneServer(["bad.test MX 1 evil.test", "evil.test A 192.0.2.66", .. Good])
        {
            Distort = response => response.AsSpan(12, 4).SequenceEqual("\u0003bad"u8) ? [(byte)~response[0], .. response[1..]] : response,
        };
        using var scene = new RoutingScene(dns, "dns.timeout=2s");
        Assert.Equal(Unanswered, scene.Find("x@bad.test").Failure!.ToString());
        Assert.Equal("good.test", scene.Find("x@good.test").Destination);
    }

    [Fact]
    public void Names_that_would_break_a_log_line_are_no_hosts()
    {
        byte[] evil = [3, (byte)'a', (byte)'\r', (byte)'\n', 4, .. "test"u8, 0];
        using var dns = new ZoneServer("bad.test MX 1 x.test")
        {
            Distort = response => new Responses((ushort)((response[0] << 8) | response[1]), answers: 1)
                .Question("bad.test", DnsType.Mx).Record([0xc0, 0x0c], DnsType.Mx, 60, [0, 1, .. evil]).Octets,
        };
        using var scene = new RoutingScene(dns);
        Assert.Equal("550 5.4.4 No MX of bad.test is the name of a host", scene.Find("x@bad.test").Failure!.ToString());
    }

    [Fact]
    public void Broken_octets_behind_the_header_defer_mail()
    {
        Random random = new(5);
        for (int i = 0; i < 50; i++)
        {
            int seed = random.Next();
            using var dns = new ZoneServer("bad.test MX 1 m.test", "m.test A 192.0.2.1")
            {
                Distort = response =>
                {
                    byte[] noise = new byte[40];
                    new Random(seed).NextBytes(noise);
                    return [.. response[..26], .. noise]; // header and question stand
                },
            };
            using var scene = new RoutingScene(dns, "dns.timeout=400ms");
            Route route = scene.Find("x@bad.test");
            Assert.True(route.Failure is { Status: "4.4.3" or "5.4.4" }, $"seed {seed}: {route.Kind} {route.Failure}");
        }
    }

    [Fact]
    public void More_questions_than_may_be_under_way_wait_for_their_turn()
    {
        string[] domains = [.. Enumerable.Range(0, 1000).Select(i => $"d{i}.test")];
        using var scene = new RoutingScene([.. domains.Select(d => $"{d} MX 1 m.test"), "m.test A 192.0.2.1"]);
        RoutingScene.Asking[] asked = [.. domains.Select(domain => scene.Begin("x@" + domain))];
        Assert.All(asked, asking => Assert.Equal(RouteKind.Remote, asking.Answer().Kind));
    }

    [Fact]
    public void A_negative_answer_is_remembered_for_the_time_of_its_zone()
    {
        using var scene = new RoutingScene(["x.test TXT x"]);
        Assert.Equal("5.1.2", scene.Find("x@gone.test").Failure!.Status);
        Assert.Equal("5.1.2", scene.Find("y@gone.test").Failure!.Status);
        Assert.Single(scene.Dns.Asked, question => question is { Name: "gone.test", Type: DnsType.Mx });
    }
}
