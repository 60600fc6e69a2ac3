using FastMail.Server.Queue;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>Next hops that stop in the midst of a dialog or swallow their reply.</summary>
public sealed class NextHopFaultTests
{
    private const string Trusted = "relay.from=127.0.0.0/8";

    private static readonly TimeSpan LongerThanAnyHostMayTake = TimeSpan.FromMinutes(11); // RFC 5321 4.5.3.2.6: 10 min

    [Theory]
    [InlineData("greeting")]
    [InlineData("EHLO")]
    [InlineData("MAIL")]
    [InlineData("RCPT")]
    [InlineData("DATA")]
    [InlineData(".")]
    public async Task A_host_that_stops_in_a_phase_gets_its_mail_again_later_and_the_others_get_theirs_meanwhile(string phase)
    {
        bool isStopped = true;
        using var good = new ScriptedHost();
        using var bad = new ScriptedHost(
            line => line.StartsWith(phase, StringComparison.Ordinal) && Volatile.Read(ref isStopped) ? "" : null);
        var clock = new HurriedClock();
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            clock, Trusted, "relay.retry_min=1s", $"route.table=good.test=127.0.0.1:{good.Port},bad.test=127.0.0.1:{bad.Port}");

        for (int i = 0; i < 5; i++)
        {
            Assert.StartsWith("250", RelayTests.Send(fixture, "mx", "a@b.test", ["u@bad.test", "u@good.test"]), StringComparison.Ordinal);
            Assert.Equal("u@good.test", Assert.Single(good.Next().Recipients));
        }

        await RelayTests.Until(() => IsSilentIn(bad, phase));
        clock.Hurry(LongerThanAnyHostMayTake);
        await RelayTests.Until(() => Waiting(fixture).Exists(entry => entry.State == "deferred"));
        Assert.Equal(5, fixture.Log.Queue.Recipients);
        foreach (QueueEntry entry in Waiting(fixture).Where(entry => entry.State == "deferred"))
        {
            Assert.Equal("u@bad.test", entry.To);
            Assert.Matches(@"\b4\.4\.\d\b", entry.Reply); // RFC 3463: the network's fault, and not for good
        }

        Volatile.Write(ref isStopped, false);
        for (int i = 0; i < 5; i++)
        {
            while (!bad.Taken.TryTake(out _, TimeSpan.FromSeconds(1)))
            {
                clock.Hurry(LongerThanAnyHostMayTake); // a probe and those that still wait for an old word
            }
        }

        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Empty(bad.Taken);
    }

    [Theory]
    [InlineData("")] // it says nothing more
    [InlineData("421 4.3.2 going down")] // it closes instead of an answer
    public async Task Mail_that_a_host_took_without_a_word_is_not_done_and_goes_there_again(string instead)
    {
        int contents = 0;
        using var host = new ScriptedHost(line => line == "." && Interlocked.Increment(ref contents) < 3 ? instead : null);
        var clock = new HurriedClock();
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            clock, Trusted, "relay.retry_min=1s", $"route.table=relay.test=127.0.0.1:{host.Port}");
        RelayTests.Send(fixture, "mx", "a@b.test", "u@relay.test");

        for (int swallowed = 1; swallowed < 3; swallowed++)
        {
            await RelayTests.Until(() => Volatile.Read(ref contents) >= swallowed);
            Assert.Equal(1, fixture.Log.Queue.Recipients);
            if (swallowed < 3 && instead.Length == 0)
            {
                clock.Hurry(LongerThanAnyHostMayTake);
            }

            while (Volatile.Read(ref contents) == swallowed)
            {
                clock.Hurry(TimeSpan.FromSeconds(30));
                await Task.Delay(50);
            }
        }

        Assert.Equal("u@relay.test", Assert.Single(host.Next().Recipients));
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Equal(3, contents); // two copies too many at the most: as often as its word was missing
    }

    private static bool IsSilentIn(ScriptedHost host, string phase) =>
        phase == "greeting" ? host.Connections > 0
        : host.Commands.Any(line => line.StartsWith(phase == "." ? "DATA" : phase, StringComparison.Ordinal));

    private static List<QueueEntry> Waiting(ServerFixture fixture) =>
        [.. new QueueReader(fixture.Log).Read(new QueueSelector(), DateTimeOffset.MaxValue)];
}
