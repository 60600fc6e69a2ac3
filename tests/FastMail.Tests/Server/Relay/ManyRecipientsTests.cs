using System.Net;
using System.Net.Sockets;
using FastMail.Tests.Server.Defence;
using FastMail.Tests.Server.Dns;
using Xunit;
using static FastMail.Tests.Server.Relay.ClockedRelay;

namespace FastMail.Tests.Server.Relay;

/// <summary>One message to many, none of whom can be reached: its sender hears of all of them at once.</summary>
public sealed class ManyRecipientsTests
{
    private static readonly int[] Numbers = [.. Enumerable.Range(0, 20)];

    [Fact]
    public async Task A_host_that_never_answers_leads_to_one_word_of_the_delay_and_one_of_the_failure()
    {
        int port;
        using (var listener = new TcpListener(IPAddress.Loopback, 0))
        {
            listener.Start();
            port = ((IPEndPoint)listener.LocalEndpoint).Port; // nobody's from now on
        }

        var clock = new HandClock();
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            clock, $"route.table=relay.test=127.0.0.1:{port}", "relay.retry_min=30min", "relay.delay_notice=1h", "relay.lifetime=10h");
        Submit(fixture, "RET=HDRS", [.. Numbers.Select(n => $"b{n}@relay.test")]);
        await SettleAsync(fixture, clock);
        for (int i = 0; i < 100 && fixture.Log.Queue.Recipients > 0; i++)
        {
            await AdvanceAsync(fixture, clock, TimeSpan.FromMinutes(15));
        }

        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(2, Mails(fixture));
        HasAll(Retrieve(fixture, 1), "\r\nAction: delayed\r\n", "relay.test");
        HasAll(Retrieve(fixture, 2), "\r\nAction: failed\r\n", "relay.test");
    }

    [Theory]
    [InlineData("none.test")]
    [InlineData("none{0}.test")]
    public async Task Domains_that_are_not_there_lead_to_one_word_of_it(string domain)
    {
        using var dns = new ZoneServer();
        await using ServerFixture fixture = await ServerFixture.StartAsync($"dns.servers={dns.EndPoint}");
        string[] to = [.. Numbers.Select(n => $"b{n}@{string.Format(null, domain, n)}")];
        int mails = 0;
        for (int round = 0; round < 2; round++)
        {
            Submit(fixture, "RET=HDRS", to);
            await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0 && Mails(fixture) > mails);
            Assert.True(Mails(fixture) == mails + 1 || round == 0); // the names are known by now, all of them at once
            mails = Mails(fixture);
            if (mails == 1 || round == 1)
            {
                HasAll(Retrieve(fixture, mails), "\r\nAction: failed\r\n", domain);
            }
        }

        Assert.True(mails == 2 || domain.Contains('{', StringComparison.Ordinal));
    }

    private static void HasAll(string notice, string action, string domain)
    {
        Assert.Equal(Numbers.Length, notice.Split(action).Length - 1);
        Assert.All(Numbers, n => Assert.Contains(
            $"\r\nFinal-Recipient: rfc822; b{n}@{string.Format(null, domain, n)}\r\n", notice, StringComparison.Ordinal));
    }
}
