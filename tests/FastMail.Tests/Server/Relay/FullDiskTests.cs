using FastMail.Net;
using FastMail.Server.Queue;
using FastMail.Storage;
using FastMail.Tests.Server.Defence;
using FastMail.Tests.Storage;
using Xunit;
using static FastMail.Tests.Server.Relay.ClockedRelay;

namespace FastMail.Tests.Server.Relay;

/// <summary>Word to a sender that a full disk has no room for, on a whole server whose clock the test sets.</summary>
public sealed class FullDiskTests : IDisposable
{
    private const int NoSpace = 28; // ENOSPC

    private static readonly string[] Small =
        ["store.segment_size=1MiB", "store.reserve=1MiB", "store.spares=1", "store.reclaim=off"];

    private readonly HandClock _clock = new();
    private readonly ScriptedDisk _disk = new();
    private readonly ManualResetEventSlim _isAsked = new();
    private readonly ManualResetEventSlim _mayAnswer = new();

    [Fact]
    public async Task Delivered_mail_ends_also_when_there_is_no_room_for_word_of_it()
    {
        using var host = new ScriptedHost(line => line == "." ? AnswerLater(null) : null);
        await using ServerFixture fixture = await StartAsync(host);
        Submit(fixture, "", ["b@relay.test", "c@relay.test"], " NOTIFY=SUCCESS");
        await AnswerWhenFullAsync(fixture);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        await AdvanceAsync(fixture, _clock, TimeSpan.FromMinutes(5));
        await fixture.RestartAsync();
        Assert.Equal(0, fixture.Log.Queue.Recipients);
        Assert.Equal(["b@relay.test", "c@relay.test"], Assert.Single(host.Taken).Recipients);
    }

    [Fact]
    public async Task A_failure_that_cannot_be_told_yet_is_found_again_where_an_operator_has_sent_it()
    {
        using var host = new ScriptedHost(
            line => line.StartsWith("RCPT TO:<c@", StringComparison.Ordinal) ? AnswerLater("550 5.1.1 not here") : null);
        await using ServerFixture fixture = await StartAsync(host);
        Submit(fixture, "HOLDFOR=3600", ["b@relay.test"]);
        Assert.Equal(1, (await ApplyAsync(fixture, QueueAction.Redirect, "c@relay.test")).Changed);
        _clock.Advance(TimeSpan.FromHours(1));
        await AnswerWhenFullAsync(fixture);
        await UntilItWaitsAsync(fixture);
        Assert.Equal(1, Tries(host));

        _disk.Script = static (_, _) => 0;
        await UntilToldAsync(fixture, TimeSpan.FromSeconds(61));
        Assert.Contains("\r\nAction: failed\r\n", Retrieve(fixture, 1), StringComparison.Ordinal);
        Assert.True(Tries(host) > 1);
        Assert.All(
            host.Commands.Where(command => command.StartsWith("RCPT", StringComparison.Ordinal)),
            command => Assert.StartsWith("RCPT TO:<c@relay.test>", command, StringComparison.Ordinal));
    }

    [Fact]
    public async Task A_delay_that_cannot_be_told_is_told_with_the_next_attempt()
    {
        bool isLate = false;
        using var host = new ScriptedHost(line => !line.StartsWith("RCPT", StringComparison.Ordinal) ? null
            : Volatile.Read(ref isLate) ? AnswerLater("450 4.2.0 later")
            : "450 4.2.0 later");
        await using ServerFixture fixture = await StartAsync(host, "relay.delay_notice=1h", "relay.retry_min=30min");
        Submit(fixture, "", ["b@relay.test"]);
        await SettleAsync(fixture, _clock);
        Volatile.Write(ref isLate, true);
        _clock.Advance(TimeSpan.FromHours(2));
        await AnswerWhenFullAsync(fixture);
        await UntilItWaitsAsync(fixture);
        Assert.Equal(0, Mails(fixture));

        _disk.Script = static (_, _) => 0;
        await UntilToldAsync(fixture, TimeSpan.FromMinutes(4));
        Assert.Contains("\r\nAction: delayed\r\n", Retrieve(fixture, 1), StringComparison.Ordinal);
    }

    public void Dispose()
    {
        _isAsked.Dispose();
        _mayAnswer.Dispose();
    }

    private Task<ServerFixture> StartAsync(ScriptedHost host, params string[] more) => ServerFixture.StartAsync(
        _clock, _disk, [$"route.table=relay.test=127.0.0.1:{host.Port}", "relay.retry_min=1s", .. Small, .. more]);

    /// <summary>What the host says, when the disk is full.</summary>
    private string? AnswerLater(string? reply)
    {
        _isAsked.Set();
        _mayAnswer.Wait(TimeSpan.FromMinutes(1));
        return reply;
    }

    private async Task AnswerWhenFullAsync(ServerFixture fixture)
    {
        Assert.True(_isAsked.Wait(TimeSpan.FromSeconds(30)));
        _disk.Script = static (call, _) => call is "free" or "allocate" ? NoSpace : 0;
        await FillAsync(fixture.Log);
        _mayAnswer.Set();
    }

    /// <summary>Mail, until there is no room for the shortest; what ends goes on.</summary>
    private static async Task FillAsync(MailLog log)
    {
        foreach (int octets in (int[])[60_000, 4_000, 400, 2])
        {
            AppendOutcome outcome;
            do
            {
                PendingMessage message = log.RentMessage();
                message.SetReversePath(default);
                Assert.True(message.TryAddLocalRecipient(1_000_000, "nobody@local.test"u8));
                message.SetTrace("Received: by test\r\n"u8, 0);
                message.AppendBody([.. "\r\n"u8, .. new byte[octets], .. "\r\n.\r\n"u8]);
                message.Seal(new BodyFacts { Octets = octets + 4, HeaderWireBytes = 2, Flags = MessageFlags.None });
                var appended = new Appended();
                message.Owner = appended;
                log.Append(message);
                await appended.Ended.WaitAsync(TimeSpan.FromSeconds(30));
                outcome = message.Outcome;
                log.Return(message);
            }
            while (outcome == AppendOutcome.Durable);

            Assert.Equal(AppendOutcome.NoSpace, outcome);
        }
    }

    private static Task UntilItWaitsAsync(ServerFixture fixture)
    {
        QueueEntry entry = Assert.Single(fixture.Server.Queue.List(new QueueSelector()));
        return RelayTests.Until(() =>
            fixture.Server.Engine.FindPlaceAsync(entry.Seq, entry.Recipient, CancellationToken.None).GetAwaiter().GetResult()
                is { Doing: "waits for its time" });
    }

    /// <summary>Time goes on by steps, each shorter than a host is waited for, until u has a message.</summary>
    private Task UntilToldAsync(ServerFixture fixture, TimeSpan step) => RelayTests.Until(() =>
    {
        _clock.Advance(step);
        return Mails(fixture) == 1;
    });

    /// <summary>Waits for one append.</summary>
    private sealed class Appended : ILoopWork
    {
        private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Ended => _ended.Task;

        public void Run() => _ended.SetResult();
    }
}
