using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>Connections that have nothing to do, and what is left when they have ended.</summary>
public sealed class RestingConnectionTests
{
    private const string Trusted = "relay.from=127.0.0.0/8";

    [Fact]
    public async Task Of_a_connection_that_has_rested_nothing_is_kept()
    {
        using var first = new ScriptedHost();
        using var second = new ScriptedHost();
        await using ServerFixture fixture = await RelayTests.StartAsync(
            first, Trusted, "relay.idle_time=1s", $"route.table=first.test=127.0.0.1:{first.Port},second.test=127.0.0.1:{second.Port}");
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", ["b@first.test", "b@second.test"]);
        await RelayTests.Until(() => HasLeft(first) && HasLeft(second));
        await RelayTests.Until(() => fixture.Server.Engine.RestingDestinations == 0);
    }

    [Fact]
    public async Task What_has_left_is_not_on_the_disk_either_while_word_of_it_to_its_sender_is_not()
    {
        var disk = new ScriptedDisk();
        using var mayGreet = new ManualResetEventSlim();
        using var mayFlush = new ManualResetEventSlim();
        using ScriptedHost host = GreetingWhen(mayGreet);
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            TimeProvider.System, disk, $"route.table=relay.test=127.0.0.1:{host.Port}", "relay.concurrency=1",
            "relay.idle_time=1s", "relay.unflushed=1");
        for (int i = 0; i < 3; i++)
        {
            ClockedRelay.Submit(fixture, "", [$"b{i}@relay.test"], " NOTIFY=SUCCESS");
        }

        HoldFlushes(disk, mayFlush);
        mayGreet.Set();
        host.Next();
        await RelayTests.Until(() => HasLeft(host) && fixture.Server.Engine.RestingDestinations == 0);
        Assert.Empty(host.Taken);
        mayFlush.Set();
        host.Next();
        host.Next();
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0 && ClockedRelay.Mails(fixture) == 3);
    }

    [Fact]
    public async Task Mail_that_a_slow_disk_has_held_up_goes_when_all_connections_have_ended_meanwhile()
    {
        var disk = new ScriptedDisk();
        using var mayGreet = new ManualResetEventSlim();
        using var mayFlush = new ManualResetEventSlim();
        using ScriptedHost host = GreetingWhen(mayGreet);
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            TimeProvider.System, disk, Trusted, $"route.table=relay.test=127.0.0.1:{host.Port}", "relay.concurrency=1",
            "relay.idle_time=1s", "relay.unflushed=1");
        for (int i = 0; i < 3; i++)
        {
            RelayTests.Send(fixture, "mx", "a@elsewhere.test", $"b{i}@relay.test");
        }

        HoldFlushes(disk, mayFlush);
        mayGreet.Set();
        host.Next();
        await RelayTests.Until(() => HasLeft(host) && fixture.Server.Engine.RestingDestinations == 0);
        Assert.Empty(host.Taken); // more than one end that is not on the disk may not be
        mayFlush.Set();
        host.Next();
        host.Next();
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
    }

    private static bool HasLeft(ScriptedHost host) => host.Commands.Contains("QUIT", StringComparer.Ordinal);

    private static ScriptedHost GreetingWhen(ManualResetEventSlim mayGreet) => new(line =>
    {
        if (line == "greeting")
        {
            mayGreet.Wait(TimeSpan.FromMinutes(1));
        }

        return null;
    });

    private static void HoldFlushes(ScriptedDisk disk, ManualResetEventSlim until) => disk.Script = (call, _) =>
    {
        if (call == "flush")
        {
            until.Wait(TimeSpan.FromMinutes(1));
        }

        return 0;
    };
}
