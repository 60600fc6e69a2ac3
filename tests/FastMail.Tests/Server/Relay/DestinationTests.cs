using FastMail.Server.Queue;
using FastMail.Server.Relay.Scheduling;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>What a destination costs: connections, and looks at what waits.</summary>
public sealed class DestinationTests
{
    [Fact]
    public async Task A_host_that_refuses_all_for_now_gets_no_more_connections_for_it()
    {
        using var host = new ScriptedHost(line => line.StartsWith("MAIL", StringComparison.Ordinal) ? "451 4.3.2 later" : null);
        await using ServerFixture fixture = await RelayTests.StartAsync(
            host, "relay.from=127.0.0.0/8", "relay.idle_time=1min", "relay.retry_min=1h");
        const int Messages = 40;
        for (int i = 0; i < Messages; i++)
        {
            RelayTests.Send(fixture, "mx", "a@elsewhere.test", $"b{i}@relay.test");
        }

        await RelayTests.Until(() => host.Commands.Count(c => c.StartsWith("MAIL", StringComparison.Ordinal)) >= Messages
            && fixture.Server.Queue.List(new QueueSelector()).All(entry => entry.State == "deferred"));
        QueueDestination destination = Assert.Single(await fixture.Server.Engine.ReadDestinationsAsync(CancellationToken.None));
        Assert.Equal(5, destination.Concurrency);
    }
}
