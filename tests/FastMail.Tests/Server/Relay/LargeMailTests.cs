using System.Net.Sockets;
using FastMail.Server.Queue;
using FastMail.Storage;
using FastMail.Tests.Server.Defence;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>Messages whose body is a file of its own, of which only so many are read at one time.</summary>
public sealed class LargeMailTests
{
    [Fact]
    public async Task What_cannot_be_read_now_is_not_begun_and_loses_no_attempt()
    {
        using var host = new ScriptedHost();
        await using ServerFixture fixture = await RelayTests.StartAsync(host, "relay.from=127.0.0.0/8");
        List<BodyReading> others = [];
        while (fixture.Log.TryBeginReading(default, BodyUse.Delivery, () => { }) is { } reading)
        {
            others.Add(reading);
        }

        string line = new string('x', 900) + "\r\n";
        Submit(fixture, "Subject: large\r\n\r\n" + string.Concat(Enumerable.Repeat(line, 5000)));
        await Task.Delay(TimeSpan.FromSeconds(2.5)); // it looks more than once

        Assert.DoesNotContain(host.Commands, command => command.StartsWith("MAIL", StringComparison.Ordinal));
        Assert.Equal(0, Assert.Single(fixture.Server.Queue.List(new QueueSelector())).Attempts);
        others.ForEach(reading => reading.Close());
        Assert.Equal(5000 * line.Length, host.Next().Content.Split("\r\n\r\n", 2)[1].Length);
    }

    private static void Submit(ServerFixture fixture, string content)
    {
        using Socket client = fixture.Connect("mx");
        Talk.ReadLine(client);
        foreach (string command in (string[])["EHLO c.test", "MAIL FROM:<a@far.test>", "RCPT TO:<b@relay.test>", "DATA", content + "."])
        {
            Assert.Contains(ClockedRelay.Say(client, command)[0], "23");
        }
    }
}
