using System.Net.Sockets;
using System.Text;
using FastMail.Server.Receive;
using FastMail.Server.Retention;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.Server;

/// <summary>Somebody sets the wall clock, far and back, while the server runs.</summary>
public sealed class ClockJumpTests
{
    private static readonly TimeSpan[] Jumps =
    [
        TimeSpan.FromDays(365), TimeSpan.FromDays(-730), TimeSpan.FromHours(1), TimeSpan.FromHours(-1),
        TimeSpan.FromHours(-1), TimeSpan.FromDays(366), TimeSpan.FromSeconds(-1),
    ];

    private readonly byte[] _buffer = new byte[64 * 1024];

    [Fact]
    public async Task Sessions_go_on_and_transaction_ids_stay_unique_and_in_order()
    {
        var clock = new JumpingClock();
        await using ServerFixture fixture = await ServerFixture.StartAsync(clock, "limits.command_timeout=10min");
        using Socket smtp = fixture.Connect("mx");
        using Socket idle = fixture.Connect("mx");
        using Socket pop = fixture.Connect("pop3");
        foreach (Socket client in (Socket[])[smtp, idle, pop])
        {
            Say(client, "");
        }

        Say(smtp, "HELO c.test\r\n");
        List<string> ids = [Deliver(smtp)];
        foreach (TimeSpan jump in Jumps)
        {
            clock.Jump(jump);
            ids.Add(Deliver(smtp));
            await Task.Delay(250); // two ticks of the timing wheel, in which a deadline of the wall clock would pass
            Assert.StartsWith("250", Say(idle, "NOOP\r\n"), StringComparison.Ordinal);
        }

        Assert.Equal(ids.Order(StringComparer.Ordinal).Distinct(StringComparer.Ordinal), ids, StringComparer.Ordinal);
        Say(pop, "USER u@local.test\r\n");
        Say(pop, $"PASS {ServerFixture.Password}\r\n");
        Assert.StartsWith($"+OK {ids.Count} ", Say(pop, "STAT\r\n"), StringComparison.Ordinal);
    }

    [Fact]
    public void Transaction_ids_grow_wherever_the_wall_clock_is_set()
    {
        var clock = new HandClock();
        var intake = new Intake(clock, limitBytes: 1);
        long last = intake.NextTransactionId();
        foreach (TimeSpan jump in Jumps)
        {
            clock.Jump(jump);
            for (int i = 0; i < 3; i++)
            {
                long next = intake.NextTransactionId();
                Assert.True(next > last);
                last = next;
            }
        }
    }

    [Fact]
    public void A_clock_set_forward_removes_no_mail_for_a_day()
    {
        var clock = new HandClock();
        var doubt = new ClockDoubt(clock, clock.GetUtcNow());
        clock.Advance(TimeSpan.FromDays(3));
        Assert.False(doubt.IsInDoubt(out _)); // time that passed is no jump

        clock.Jump(TimeSpan.FromDays(365));
        Assert.True(doubt.IsInDoubt(out bool isNew));
        Assert.True(isNew);
        clock.Advance(ClockDoubt.Length - TimeSpan.FromMinutes(1));
        Assert.True(doubt.IsInDoubt(out isNew));
        Assert.False(isNew);
        clock.Advance(TimeSpan.FromMinutes(1));
        Assert.False(doubt.IsInDoubt(out _)); // nobody has set it back: it is right now

        clock.Jump(TimeSpan.FromDays(-365));
        Assert.False(doubt.IsInDoubt(out _)); // mail looks younger than it is
    }

    private string Deliver(Socket smtp)
    {
        Say(smtp, "MAIL FROM:<a@example.com>\r\n");
        Say(smtp, "RCPT TO:<u@local.test>\r\n");
        Say(smtp, "DATA\r\n");
        string reply = Say(smtp, "Subject: x\r\n\r\nx\r\n.\r\n");
        Assert.StartsWith("250 2.0.0 Ok: queued as ", reply, StringComparison.Ordinal);
        return reply.TrimEnd()["250 2.0.0 Ok: queued as ".Length..];
    }

    private string Say(Socket socket, string line) => Encoding.ASCII.GetString(
        _buffer, 0, Dialog.Say(socket, Encoding.ASCII.GetBytes(line), "\r\n"u8, _buffer));

    /// <summary>The system's clock, with a wall clock that can be set. Any thread.</summary>
    private sealed class JumpingClock : TimeProvider
    {
        private long _shift;

        public void Jump(TimeSpan by) => Interlocked.Add(ref _shift, by.Ticks);

        public override DateTimeOffset GetUtcNow() => base.GetUtcNow().AddTicks(Interlocked.Read(ref _shift));
    }
}
