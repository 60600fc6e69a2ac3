using FastMail.Server.Queue;
using FastMail.Server.Relay.Scheduling;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>What a destination costs: connections, and looks at what waits.</summary>
public sealed class DestinationTests
{
    [Fact]
    public void What_is_parked_is_looked_for_once_when_its_destination_answers_again()
    {
        var clock = new HandClock();
        var schedule = new DeliverySchedule(new ScheduleOptions(), clock, new Random(1));
        Destination destination = schedule.Find("host");
        for (int round = 1; round <= 2; round++)
        {
            while (!schedule.Fails(destination, destination.Epoch, "no answer"))
            {
            }

            for (uint i = 0; i < 100; i++)
            {
                schedule.Park(schedule.Make(i + 1, 0), destination);
            }

            clock.Advance(TimeSpan.FromMinutes(1));
            while (schedule.TakeAwake(out _) is not null)
            {
            }

            schedule.Opened(destination);
            int went = 0;
            for (; schedule.TakeDue() is { } due; went++)
            {
                schedule.Free(due);
                schedule.Works(destination, isForGood: true);
            }

            Assert.Equal(100, went);
            Assert.Equal(round, schedule.Walks);
        }
    }

    [Fact]
    public void A_rate_that_is_used_up_opens_no_connection_and_is_waited_for_in_one_place()
    {
        var clock = new HandClock();
        var schedule = new DeliverySchedule(new ScheduleOptions { PerMinute = 6 }, clock, new Random(1));
        Destination destination = schedule.Find("host");
        for (uint i = 0; i < 50; i++)
        {
            schedule.MakeReady(schedule.Make(i + 1, 0), destination);
        }

        for (int sent = 1; sent <= 50; sent++)
        {
            Assert.Same(destination, schedule.TakeOpening());
            Assert.Null(schedule.TakeOpening()); // another one would have nothing to do
            schedule.Opened(destination);
            schedule.Free(schedule.Take(destination)!);
            for (int i = 0; i < 20; i++) // whoever asks
            {
                Assert.Null(schedule.Take(destination));
            }

            schedule.Closed(destination);
            Assert.Null(schedule.TakeOpening());
            Assert.Null(schedule.TakeAwake(out _));
            if (sent < 50)
            {
                Assert.InRange(schedule.NextDue!.Value - schedule.Now, 9_000_000, 10_000_001);
                clock.Advance(TimeSpan.FromSeconds(10.1));
                Assert.Same(destination, schedule.TakeAwake(out _));
                Assert.Null(schedule.TakeAwake(out _));
            }
        }
    }

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
