using System.Net;
using FastMail.Server.Configuration;
using FastMail.Server.Defence;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Server.Defence;

public sealed class ClientAdmissionTests
{
    private static readonly IPAddress Alice = IPAddress.Parse("192.0.2.1");
    private static readonly IPAddress Bob = IPAddress.Parse("192.0.2.2");

    private readonly HandClock _clock = new();

    [Fact]
    public void The_connection_over_the_limit_of_its_address_waits_for_another_to_leave()
    {
        ClientAdmission door = Door(new ClientLimits { PerAddress = 2, NewAtOnce = 100 });
        Assert.Equal([true, true, false], Enter(door, Alice, 3));
        Assert.True(door.TryEnter(Bob));
        door.Leave(Alice);
        Assert.Equal([true, false], Enter(door, Alice, 2));
        Assert.Equal(2, door.Refused);
    }

    [Fact]
    public void A_mapped_address_is_its_IPv4_address()
    {
        ClientAdmission door = Door(new ClientLimits { PerAddress = 1 });
        Assert.True(door.TryEnter(Alice.MapToIPv6()));
        Assert.False(door.TryEnter(Alice));
        door.Leave(Alice);
        Assert.True(door.TryEnter(Alice));
    }

    [Fact]
    public void All_addresses_of_an_IPv6_64_count_as_one_client_and_those_of_the_next_do_not()
    {
        ClientAdmission door = Door(new ClientLimits { PerAddress = 2, PerNetwork = 3 });
        Assert.Equal([true, true, false], Enter(door, IPAddress.Parse("2001:db8::1"), 3));
        Assert.Equal([true, false], Enter(door, IPAddress.Parse("2001:db8::ffff:2"), 2));
        Assert.Equal([true, true], Enter(door, IPAddress.Parse("2001:db8:0:1::1"), 2));
        door.Leave(IPAddress.Parse("2001:db8::1"));
        Assert.True(door.TryEnter(IPAddress.Parse("2001:db8::3")));
    }

    [Fact]
    public void A_64_and_its_first_address_are_counted_apart()
    {
        ClientAdmission door = Door(new ClientLimits { PerAddress = 1, PerNetwork = 2 });
        Assert.True(door.TryEnter(IPAddress.Parse("2001:db8::")));
        Assert.True(door.TryEnter(IPAddress.Parse("2001:db8::1")));
        Assert.False(door.TryEnter(IPAddress.Parse("2001:db8::2")));
    }

    [Fact]
    public void New_connections_may_come_in_a_burst_and_then_at_the_rate()
    {
        ClientAdmission door = Door(new ClientLimits { NewPerMinute = 60, NewAtOnce = 3 });
        Assert.Equal([true, true, true, false], EnterAndLeave(door, Alice, 4));
        Assert.Equal([true], EnterAndLeave(door, Bob, 1));
        _clock.Advance(TimeSpan.FromSeconds(2));
        Assert.Equal([true, true, false], EnterAndLeave(door, Alice, 3));
        _clock.Advance(TimeSpan.FromDays(1));
        Assert.Equal([true, true, true, false], EnterAndLeave(door, Alice, 4));
    }

    [Fact]
    public void A_wall_clock_that_jumps_changes_nothing()
    {
        ClientAdmission door = Door(new ClientLimits { NewPerMinute = 60, NewAtOnce = 1 });
        Assert.Equal([true, false], EnterAndLeave(door, Alice, 2));
        _clock.Jump(TimeSpan.FromDays(365));
        Assert.Equal([false], EnterAndLeave(door, Alice, 1));
        _clock.Jump(TimeSpan.FromDays(-730));
        _clock.Advance(TimeSpan.FromSeconds(1));
        Assert.Equal([true], EnterAndLeave(door, Alice, 1));
    }

    [Fact]
    public void Exempt_networks_know_no_limit()
    {
        ClientAdmission door = Door(new ClientLimits { PerAddress = 1, NewAtOnce = 1 }, "192.0.2.0/31");
        Assert.All(Enter(door, Alice, 100), Assert.True);
        Assert.All(Enter(door, Alice.MapToIPv6(), 100), Assert.True);
        door.Leave(Alice);
        Assert.Equal([true, false], Enter(door, Bob, 2));
    }

    [Fact]
    public void The_table_stays_small_however_many_clients_come_and_keeps_those_that_are_here()
    {
        ClientTable table = new(remembered: 100, burst: 2, perMinute: 60);
        ClientNetwork here = ClientNetwork.Host(Alice);
        table.Enter(here, 0);
        for (int i = 0; i < 10_000; i++)
        {
            ClientNetwork guest = ClientNetwork.Host(new IPAddress(0x0a000000L + i));
            Assert.True(table.TrySpend(guest, i));
            table.Enter(guest, i);
            table.Leave(guest);
            Assert.InRange(table.Count, 1, 101);
        }

        Assert.Equal(1, table.Open(here));
    }

    [Fact]
    public void Any_order_of_coming_and_going_counts_like_a_plain_count() =>
        Prop.ForAll(
            ArbMap.Default.ArbFor<byte[]>(),
            steps =>
            {
                ClientTable table = new(remembered: 3, burst: 1, perMinute: 0);
                int[] open = new int[8];
                for (int i = 0; i < steps.Length; i++)
                {
                    int who = steps[i] & 7;
                    ClientNetwork client = ClientNetwork.Host(new IPAddress(who + 1));
                    if ((steps[i] & 8) == 0)
                    {
                        table.Enter(client, i);
                        open[who]++;
                    }
                    else if (open[who] > 0)
                    {
                        table.Leave(client);
                        open[who]--;
                    }

                    if (table.Open(client) != open[who] || table.Count > open.Count(n => n > 0) + 3)
                    {
                        return false;
                    }
                }

                return true;
            }).QuickCheckThrowOnFailure();

    private static bool[] Enter(ClientAdmission door, IPAddress client, int times) =>
        [.. Enumerable.Range(0, times).Select(_ => door.TryEnter(client))];

    private static bool[] EnterAndLeave(ClientAdmission door, IPAddress client, int times) =>
    [
        .. Enumerable.Range(0, times).Select(_ =>
        {
            bool isIn = door.TryEnter(client);
            if (isIn)
            {
                door.Leave(client);
            }

            return isIn;
        }),
    ];

    private ClientAdmission Door(ClientLimits limits, string exempt = "") =>
        new(limits, new Exemptions(Values.Networks(exempt)), _clock);
}
