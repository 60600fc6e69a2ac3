using FastMail.Server;
using FastMail.Server.Queue;
using FastMail.Server.Relay;
using FastMail.Tests.Server.Defence;
using FastMail.Tests.Server.Relay;
using FastMail.Tests.Storage;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace FastMail.Tests.Server;

/// <summary>Messages that kill the process. The test takes what the kernel would keep, and puts it back behind the stop.</summary>
public sealed class InHandTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("fastmail-inhand-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task A_queued_message_that_kills_the_process_three_times_is_held_and_the_others_arrive()
    {
        using var isReady = new ManualResetEventSlim();
        bool isBusy = true;
        using var host = new ScriptedHost(
            line =>
            {
                if (line.StartsWith("EHLO", StringComparison.Ordinal))
                {
                    isReady.Wait(TimeSpan.FromSeconds(30));
                }

                return isBusy && line.StartsWith("MAIL", StringComparison.Ordinal) ? "451 4.3.0 later" : null;
            },
            "PIPELINING");
        isReady.Set();
        await using ServerFixture fixture = await RelayTests.StartAsync(
            host, "relay.from=127.0.0.0/8", "relay.retry_min=1s", "relay.retry_max=1s");
        string[] all = [.. Enumerable.Range(0, 12).Select(i => $"u{i:00}@relay.test")];
        foreach (string recipient in all)
        {
            RelayTests.Send(fixture, "mx", "a@elsewhere.test", recipient);
        }

        await RelayTests.Until(() => Entries(fixture) is { Count: 12 } queue && queue.TrueForAll(entry => entry.State == "deferred"));
        ulong poison = Entries(fixture).Single(entry => entry.To == "u05@relay.test").Seq;
        byte[] left = fixture.InHand; // it is killed while nothing is in hand: from now on it marks
        for (int death = 1; death <= InHand.MostDeaths; death++)
        {
            isReady.Reset();
            await fixture.RestartAsync(left);
            left = [];
            isBusy = false;
            fixture.Server.Engine.Fault = (step, seq) =>
            {
                if (step == DeliveryStep.Sending && seq == poison && left.Length == 0)
                {
                    left = fixture.InHand; // here the process dies, and what it has not said yet is not heard
                    isBusy = true;
                }
            };
            isReady.Set();
            await RelayTests.Until(() => left.Length > 0);
        }

        isBusy = false;
        await fixture.RestartAsync(left);
        await RelayTests.Until(() => Entries(fixture) is [{ State: "held" }]);
        QueueEntry held = Assert.Single(Entries(fixture));
        Assert.Equal("u05@relay.test", held.To);
        Assert.Contains("died with it in hand", held.Reply, StringComparison.Ordinal);

        await fixture.RestartAsync(fixture.InHand); // dies of something else
        await fixture.Server.Engine.ApplyAsync(QueueAction.Release, [(held.Seq, held.Recipient)], new QueueActionOptions(), default);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0); // the operator has given it new chances
        IEnumerable<string> arrived = Enumerable.Range(0, 12).SelectMany(_ => host.Next().Recipients);
        Assert.Equal(all, arrived.Order(StringComparer.Ordinal), StringComparer.Ordinal);
    }

    [Fact]
    public async Task A_message_that_kills_the_process_three_times_over_POP3_is_answered_with_an_error_until_an_orderly_stop()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", "u@local.test");
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", "u@local.test");
        byte[] left = fixture.InHand;
        for (int death = 1; death <= InHand.MostDeaths; death++)
        {
            await fixture.RestartAsync(left);
            left = [];
            fixture.Server.Unreadable.Fault = uid =>
            {
                if (uid == 2)
                {
                    left = fixture.InHand;
                }
            };
            Assert.DoesNotContain("-ERR", EngineFaultTests.Talk(fixture, "RETR 1", "RETR 2", "QUIT"), StringComparison.Ordinal);
        }

        await fixture.RestartAsync(left);
        string dialog = EngineFaultTests.Talk(fixture, "RETR 1", "RETR 2", "QUIT");
        Assert.Equal(1, dialog.Split("first line").Length - 1);
        Assert.Contains("-ERR [SYS/PERM]", dialog, StringComparison.Ordinal);

        await fixture.RestartAsync();
        dialog = EngineFaultTests.Talk(fixture, "RETR 1", "RETR 2", "QUIT");
        Assert.Equal(2, dialog.Split("first line").Length - 1);
    }

    [Fact]
    public void Only_what_is_in_hand_at_the_death_is_counted()
    {
        Open(marks: false).BeginMarking(); // dies
        InHand second = Open(marks: true);
        int depth = second.Take(7);
        _ = second.Take(8);
        Assert.Equal(2, second.Depth);
        second.PutDown(depth);
        depth = second.Take(9);
        _ = second.Take(3, 9);
        _ = second.Take(9); // twice in one death
        InHand third = Open(marks: true);
        Assert.Equal((0, 0, 1, 1), (third.DeathsWith(7), third.DeathsWith(8), third.DeathsWith(9), third.DeathsWith(3, 9)));
        _ = third.Take(9);
        for (ulong i = 100; i < 200; i++)
        {
            _ = third.Take(i); // more than there is room for
        }

        InHand fourth = Open(marks: false);
        Assert.Equal((2, 1, 1, 0), (fourth.DeathsWith(9), fourth.DeathsWith(3, 9), fourth.DeathsWith(100), fourth.DeathsWith(199)));
        fourth.Forget(9);
        fourth.BeginMarking();
        InHand fifth = Open(marks: true);
        Assert.Equal((0, 1), (fifth.DeathsWith(9), fifth.DeathsWith(3, 9)));
        fifth.IsServing = true;
        fifth.Dispose(); // in order
        InHand sixth = Open(marks: true);
        Assert.Equal(0, sixth.DeathsWith(3, 9));
        _ = sixth.Take(7);
        Assert.Equal(0, sixth.Depth); // after an orderly stop nothing is marked
    }

    [Fact]
    public void A_start_that_fails_keeps_what_is_known()
    {
        Open(marks: true);
        InHand second = Open(marks: true);
        _ = second.Take(7);
        for (int i = 0; i < 3; i++)
        {
            InHand failing = Open(marks: i > 0);
            Assert.Equal(1, failing.DeathsWith(7));
            failing.Dispose();
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(7)]
    [InlineData(4096)]
    public void A_file_that_says_nothing_is_replaced(int octets)
    {
        byte[] garbage = new byte[octets];
        new Random(7).NextBytes(garbage);
        File.WriteAllBytes(Path.Join(_directory, InHand.FileName), garbage);
        _ = Open(marks: true).Take(7);
        Assert.Equal(1, Open(marks: false).DeathsWith(7));
    }

    private InHand Open(bool marks)
    {
        InHand inHand = InHand.Open(_directory, NullLogger.Instance);
        if (marks)
        {
            inHand.BeginMarking();
        }

        return inHand;
    }

    private static List<QueueEntry> Entries(ServerFixture fixture) => EngineFaultTests.Waiting(fixture);
}
