using System.Net;
using System.Text;
using FastMail.Server.Accounts;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.Server.Accounts;

public sealed class LoginGuardTests
{
    private static readonly IPAddress Attacker = IPAddress.Parse("192.0.2.1");
    private static readonly IPAddress Owner = IPAddress.Parse("198.51.100.1");

    private readonly HandClock _clock = new();

    [Fact]
    public void Failures_of_one_client_for_one_account_make_that_pair_wait()
    {
        LoginGuard guard = Make();
        Fail(guard, Attacker, "a@x.test", 10);

        Assert.False(guard.Admits(Attacker, "a@x.test"u8));
        Assert.True(guard.Admits(Attacker, "b@x.test"u8));
        Assert.True(guard.Admits(Owner, "a@x.test"u8));
    }

    [Fact]
    public void Failures_of_one_client_over_many_accounts_make_that_client_wait()
    {
        LoginGuard guard = Make();
        for (int i = 0; i < 20; i++)
        {
            Fail(guard, Attacker, $"a{i}@x.test", 1);
        }

        Assert.False(guard.Admits(Attacker, "fresh@x.test"u8));
        Assert.True(guard.Admits(Owner, "a1@x.test"u8));
    }

    [Fact]
    public void An_account_under_attack_from_everywhere_still_hears_a_client_that_never_failed()
    {
        LoginGuard guard = Make();
        for (int i = 0; i < 5000; i++)
        {
            Fail(guard, new IPAddress([10, 0, (byte)(i >> 8), (byte)i]), "a@x.test", 1);
        }

        Assert.True(guard.Admits(Owner, "a@x.test"u8));
        Assert.False(guard.Admits(new IPAddress([10, 0, 19, 135]), "a@x.test"u8)); // the last one has failed
    }

    [Fact]
    public void A_whole_slash_64_is_one_client()
    {
        LoginGuard guard = Make();
        for (int i = 1; i <= 20; i++)
        {
            Fail(guard, IPAddress.Parse($"2001:db8::{i:x}"), $"a{i}@x.test", 1);
        }

        Assert.False(guard.Admits(IPAddress.Parse("2001:db8::ffff"), "b@x.test"u8));
        Assert.True(guard.Admits(IPAddress.Parse("2001:db8:0:1::1"), "b@x.test"u8));
    }

    [Fact]
    public void Time_forgives()
    {
        LoginGuard guard = Make();
        Fail(guard, Attacker, "a@x.test", 10);
        _clock.Advance(TimeSpan.FromMinutes(1)); // a tenth of the window, a tenth of the bucket
        Assert.True(guard.Admits(Attacker, "a@x.test"u8));
        Fail(guard, Attacker, "a@x.test", 1);
        Assert.False(guard.Admits(Attacker, "a@x.test"u8));
        _clock.Advance(TimeSpan.FromMinutes(10));
        Assert.True(guard.Admits(Attacker, "a@x.test"u8));
    }

    [Fact]
    public void The_answer_takes_longer_with_each_failure_up_to_a_limit()
    {
        LoginGuard guard = Make();
        Assert.Equal(1, guard.Failed(Attacker, "a@x.test"u8).TotalSeconds);
        Assert.Equal(2, guard.Failed(Attacker, "b@x.test"u8).TotalSeconds);
        Fail(guard, Attacker, "c@x.test", 100);
        Assert.Equal(8, guard.Failed(Attacker, "a@x.test"u8).TotalSeconds);
        Assert.Equal(1, guard.Failed(Owner, "a@x.test"u8).TotalSeconds);
    }

    [Fact]
    public void A_login_forgives_the_pair()
    {
        LoginGuard guard = Make();
        Fail(guard, Attacker, "a@x.test", 9);
        guard.Succeeded(Attacker, "a@x.test"u8);
        Fail(guard, Attacker, "a@x.test", 9);
        Assert.True(guard.Admits(Attacker, "a@x.test"u8));
    }

    [Fact]
    public void A_flood_of_clients_pushes_out_those_that_failed_least()
    {
        var guard = new LoginGuard(new LoginLimits { Tracked = 64, Total = 1_000_000 }, _clock);
        Fail(guard, Attacker, "a@x.test", 20);
        for (int i = 0; i < 100_000; i++)
        {
            guard.Failed(new IPAddress([10, (byte)(i >> 16), (byte)(i >> 8), (byte)i]), Encoding.ASCII.GetBytes($"{i}"));
        }

        Assert.False(guard.Admits(Attacker, "b@x.test"u8));
    }

    private LoginGuard Make() => new(new LoginLimits(), _clock);

    private static void Fail(LoginGuard guard, IPAddress client, string account, int times)
    {
        for (int i = 0; i < times; i++)
        {
            guard.Failed(client, Encoding.ASCII.GetBytes(account));
        }
    }
}
