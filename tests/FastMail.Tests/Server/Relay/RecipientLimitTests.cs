using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>Hosts that take only so many recipients at once: the others go in the next transactions, without a wait.</summary>
public sealed class RecipientLimitTests
{
    private static readonly string[] Five = [.. Enumerable.Range(0, 5).Select(i => $"r{i}@relay.test")];

    [Theory]
    [InlineData("550 5.7.1 no more", "PIPELINING", "LIMITS RCPTMAX=2")]
    [InlineData("554 5.7.1 no more", "LIMITS RCPTMAX=2 MAILMAX=1")]
    public async Task No_transaction_has_more_recipients_than_the_host_says_that_it_takes(string refusal, params string[] extensions)
    {
        using ScriptedHost host = TakingTwo(refusal, extensions);
        await using ServerFixture fixture = await StartAsync(host);
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", Five);
        Assert.Equal([2, 2, 1], Enumerable.Range(0, 3).Select(_ => host.Next().Recipients.Count));
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(5, ClockedRelay.Tries(host)); // nobody was refused
    }

    [Theory]
    [InlineData("452 4.5.3 too many")]
    [InlineData("552 5.5.3 too many")]
    [InlineData("552 too many")]
    public async Task Recipients_who_are_too_many_go_at_once_behind_the_others(string refusal)
    {
        using ScriptedHost host = TakingTwo(refusal);
        await using ServerFixture fixture = await StartAsync(host);
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", Five);
        string[] taken = [.. Enumerable.Range(0, 3).SelectMany(_ => host.Next().Recipients)];
        Assert.Equal(Five, taken.Order(StringComparer.Ordinal), StringComparer.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
    }

    private static Task<ServerFixture> StartAsync(ScriptedHost host) =>
        RelayTests.StartAsync(host, "relay.from=127.0.0.0/8", "relay.retry_min=1h", "relay.concurrency=1");

    /// <summary>Two recipients of each transaction, on one connection at a time.</summary>
    private static ScriptedHost TakingTwo(string refusal, params string[] extensions)
    {
        int recipients = 0;
        return new ScriptedHost(
            line =>
            {
                recipients = line.StartsWith("MAIL", StringComparison.Ordinal) ? 0 : recipients;
                return line.StartsWith("RCPT", StringComparison.Ordinal) && ++recipients > 2 ? refusal : null;
            },
            extensions);
    }
}
