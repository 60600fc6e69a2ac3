using FastMail.Server.Relay.Scheduling;
using FastMail.Tests.Server.Defence;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>The schedule with hosts and a clock of numbers: hours pass in milliseconds, and every run can be had again.</summary>
public sealed class ScheduleTests
{
    private static readonly TimeSpan Soon = TimeSpan.FromMilliseconds(20);

    [Fact]
    public void Everything_arrives_once_whatever_the_hosts_do()
    {
        for (int seed = 1; seed <= 30; seed++)
        {
            try
            {
                ArrivesOnce(seed);
            }
            catch (Exception e) when (e is InvalidOperationException or Xunit.Sdk.XunitException)
            {
                Assert.Fail($"seed {seed}: {e.Message}");
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Whom_an_operator_has_sent_elsewhere_is_looked_up_also_when_it_meets_others(bool isFirst)
    {
        var schedule = new DeliverySchedule(new ScheduleOptions(), new HandClock(), new Random(1));
        Destination destination = schedule.Find("x");
        for (uint recipient = 0; recipient < 2; recipient++)
        {
            Consignment consignment = schedule.Make(7, recipient);
            consignment.IsStale = recipient == 0 == isFirst;
            schedule.MakeReady(consignment, destination);
        }

        Consignment both = schedule.Take(destination)!;
        Assert.Equal(2, both.Count);
        Assert.True(both.IsStale);
    }

    [Fact]
    public void Recipients_that_meet_again_in_any_order_are_found()
    {
        Prop.ForAll<uint[], int>((recipients, seed) =>
        {
            uint[] order = [.. recipients.Distinct()];
            new Random(seed).Shuffle(order);
            Consignment? all = null;
            for (int i = 0; i < order.Length;)
            {
                var some = new Consignment();
                some.Begin(7, order[i++]);
                if (i < order.Length && i % 3 == 0)
                {
                    var more = new Consignment();
                    more.Begin(7, order[i++]);
                    some.Add(more);
                }

                all?.Add(some);
                all ??= some;
            }

            Array.Sort(order);
            return all is null
                || (order.Select((recipient, place) => all[place] == recipient && all.PlaceOf(recipient) == place).All(isFound => isFound)
                    && all.Count == order.Length
                    && (order[^1] == uint.MaxValue || !all.Contains(order[^1] + 1)));
        }).QuickCheckThrowOnFailure();
    }

    private static void ArrivesOnce(int seed)
    {
        var random = new Random(seed);
        var hosts = new SimulatedHost[random.Next(1, 12)];
        for (int i = 0; i < hosts.Length; i++)
        {
            hosts[i] = new SimulatedHost(
                $"host{i}",
                TimeSpan.FromMilliseconds(random.Next(1, 5000)),
                random.Next(3) == 0 ? TimeSpan.FromMinutes(random.Next(600)) : default,
                random.Next(3) == 0 ? random.Next(80) : 0,
                random.Next(3) == 0 ? random.Next(60) : 0,
                random.Next(3) == 0 ? random.Next(1, 4) : int.MaxValue);
        }

        var relay = new SimulatedRelay(seed, new ScheduleOptions { Connections = random.Next(1, 40) }, hosts);
        int recipients = 0;
        for (int i = 0; i < 400; i++)
        {
            int[] to = [.. Enumerable.Range(0, random.Next(1, 6)).Select(_ => random.Next(hosts.Length))];
            recipients += to.Length;
            relay.Enter(
                TimeSpan.FromSeconds(random.Next(7200)), (ulong)i + 1, (uint)random.Next(5), random.Next(4) == 0 ? 3 : 0, to);
        }

        relay.Run(TimeSpan.FromDays(20));
        Assert.Equal(0, relay.Undelivered);
        Assert.Equal(recipients, relay.Delivered.Count);
        Assert.Equal(0, relay.Schedule.Connections);
        Assert.Equal(0, relay.Schedule.Waiting);
    }

    [Fact]
    public void What_was_taken_and_put_back_goes_before_all_that_waits()
    {
        var schedule = new DeliverySchedule(new ScheduleOptions(), TimeProvider.System, new Random(1));
        Destination destination = schedule.Find("host");
        for (uint i = 0; i < 10_000; i++)
        {
            Consignment consignment = schedule.Make(i + 1, 0);
            consignment.Sender = i % 5000;
            schedule.MakeReady(consignment, destination);
        }

        // Signed by other threads, 64 at a time: what has been signed must go before its signature is forgotten.
        var order = new List<ulong>();
        var signing = new Queue<Consignment>();
        var signed = new HashSet<ulong>();
        while (order.Count < 10_000)
        {
            while (signing.Count < 64 && schedule.Take(destination) is { } taken)
            {
                if (signed.Remove(taken.Seq))
                {
                    order.Add(taken.Seq);
                    schedule.Free(taken);
                }
                else
                {
                    signing.Enqueue(taken);
                }
            }

            if (signing.TryDequeue(out Consignment? done))
            {
                signed.Add(done.Seq);
                schedule.PutBack(done, destination);
                Assert.Equal(destination.Ready.Consignments, destination.Ready.Recipients);
            }

            Assert.InRange(signed.Count, 0, 64);
        }

        Assert.Equal(10_000, order.Distinct().Count());
        Assert.Equal(0, destination.Ready.Consignments);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void What_was_put_back_is_counted_once_by_the_rate(int putBack)
    {
        var clock = new HandClock();
        var schedule = new DeliverySchedule(new ScheduleOptions { PerMinute = 60 }, clock, new Random(1));
        Destination destination = schedule.Find("host");
        for (uint i = 0; i < 60; i++)
        {
            schedule.MakeReady(schedule.Make(i + 1, 0), destination);
        }

        var seen = new HashSet<ulong>();
        int sent = 0;
        for (int tick = 0; tick < 300; tick++) // half a minute
        {
            while (schedule.Take(destination) is { } taken)
            {
                if (putBack > 0 && seen.Add(taken.Seq))
                {
                    schedule.PutBack(taken, destination);
                }
                else
                {
                    schedule.Free(taken);
                    sent++;
                }
            }

            clock.Advance(TimeSpan.FromMilliseconds(100));
        }

        Assert.InRange(sent, 25, 31); // the clock is looked at ten times a second only
    }

    [Fact]
    public void A_dead_destination_delays_no_other_and_is_tried_by_one_connection_at_a_time()
    {
        var relay = new SimulatedRelay(
            1,
            new ScheduleOptions { Connections = 10 },
            new SimulatedHost("dead", TimeSpan.FromSeconds(30), TimeSpan.FromDays(9)),
            new SimulatedHost("alive", Soon));
        for (int i = 0; i < 5000; i++)
        {
            relay.Enter(TimeSpan.FromMilliseconds(i * 10), (ulong)i + 1, 1, 0, i % 5 == 0 ? 0 : 1);
        }

        relay.Run(TimeSpan.FromHours(1));
        Assert.Equal(4000, relay.Delivered.Count);
        Assert.All(relay.Delivered, d => Assert.InRange(d.Took, TimeSpan.Zero, TimeSpan.FromSeconds(1)));
        Assert.True(relay.Schedule.Find("dead").IsClosed);
    }

    [Fact]
    public void Slow_destinations_that_have_all_connections_give_way_to_one_that_has_none()
    {
        SimulatedHost[] slow = [.. Enumerable.Range(0, 4).Select(i => new SimulatedHost($"slow{i}", TimeSpan.FromSeconds(60)))];
        var relay = new SimulatedRelay(2, new ScheduleOptions { Connections = 20 }, [.. slow, new SimulatedHost("quick", Soon)]);
        for (int i = 0; i < 400; i++)
        {
            relay.Enter(TimeSpan.Zero, (ulong)i + 1, 1, 0, i % 4);
        }

        for (int i = 0; i < 50; i++)
        {
            relay.Enter(TimeSpan.FromMinutes(3), (ulong)i + 1000, 1, 0, 4);
        }

        relay.Run(TimeSpan.FromHours(10));
        Assert.Equal(450, relay.Delivered.Count);
        Assert.All(
            relay.Delivered.Where(d => d.Host == "quick"),
            d => Assert.InRange(d.Took, TimeSpan.Zero, TimeSpan.FromMinutes(2))); // one transaction of a slow one, and its own
    }

    [Fact]
    public void A_mailing_does_not_stand_in_front_of_a_letter()
    {
        var relay = new SimulatedRelay(3, new ScheduleOptions { StartConcurrency = 1, MostConcurrency = 1 }, new SimulatedHost("host", Soon));
        for (int i = 0; i < 1000; i++)
        {
            relay.Enter(TimeSpan.Zero, (ulong)i + 1, sender: 1, 0, 0);
        }

        relay.Enter(TimeSpan.FromSeconds(1), 5000, sender: 2, 0, 0);
        relay.Run(TimeSpan.FromHours(1));
        Assert.InRange(Assert.Single(relay.Delivered, d => d.Sender == 2).Took, TimeSpan.Zero, 4 * Soon);
    }

    [Fact]
    public void The_higher_priority_goes_first()
    {
        var relay = new SimulatedRelay(4, new ScheduleOptions { StartConcurrency = 1, MostConcurrency = 1 }, new SimulatedHost("host", Soon));
        for (int i = 0; i < 30; i++)
        {
            relay.Enter(TimeSpan.Zero, (ulong)i + 1, (uint)i % 3, (i % 3) - 1, 0);
        }

        relay.Run(TimeSpan.FromHours(1));
        int[] order = [.. relay.Delivered.Select(d => d.Priority)];
        Assert.Equal(order.Skip(1).OrderDescending(), order.Skip(1)); // the first went before the others had come
    }

    [Fact]
    public void A_host_that_comes_back_gets_what_waited_for_it_at_once()
    {
        var relay = new SimulatedRelay(
            5, new ScheduleOptions { RetryMin = TimeSpan.FromHours(4) }, new SimulatedHost("host", Soon, TimeSpan.FromMinutes(3)));
        for (int i = 0; i < 100; i++)
        {
            relay.Enter(TimeSpan.Zero, (ulong)i + 1, 1, 0, 0);
        }

        relay.Run(TimeSpan.FromMinutes(20));
        Assert.Equal(100, relay.Delivered.Count); // although each of them would have waited for three hours
    }

    [Fact]
    public void Concurrency_grows_by_success_and_shrinks_by_loss()
    {
        var good = new SimulatedRelay(6, new ScheduleOptions(), new SimulatedHost("host", Soon));
        var bad = new SimulatedRelay(6, new ScheduleOptions(), new SimulatedHost("host", Soon, LostPercent: 40));
        foreach (SimulatedRelay relay in new[] { good, bad })
        {
            for (int i = 0; i < 3000; i++)
            {
                relay.Enter(TimeSpan.Zero, (ulong)i + 1, 1, 0, 0);
            }

            relay.Run(TimeSpan.FromSeconds(3));
        }

        Assert.Equal(20, good.Schedule.Find("host").ConnectionLimit);
        Assert.InRange(bad.Schedule.Find("host").ConnectionLimit, 1, 5);
    }

    [Fact]
    public void A_rate_is_kept()
    {
        var relay = new SimulatedRelay(7, new ScheduleOptions { PerMinute = 120 }, new SimulatedHost("host", Soon));
        for (int i = 0; i < 600; i++)
        {
            relay.Enter(TimeSpan.Zero, (ulong)i + 1, 1, 0, 0);
        }

        relay.Run(TimeSpan.FromHours(1));
        Assert.Equal(600, relay.Delivered.Count);
        Assert.InRange(relay.Delivered[^1].At, TimeSpan.FromMinutes(4.9), TimeSpan.FromMinutes(5.2));
    }

    [Fact]
    public void Recipients_of_a_message_at_one_destination_travel_together()
    {
        var relay = new SimulatedRelay(8, new ScheduleOptions { Recipients = 100 }, new SimulatedHost("a", Soon), new SimulatedHost("b", Soon));
        relay.Enter(TimeSpan.Zero, 1, 1, 0, [.. Enumerable.Range(0, 500).Select(i => i % 2)]);
        relay.Run(TimeSpan.FromHours(1));
        Assert.Equal(500, relay.Delivered.Count);
        Assert.InRange(relay.Attempts, 6, 7); // 250 at each, 100 a transaction; the first may go alone
    }

    [Fact]
    public void Retries_grow_to_four_hours_and_mail_is_given_up_after_five_days()
    {
        var options = new ScheduleOptions();
        var schedule = new DeliverySchedule(options, new HandClock(), new Random(9));
        Consignment consignment = schedule.Make(1, 0);
        TimeSpan age = TimeSpan.Zero;
        while (!schedule.IsOver(age, consignment.Attempts))
        {
            TimeSpan delay = schedule.Defer(consignment);
            TimeSpan usual = options.DelayAfter(consignment.Attempts);
            Assert.InRange(delay, usual * 0.75, usual * 1.25);
            schedule.Remove(consignment);
            age += delay;
        }

        Assert.InRange(age, TimeSpan.FromDays(5), TimeSpan.FromDays(5.3));
        Assert.InRange(consignment.Attempts, 25, 50);
        Assert.False(schedule.IsOver(TimeSpan.FromDays(365), 1)); // the wall clock has jumped by a year
    }

    [Fact]
    public void The_due_index_gives_the_earliest_and_lets_any_one_go()
    {
        Prop.ForAll(
            ArbMap.Default.ArbFor<(short Due, bool IsRemoved)[]>(),
            waits =>
            {
                var index = new DueIndex();
                var model = new List<Consignment>();
                foreach ((short due, bool isRemoved) in waits)
                {
                    var consignment = new Consignment { Due = due };
                    index.Add(consignment);
                    model.Add(consignment);
                    if (isRemoved)
                    {
                        Consignment gone = model[(due & int.MaxValue) % model.Count];
                        index.Remove(gone);
                        model.Remove(gone);
                    }
                }

                foreach (long due in model.Select(c => c.Due).Order())
                {
                    Assert.Equal(due, index.First!.Due);
                    index.Remove(index.First);
                }

                return index.Count == 0;
            }).QuickCheckThrowOnFailure();
    }
}
