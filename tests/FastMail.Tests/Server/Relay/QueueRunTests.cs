using System.Net.Sockets;
using FastMail.Server.Queue;
using FastMail.Tests.Server.Defence;
using FastMail.Tests.Server.Dns;
using Xunit;
using static FastMail.Tests.Server.Relay.ClockedRelay;

namespace FastMail.Tests.Server.Relay;

/// <summary>ETRN (RFC 1985) on a whole server whose clock the test sets.</summary>
public sealed class QueueRunTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task It_makes_what_waits_for_the_node_due_and_nothing_else(bool isRestarted)
    {
        var clock = new HandClock();
        using var dns = new ZoneServer("lost.test FAIL MX");
        bool isBack = false;
        using var host = new ScriptedHost(
            line => line.StartsWith("RCPT", StringComparison.Ordinal) && !Volatile.Read(ref isBack) ? "450 4.2.0 later" : null);
        await using ServerFixture fixture = await StartAsync(
            clock, host, "relay.retry_min=1h", "relay.from=127.0.0.0/8", $"dns.servers={dns.EndPoint}");
        Submit(fixture, "BODY=7BIT", ["b@relay.test"]);
        Submit(fixture, "BODY=7BIT", ["c@lost.test"]);
        await RelayTests.Until(() =>
        {
            clock.Advance(TimeSpan.FromMilliseconds(100)); // for the name server
            return fixture.Server.Queue.List(new QueueSelector()).All(entry => entry.Attempts == 1);
        });
        if (isRestarted)
        {
            await fixture.RestartAsync();
        }

        Volatile.Write(ref isBack, true);
        using Socket client = fixture.Connect("mx");
        Talk.ReadLine(client);
        SayAll(client, "EHLO c.test");
        Assert.StartsWith("250", Say(client, "ETRN relay.test"), StringComparison.Ordinal);
        Assert.Equal("b@relay.test", Assert.Single(host.Next().Recipients));
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 1);
        clock.Advance(TimeSpan.FromSeconds(11));
        Assert.StartsWith("251", Say(client, "ETRN relay.test"), StringComparison.Ordinal);
        QueueEntry other = Assert.Single(fixture.Server.Queue.List(new QueueSelector()));
        Assert.Equal(("c@lost.test", 1), (other.To, other.Attempts));
        Assert.Equal("waits for its time", (await ExplainAsync(fixture)).Recipients.Single().Place!.Doing);
    }
}
