using System.Net.Sockets;
using System.Text;
using FastMail.Server.Retention;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server.Retention;

/// <summary>What is kept long enough goes, and nothing else, and not under anybody's eyes.</summary>
public sealed class ExpungerTests
{
    private readonly byte[] _buffer = new byte[64 * 1024];

    [Fact]
    public async Task Messages_go_after_their_days_unless_a_session_has_the_maildrop_open()
    {
        var clock = new ShiftedClock();
        await using ServerFixture fixture = await ServerFixture.StartAsync(clock, "retention.days=10");
        Deliver(fixture, "u@local.test", 2);
        Deliver(fixture, "v@local.test", 1);
        clock.Shift = TimeSpan.FromDays(6);
        Deliver(fixture, "u@local.test", 1);
        Assert.Equal(0, fixture.Server.Expunger.Round());

        clock.Shift = TimeSpan.FromDays(11);
        using (Socket pop = LogIn(fixture, "u@local.test"))
        {
            Assert.Equal(1, fixture.Server.Expunger.Round()); // v's
            Assert.Contains("+OK 3 ", Say(pop, "STAT\r\n"), StringComparison.Ordinal);
            Say(pop, "QUIT\r\n");
            Assert.Equal(0, pop.Receive(_buffer)); // closed, so the lock is given back
        }

        Assert.Equal(2, fixture.Server.Expunger.Round());
        Assert.Equal(0, fixture.Server.Expunger.Round());
        using Socket again = LogIn(fixture, "u@local.test");
        Assert.Contains("+OK 1 ", Say(again, "STAT\r\n"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Without_a_rule_everything_stays()
    {
        var clock = new ShiftedClock();
        await using ServerFixture fixture = await ServerFixture.StartAsync(clock);
        Deliver(fixture, "u@local.test", 1);
        clock.Shift = TimeSpan.FromDays(36500);

        Assert.Equal(0, fixture.Server.Expunger.Round());
    }

    [Fact]
    public async Task A_maildrop_that_cannot_be_read_waits_for_the_next_round_and_the_others_do_not()
    {
        var clock = new ShiftedClock();
        var disk = new ScriptedDisk();
        await using ServerFixture fixture = await ServerFixture.StartAsync(clock, disk, "retention.days=10");
        Deliver(fixture, "u@local.test", 1);
        Deliver(fixture, "v@local.test", 1);
        await fixture.RestartAsync(); // the end of the log made a checkpoint, from which both are read now
        clock.Shift = TimeSpan.FromDays(11);
        string? failing = null;
        disk.Script = (call, name) =>
        {
            if (call != "populate" || !name.StartsWith("shard-", StringComparison.Ordinal))
            {
                return 0;
            }

            failing ??= name;
            return name == failing ? 5 : 0; // EIO
        };
        Assert.Equal(1, fixture.Server.Expunger.Round());
        Assert.NotNull(failing);

        disk.Script = static (_, _) => 0;
        Assert.Equal(1, fixture.Server.Expunger.Round());
    }

    [Fact]
    public async Task A_clock_that_a_restart_finds_far_ahead_is_not_trusted_and_one_that_went_on_is()
    {
        var clock = new ShiftedClock();
        await using ServerFixture fixture = await ServerFixture.StartAsync(clock, "retention.days=10");
        TrustedTime.Write(fixture.Directory, clock.GetUtcNow());
        Deliver(fixture, "u@local.test", 1);
        clock.Shift = TimeSpan.FromDays(365);
        await fixture.RestartAsync();
        Deliver(fixture, "v@local.test", 1); // the log goes on with the wrong time
        await fixture.RestartAsync();
        fixture.Server.Expunger.Look();
        Assert.Equal(1, fixture.Server.Expunger.Round()); // u's was still there

        TrustedTime.Write(fixture.Directory, clock.GetUtcNow());
        clock.Shift += TimeSpan.FromHours(23);
        await fixture.RestartAsync();
        fixture.Server.Expunger.Look();
        Assert.True(clock.GetUtcNow() - TrustedTime.Read(fixture.Directory) < TimeSpan.FromHours(1));
    }

    private void Deliver(ServerFixture fixture, string address, int count)
    {
        using Socket smtp = fixture.Connect("mx");
        Say(smtp, "");
        Say(smtp, "HELO client.test\r\n");
        for (int i = 0; i < count; i++)
        {
            Say(smtp, "MAIL FROM:<a@example.com>\r\n");
            Assert.StartsWith("250", Say(smtp, $"RCPT TO:<{address}>\r\n"), StringComparison.Ordinal);
            Say(smtp, "DATA\r\n");
            Assert.StartsWith("250", Say(smtp, "Subject: x\r\n\r\nx\r\n.\r\n"), StringComparison.Ordinal);
        }
    }

    private Socket LogIn(ServerFixture fixture, string address)
    {
        Socket pop = fixture.Connect("pop3");
        Say(pop, "");
        Say(pop, $"USER {address}\r\n");
        Assert.StartsWith("+OK", Say(pop, $"PASS {ServerFixture.Password}\r\n"), StringComparison.Ordinal);
        return pop;
    }

    private string Say(Socket socket, string line)
    {
        int length = Dialog.Say(socket, Encoding.ASCII.GetBytes(line), "\r\n"u8, _buffer);
        return Encoding.ASCII.GetString(_buffer, 0, length);
    }

    /// <summary>The system's clock with another date.</summary>
    private sealed class ShiftedClock : TimeProvider
    {
        public TimeSpan Shift { get; set; }

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow() + Shift;
    }
}
