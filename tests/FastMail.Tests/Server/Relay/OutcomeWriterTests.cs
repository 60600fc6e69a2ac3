using FastMail.Net;
using FastMail.Server.Queue;
using FastMail.Storage;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>What became of recipients, when the disk has no room to write it down.</summary>
public sealed class OutcomeWriterTests
{
    private const int NoSpace = 28; // ENOSPC

    [Fact]
    public async Task What_a_full_disk_has_not_taken_is_said_again_and_nothing_is_lost_or_sent_twice()
    {
        var disk = new ScriptedDisk();
        using var isSent = new ManualResetEventSlim();
        using var mayAnswer = new ManualResetEventSlim();
        using var host = new ScriptedHost(line =>
        {
            if (line == ".")
            {
                isSent.Set();
                mayAnswer.Wait(TimeSpan.FromMinutes(1));
            }

            return line.StartsWith("RCPT TO:<later@", StringComparison.Ordinal) ? "451 4.3.0 not now" : null;
        });
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            TimeProvider.System, disk, "relay.from=127.0.0.0/8", $"route.table=relay.test=127.0.0.1:{host.Port}", "relay.retry_min=1h",
            "store.segment_size=1MiB", "store.reserve=1MiB", "store.spares=1", "store.reclaim=off");
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", "later@relay.test");
        await RelayTests.Until(() => Waiting(fixture) is [{ State: "deferred" }]);
        (ulong Seq, uint Recipient)[] later = [.. Waiting(fixture).Select(entry => (entry.Seq, entry.Recipient))];
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", ["a@relay.test", "b@relay.test", "c@relay.test"]);
        Assert.True(isSent.Wait(TimeSpan.FromSeconds(30)));
        (ulong Seq, uint Recipient)[] sent = [.. Waiting(fixture).Select(entry => (entry.Seq, entry.Recipient)).Except(later)];

        disk.Script = static (call, _) => call is "free" or "allocate" ? NoSpace : 0;
        await FillAsync(fixture.Log);
        mayAnswer.Set();
        Assert.Equal(3, host.Next().Recipients.Count);
        IOException[] refusals = await Task.WhenAll(RefusalAsync(fixture, sent), RefusalAsync(fixture, later));
        Assert.All(refusals, refusal => Assert.Contains("the disk is full", refusal.Message, StringComparison.Ordinal));
        Assert.Equal(4, fixture.Log.Queue.Recipients);

        disk.Script = static (_, _) => 0;
        await RelayTests.Until(() => Waiting(fixture) is [{ State: "held" }]);
        Assert.Equal("later@relay.test", Waiting(fixture).Select(entry => entry.To).Single());
        await fixture.RestartAsync();
        Assert.Equal(("later@relay.test", "held"), Waiting(fixture).Select(entry => (entry.To, entry.State)).Single());
        Assert.Empty(host.Taken);
        await fixture.Server.Engine.ApplyAsync(QueueAction.Cancel, later, new QueueActionOptions(), default);
        Assert.Equal(0, fixture.Log.Queue.Recipients);
    }

    /// <summary>Removals of nothing, until the log has no room for the shortest.</summary>
    private static async Task FillAsync(MailLog log)
    {
        foreach (int ranges in (int[])[4000, 400, 40, 1])
        {
            ulong[] uids = [.. Enumerable.Range(0, ranges).Select(i => 1_000_000 + ((ulong)i * 2))];
            AppendOutcome outcome;
            do
            {
                var appended = new Appended();
                var removal = new PendingExpunge(1, uids, ExpungeReason.Operator) { Owner = appended };
                log.Append(removal);
                await appended.Ended.WaitAsync(TimeSpan.FromSeconds(30));
                outcome = removal.Outcome;
            }
            while (outcome == AppendOutcome.Durable);

            Assert.Equal(AppendOutcome.NoSpace, outcome);
        }
    }

    /// <summary>What an operator hears who has to wait for a record; those who come before it hear nothing.</summary>
    private static async Task<IOException> RefusalAsync(ServerFixture fixture, (ulong Seq, uint Recipient)[] recipients)
    {
        for (int i = 0; i < 400; i++)
        {
            try
            {
                await fixture.Server.Engine.ApplyAsync(QueueAction.Hold, recipients, new QueueActionOptions(), default)
                    .WaitAsync(TimeSpan.FromSeconds(30));
            }
            catch (IOException refusal)
            {
                return refusal;
            }

            await Task.Delay(50);
        }

        throw new TimeoutException("nobody was told that the disk is full");
    }

    private static List<QueueEntry> Waiting(ServerFixture fixture) =>
        [.. new QueueReader(fixture.Log).Read(new QueueSelector(), DateTimeOffset.MaxValue)];

    /// <summary>Waits for one append.</summary>
    private sealed class Appended : ILoopWork
    {
        private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Ended => _ended.Task;

        public void Run() => _ended.SetResult();
    }
}
