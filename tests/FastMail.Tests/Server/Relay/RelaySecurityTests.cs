using FastMail.Server.Dkim;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>What protects mail on its way: TLS to the next hop, and the domain's signature. Two whole servers.</summary>
public sealed class RelaySecurityTests
{
    [Fact]
    public async Task Mail_travels_over_TLS_where_the_next_hop_offers_it()
    {
        using var host = new ScriptedHost();
        await using ServerFixture next = await RelayTests.StartAsync(host, "relay.from=127.0.0.0/8");
        await using ServerFixture first = await StartBefore(next, "");
        Assert.StartsWith("250", RelayTests.Send(first, "mx", "a@elsewhere.test", "b@relay.test"), StringComparison.Ordinal);
        string mail = host.Next().Content;
        Assert.Contains("Received: from first.test", mail, StringComparison.Ordinal);
        Assert.Contains("with ESMTPS", mail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task A_next_hop_whose_certificate_is_not_its_own_gets_nothing_where_that_is_demanded()
    {
        using var host = new ScriptedHost();
        await using ServerFixture next = await RelayTests.StartAsync(host, "relay.from=127.0.0.0/8");
        await using ServerFixture first = await StartBefore(next, $" tls=verify,other.test=127.0.0.1:{host.Port} tls=encrypt");
        Assert.StartsWith("250", RelayTests.Send(first, "mx", "a@elsewhere.test", ["b@relay.test", "b@other.test"]), StringComparison.Ordinal);
        await RelayTests.Until(() => host.Connections > 1);
        Assert.DoesNotContain(host.Commands, command => command.StartsWith("MAIL", StringComparison.Ordinal));
        Assert.Equal(2, first.Log.Queue.Recipients);
        Assert.Equal(0, next.Log.Statistics.Records);
    }

    [Fact]
    public async Task A_domain_with_a_key_has_its_mail_signed_and_all_the_others_go_as_they_are()
    {
        using var host = new ScriptedHost(null, "PIPELINING");
        await using ServerFixture fixture = await RelayTests.StartAsync(host, "relay.from=127.0.0.0/8");
        var keys = new DkimFiles(fixture.Directory);
        keys.Make("local.test", "s1", 2048);
        keys.Activate("local.test", "s1");
        await fixture.RestartAsync();
        for (int i = 0; i < 20; i++)
        {
            RelayTests.Send(fixture, "mx", "u@local.test", $"b{i}@relay.test");
        }

        for (int i = 0; i < 20; i++)
        {
            TakenMail mail = host.Next();
            Assert.StartsWith("DKIM-Signature: v=1; a=rsa-sha256;", mail.Content, StringComparison.Ordinal);
            Assert.Contains("Received: ", mail.Content, StringComparison.Ordinal);
        }
    }

    private static Task<ServerFixture> StartBefore(ServerFixture next, string policy) => ServerFixture.StartAsync(
        "relay.from=127.0.0.0/8",
        $"route.table=relay.test=127.0.0.1:{next.Server.Listeners.EndPointOf("mx")!.Port}{policy}",
        "relay.retry_min=1s",
        "server.hostname=first.test");
}
