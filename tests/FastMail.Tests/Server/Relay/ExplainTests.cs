using FastMail.Protocol.Dns;
using FastMail.Server.Queue;
using FastMail.Server.Relay.Routing;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>What <c>queue explain</c> tells of mail that is being relayed.</summary>
public sealed class ExplainTests
{
    private const string Trusted = "relay.from=127.0.0.0/8";

    [Fact]
    public async Task Each_attempt_tells_by_what_rule_it_went_where_and_how_it_was_protected()
    {
        await using ServerFixture secure = await ServerFixture.StartAsync(Trusted, "route.table=*=127.0.0.1:1");
        using var plain = new ScriptedHost(line => line.StartsWith("RCPT", StringComparison.Ordinal) ? "450 4.2.1 later" : null);
        int port = secure.Server.Listeners.EndPointOf("mx")!.Port;
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            Trusted,
            $"route.table=s.test=127.0.0.1:{port},one.test=127.0.0.1:{plain.Port},two.test=127.0.0.1:{plain.Port},*=mx");
        string[] to = ["u@s.test", "u@one.test", "u@two.test", "u@[127.0.0.2]"];
        Assert.StartsWith("250", RelayTests.Send(fixture, "mx", "", to), StringComparison.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 2
            && fixture.Server.Queue.List(new QueueSelector()).All(entry => entry.State == "deferred"));

        for (int life = 0; life < 2; life++)
        {
            QueueMessage told = await ClockedRelay.ExplainAsync(fixture);
            Assert.Equal("received", told.Steps[0].State);
            Assert.Equal(["routed", "delivered"], StatesOf(told, "u@s.test"));
            Assert.Equal(["routed", "deferred"], StatesOf(told, "u@one.test"));
            Assert.Equal(["routed", "deferred"], StatesOf(told, "u@two.test"));
            Assert.Equal(["routed", "failed"], StatesOf(told, "u@[127.0.0.2]"));
            Assert.Equal($"goes to 127.0.0.1:{port}, decided by: route.table 's.test=127.0.0.1:{port}'", Step(told, "u@s.test", 0).Text);
            Assert.Equal($"goes to 127.0.0.1:{plain.Port}, decided by: route.table 'one.test=127.0.0.1:{plain.Port}'", Step(told, "u@one.test", 0).Text);
            Assert.Equal($"goes to 127.0.0.1:{plain.Port}, decided by: route.table 'two.test=127.0.0.1:{plain.Port}'", Step(told, "u@two.test", 0).Text);
            Assert.EndsWith("decided by: route.table '*=mx'", Step(told, "u@[127.0.0.2]", 0).Text, StringComparison.Ordinal);
            Assert.Matches(
                @"^TLSv1\.[23] TLS_\w+, certificate not verified \(opportunistic, relay\.tls\)$", Step(told, "u@s.test", 1).Tls);
            Assert.Equal("in the clear", Step(told, "u@one.test", 1).Tls);
            Assert.Contains("450 4.2.1 later", Step(told, "u@one.test", 1).Text, StringComparison.Ordinal);
            Assert.NotNull(Step(told, "u@one.test", 1).Due);
            Assert.Null(Step(told, "u@[127.0.0.2]", 1).Tls);
            await fixture.RestartAsync();
        }
    }

    [Fact]
    public async Task Mail_that_waits_is_told_with_the_way_it_would_go_by_now()
    {
        using var host = new ScriptedHost(line => line.StartsWith("RCPT", StringComparison.Ordinal) ? "450 4.2.1 later" : null);
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            Trusted, $"route.table=one.test=127.0.0.1:{host.Port},two.test=127.0.0.1:{host.Port}");
        RelayTests.Send(fixture, "mx", "", "u@one.test");
        await RelayTests.Until(() => fixture.Server.Queue.List(new QueueSelector()).All(entry => entry.State == "deferred"));
        await ClockedRelay.ApplyAsync(fixture, QueueAction.Hold);
        await ClockedRelay.ApplyAsync(fixture, QueueAction.Redirect, "u@two.test");

        QueueMessage told = await ClockedRelay.ExplainAsync(fixture);
        Assert.Equal(["received", "routed", "deferred", "held", "held", "routed"], told.Steps.Select(step => step.State), StringComparer.Ordinal);
        Assert.Equal($"goes to 127.0.0.1:{host.Port}, decided by: route.table 'two.test=127.0.0.1:{host.Port}'", told.Steps[^1].Text);
    }

    [Fact]
    public async Task What_goes_into_a_maildrop_here_is_told_so()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(Trusted, "route.table=*=127.0.0.1:1");
        RelayTests.Send(fixture, "mx", "", ["a@one.test", "b@one.test"]);
        await RelayTests.Until(() => fixture.Server.Queue.List(new QueueSelector()).All(entry => entry.State == "deferred"));
        QueueEntry one = fixture.Server.Queue.List(new QueueSelector()).First();
        QueueActionResult result = await fixture.Server.Engine.ApplyAsync(
            QueueAction.Redirect, [(one.Seq, one.Recipient)], new QueueActionOptions("u@local.test"), CancellationToken.None);
        Assert.Equal(1, result.Changed);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 1);

        QueueMessage told = await ClockedRelay.ExplainAsync(fixture);
        Assert.Equal(["routed", "deferred", "ready", "routed", "delivered"], StatesOf(told, "a@one.test"));
        Assert.Equal("is delivered here, decided by: hosted domain", Step(told, "a@one.test", 3).Text);
    }

    [Theory]
    [InlineData(TlsLevel.May, "certificate not verified (opportunistic, why)")]
    [InlineData(TlsLevel.Encrypt, "certificate not verified (encrypt, why)")]
    [InlineData(TlsLevel.Verify, "certificate verified by WebPKI (why)")]
    [InlineData(TlsLevel.Dane, "certificate verified by DANE (why)")]
    public void What_was_demanded_of_the_certificate_is_told(object level, string words) =>
        Assert.Equal(words, new TlsDemand((TlsLevel)level, "mx.test", "why", records: new List<TlsaRecord>()).Tell());

    private static string[] StatesOf(QueueMessage told, string to) => [.. Steps(told, to).Select(step => step.State)];

    private static QueueStep Step(QueueMessage told, string to, int number) => Steps(told, to).ElementAt(number);

    private static IEnumerable<QueueStep> Steps(QueueMessage told, string to) => told.Steps.Where(step => step.To == to);
}
