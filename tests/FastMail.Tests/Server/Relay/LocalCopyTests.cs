using System.Net.Sockets;
using System.Text;
using FastMail.Server.Accounts;
using FastMail.Server.Relay;
using FastMail.Tests.Server.Defence;
using FastMail.Tests.Storage;
using Xunit;
using static FastMail.Tests.Server.Relay.ClockedRelay;

namespace FastMail.Tests.Server.Relay;

/// <summary>Mail of the queue that goes into many maildrops of this server at one time.</summary>
public sealed class LocalCopyTests
{
    [Fact]
    public async Task Few_copies_of_large_mail_are_on_their_way_at_one_time()
    {
        const int Users = 10;
        var clock = new HandClock();
        var disk = new ScriptedDisk();
        using var mayFlush = new ManualResetEventSlim();
        int copies = 0;
        await using ServerFixture fixture = await ServerFixture.StartAsync(clock, disk);
        using (AccountStore store = AccountStore.Open(fixture.Directory))
        {
            PasswordHash password = PasswordHash.Create(Encoding.ASCII.GetBytes(ServerFixture.Password), iterations: 10);
            for (int i = 0; i < Users; i++)
            {
                store.TryAdd($"w{i}@local.test", password, DateTimeOffset.UnixEpoch);
            }
        }

        await fixture.RestartAsync();
        fixture.Server.Engine.Fault = (step, _) => copies += step == DeliveryStep.Storing ? 1 : 0;
        string content = "Subject: hello\r\n\r\n" + string.Concat(Enumerable.Repeat(new string('x', 70) + "\r\n", 3 * 1024 * 1024 / 72));
        using Socket client = Login(fixture, out _);
        foreach (string command in (string[])
            ["MAIL FROM:<u@local.test> HOLDFOR=60", .. Enumerable.Range(0, Users).Select(i => $"RCPT TO:<w{i}@local.test>"), "DATA", content + "."])
        {
            Assert.Matches("^[23]", Say(client, command));
        }

        disk.Script = (call, _) =>
        {
            if (call == "flush")
            {
                mayFlush.Wait(TimeSpan.FromSeconds(30));
            }

            return 0;
        };
        try
        {
            clock.Advance(TimeSpan.FromSeconds(61));
            await RelayTests.Until(() => Volatile.Read(ref copies) >= 6);
            for (int i = 0; i < 20; i++) // rounds of the loop
            {
                await fixture.Server.Engine.ReadDestinationsAsync(CancellationToken.None);
            }

            Assert.Equal(6, Volatile.Read(ref copies)); // 16 MiB and what the last one has over
        }
        finally
        {
            mayFlush.Set();
            disk.Script = static (_, _) => 0;
        }

        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(Users, copies);
        Assert.All(Enumerable.Range(0, Users), i => Assert.Equal(1, Mails(fixture, $"w{i}@local.test")));
    }
}
