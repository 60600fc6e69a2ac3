using FastMail.Server.Queue;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>What has come of attempts, in numbers, and those of which nobody knows.</summary>
public sealed class DoubtTests
{
    [Fact]
    public async Task What_may_have_arrived_is_counted_and_told_and_so_is_what_else_has_been()
    {
        int sent = 0;
        using var host = new ScriptedHost(line =>
            line == "." && Interlocked.Increment(ref sent) == 1 ? ""
            : null);
        await using ServerFixture fixture = await RelayTests.StartAsync(
            host, "relay.from=127.0.0.0/8", "relay.retry_min=30min");
        RelayTests.Send(fixture, "mx", "u@local.test", ["b@relay.test", "c@relay.test"]);
        await RelayTests.Until(() => Volatile.Read(ref sent) == 1);
        QueueStats during = await fixture.Server.Queue.CountAsync(CancellationToken.None);
        Assert.Equal((2, 1), (during.Destinations.Single().UnderWay, during.Destinations.Single().Connections));
        host.Dispose(); // in the middle of it

        QueueEntry[] waiting = [];
        await RelayTests.Until(() =>
        {
            waiting = [.. fixture.Server.Queue.List(new QueueSelector())];
            return waiting.All(entry => entry.Attempts == 1);
        });
        Assert.All(waiting, entry => Assert.EndsWith("(the message may have arrived)", entry.Reply, StringComparison.Ordinal));
        Assert.Equal(new QueueTotals(0, 2, 0, 2, 0), await TotalsAsync(fixture));
    }

    [Fact]
    public async Task What_ends_is_counted_since_the_start()
    {
        using var host = new ScriptedHost(line => line.Contains("never@", StringComparison.Ordinal) ? "550 5.1.1 nobody" : null);
        await using ServerFixture fixture = await RelayTests.StartAsync(host, "relay.from=127.0.0.0/8");
        RelayTests.Send(fixture, "mx", "u@local.test", ["b@relay.test", "never@relay.test"]);
        RelayTests.Fetch(fixture, "u@local.test");
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(new QueueTotals(1, 0, 1, 0, 1), await TotalsAsync(fixture));
    }

    private static async Task<QueueTotals?> TotalsAsync(ServerFixture fixture) =>
        (await fixture.Server.Queue.CountAsync(CancellationToken.None)).Totals;
}
