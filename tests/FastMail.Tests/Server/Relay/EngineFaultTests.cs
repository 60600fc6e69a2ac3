using System.Net.Sockets;
using System.Text;
using FastMail.Server.Queue;
using FastMail.Server.Relay;
using FastMail.Tests.Server.Defence;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>Mistakes of ours in the engine, and a log that fails under it.</summary>
public sealed class EngineFaultTests
{
    private const string Trusted = "relay.from=127.0.0.0/8";

    private static readonly string[] Three = ["a@relay.test", "b@relay.test", "c@relay.test"];

    [Theory]
    [InlineData((int)DeliveryStep.Splitting, 1)]
    [InlineData((int)DeliveryStep.Splitting, 2)]
    [InlineData((int)DeliveryStep.Splitting, 3)]
    [InlineData((int)DeliveryStep.Routing, 1)]
    [InlineData((int)DeliveryStep.Routing, 2)]
    [InlineData((int)DeliveryStep.Routing, 3)]
    [InlineData((int)DeliveryStep.Sending, 1)]
    public async Task A_mistake_halfway_through_the_recipients_sends_nobody_the_mail_twice(int step, int at)
    {
        int refusals = 0;
        using var host = new ScriptedHost( // so that all three wait together for their next attempt
            line => line.StartsWith("MAIL", StringComparison.Ordinal) && Interlocked.Increment(ref refusals) == 1 ? "451 4.3.0 later" : null,
            "PIPELINING");
        await using ServerFixture fixture = await RelayTests.StartAsync(host, Trusted);
        int seen = 0;
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", Three);
        fixture.Server.Engine.Fault = (now, _) =>
        {
            if (refusals > 0 && (int)now == step && ++seen == at)
            {
                throw new InvalidOperationException("a mistake of the test");
            }
        };

        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.True(seen >= at);
        Assert.Equal(Three, Everybody(host).Order(StringComparer.Ordinal), StringComparer.Ordinal);
    }

    [Fact]
    public async Task Who_has_ended_before_a_mistake_does_not_go_again()
    {
        using var host = new ScriptedHost(null, "PIPELINING");
        await using ServerFixture fixture = await RelayTests.StartAsync(host, Trusted);
        int settled = 0;
        fixture.Server.Engine.Fault = (step, _) =>
        {
            if (step == DeliveryStep.Settling && ++settled == 2)
            {
                throw new InvalidOperationException("a mistake of the test");
            }
        };
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", Three);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        // The first has its end; that the others were taken could not be written down.
        Assert.Equal(["a@relay.test", "b@relay.test", "b@relay.test", "c@relay.test", "c@relay.test"], Everybody(host).Order(StringComparer.Ordinal), StringComparer.Ordinal);
    }

    [Fact]
    public async Task A_message_that_ends_three_connections_by_a_mistake_of_ours_is_held_and_the_others_arrive()
    {
        using var host = new ScriptedHost(null, "PIPELINING");
        await using ServerFixture fixture = await RelayTests.StartAsync(host, Trusted);
        ulong poison = 0;
        int faults = 0;
        fixture.Server.Engine.Fault = (step, seq) =>
        {
            poison = poison == 0 ? seq : poison; // the first one
            if (step == DeliveryStep.Sending && seq == poison)
            {
                faults++;
                throw new InvalidOperationException("a mistake of the test");
            }
        };
        string[] all = [.. Enumerable.Range(0, 40).Select(i => $"u{i:00}@relay.test")];
        foreach (string recipient in all)
        {
            RelayTests.Send(fixture, "mx", "a@elsewhere.test", recipient);
        }

        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 1 && Waiting(fixture).TrueForAll(entry => entry.State == "held"));
        QueueEntry held = Assert.Single(Waiting(fixture));
        Assert.Equal("u00@relay.test", held.To);
        Assert.Contains("mistake of the program", held.Reply, StringComparison.Ordinal);
        Assert.Equal(3, faults);
        Assert.Equal(all.Skip(1), Everybody(host).Order(StringComparer.Ordinal), StringComparer.Ordinal); // each once

        fixture.Server.Engine.Fault = null; // the mistake is mended, and the operator lets it go
        await fixture.Server.Engine.ApplyAsync(QueueAction.Release, [(held.Seq, held.Recipient)], new QueueActionOptions(), default);
        Assert.Equal("u00@relay.test", Assert.Single(host.Next().Recipients));
    }

    [Fact]
    public async Task A_copy_for_here_that_fails_three_times_by_a_mistake_of_ours_is_held_and_the_others_arrive()
    {
        using ScriptedHost host = Busy();
        await using ServerFixture fixture = await RelayTests.StartAsync(host, Trusted, "relay.retry_max=1s");
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", "poison@relay.test");
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", "other@relay.test");
        await RelayTests.Until(() => Waiting(fixture) is { Count: 2 } all && all.TrueForAll(entry => entry.State == "deferred"));
        ulong poison = Waiting(fixture).Single(entry => entry.To == "poison@relay.test").Seq;
        int faults = 0;
        fixture.Server.Engine.Fault = (step, seq) =>
        {
            if (step == DeliveryStep.Storing && seq == poison)
            {
                faults++;
                throw new InvalidOperationException("a mistake of the test");
            }
        };
        (ulong Seq, uint Recipient)[] all = [.. Waiting(fixture).Select(entry => (entry.Seq, entry.Recipient))];
        await fixture.Server.Engine.ApplyAsync(QueueAction.Redirect, all, new QueueActionOptions("u@local.test"), default);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 1 && Waiting(fixture).TrueForAll(entry => entry.State == "held"));
        QueueEntry held = Assert.Single(Waiting(fixture));
        Assert.Equal(poison, held.Seq);
        Assert.Contains("mistake of the program", held.Reply, StringComparison.Ordinal);
        Assert.Equal(3, faults);
        RelayTests.Fetch(fixture, "u@local.test");

        fixture.Server.Engine.Fault = null;
        await fixture.Server.Engine.ApplyAsync(QueueAction.Release, [(held.Seq, held.Recipient)], new QueueActionOptions(), default);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
        Assert.Contains("+OK 2 ", Talk(fixture, "STAT", "QUIT"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(400_000)] // its body is read from a file of its own, in a second step
    public async Task Who_failed_is_held_when_word_of_it_cannot_be_written_by_a_mistake_of_ours(int octets)
    {
        using var host = new ScriptedHost(line => line.StartsWith("RCPT", StringComparison.Ordinal) ? "550 5.1.1 nobody" : null);
        await using ServerFixture fixture = await RelayTests.StartAsync(
            host, Trusted, "store.jumbo_size=256KiB");
        int steps = octets == 1 ? 1 : 2;
        int seen = 0;
        fixture.Server.Engine.Fault = (step, _) =>
        {
            if (step == DeliveryStep.Telling && ++seen >= steps)
            {
                throw new InvalidOperationException("a mistake of the test");
            }
        };
        string content = "Subject: hello\r\n\r\n" + string.Concat(Enumerable.Repeat(new string('x', 70) + "\r\n", (octets / 72) + 1));
        RelayTests.Send(fixture, "mx", "u@local.test", ["gone@relay.test"], content: content);
        await RelayTests.Until(() => Waiting(fixture) is [{ State: "held" }]);
        QueueEntry held = Assert.Single(Waiting(fixture));
        Assert.Contains("word of its failure", held.Reply, StringComparison.Ordinal);
        Assert.Equal(steps, seen);

        fixture.Server.Engine.Fault = null;
        await fixture.Server.Engine.ApplyAsync(QueueAction.Release, [(held.Seq, held.Recipient)], new QueueActionOptions(), default);
        Assert.Contains("550 5.1.1 nobody", RelayTests.Fetch(fixture, "u@local.test"), StringComparison.Ordinal);
        await RelayTests.Until(() => fixture.Log.Queue.Recipients == 0);
    }

    [Fact]
    public async Task A_message_that_ends_three_POP3_sessions_by_a_mistake_of_ours_is_answered_with_an_error_and_the_others_are_read()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync();
        for (int i = 0; i < 3; i++)
        {
            RelayTests.Send(fixture, "mx", "a@elsewhere.test", "u@local.test");
        }

        ulong? poison = null;
        fixture.Server.Unreadable.Fault = uid =>
        {
            poison ??= uid;
            if (uid == poison)
            {
                throw new InvalidOperationException("a mistake of the test");
            }
        };
        for (int i = 0; i < 3; i++)
        {
            Assert.EndsWith("-ERR [SYS/TEMP] internal error, closing connection\r\n", Talk(fixture, "RETR 2"), StringComparison.Ordinal);
        }

        string dialog = Talk(fixture, "RETR 1", "RETR 2", "RETR 3", "QUIT");
        Assert.Equal(2, dialog.Split("first line").Length - 1);
        Assert.Contains("-ERR [SYS/PERM]", dialog, StringComparison.Ordinal);
        Assert.EndsWith("+OK", dialog.TrimEnd().Split("\r\n")[^1][..3], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Whoever_changes_the_queue_hears_that_nothing_is_sure_when_the_log_has_failed()
    {
        var disk = new ScriptedDisk();
        using ScriptedHost host = Busy();
        await using ServerFixture fixture = await StartAsync(host, disk);
        (ulong Seq, uint Recipient)[] all = await DeferThreeAsync(fixture, "a@elsewhere.test");

        disk.Script = static (call, name) => call == "flush" && name.EndsWith(".seg", StringComparison.Ordinal) ? 5 : 0; // EIO
        foreach (QueueAction action in (QueueAction[])[QueueAction.Hold, QueueAction.Cancel, QueueAction.Retry])
        {
            IOException failure = await Assert.ThrowsAsync<IOException>(
                () => fixture.Server.Engine.ApplyAsync(action, all, new QueueActionOptions(), default).WaitAsync(TimeSpan.FromSeconds(30)));
            Assert.Contains("nothing of this is sure", failure.Message, StringComparison.Ordinal);
        }

        await fixture.Server.Failed.WaitAsync(TimeSpan.FromSeconds(30));
        disk.Script = static (_, _) => 0;
        await fixture.RestartAsync();
        Assert.Equal(3, fixture.Log.Queue.Recipients); // held or not, as the disk has it: but not lost
    }

    [Fact]
    public async Task Who_cancels_with_word_to_the_senders_hears_of_it_when_that_is_durable()
    {
        var disk = new ScriptedDisk();
        using ScriptedHost host = Busy();
        await using ServerFixture fixture = await StartAsync(host, disk);
        (ulong Seq, uint Recipient)[] all = await DeferThreeAsync(fixture, "u@local.test");
        using var mayFlush = new ManualResetEventSlim();
        using var isFlushing = new ManualResetEventSlim();
        disk.Script = (call, name) =>
        {
            if (call == "flush" && name.EndsWith(".seg", StringComparison.Ordinal))
            {
                isFlushing.Set();
                mayFlush.Wait();
            }

            return 0;
        };
        Task<QueueActionResult> cancelling =
            fixture.Server.Engine.ApplyAsync(QueueAction.Cancel, all, new QueueActionOptions(Notifies: true), default);
        try
        {
            Assert.True(isFlushing.Wait(TimeSpan.FromSeconds(30)));
            await Task.Delay(200);
            Assert.False(cancelling.IsCompleted);
        }
        finally
        {
            disk.Script = static (_, _) => 0;
            mayFlush.Set();
        }

        Assert.Equal(new QueueActionResult(3, 0, 0, 0), await cancelling.WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Equal(0, fixture.Log.Queue.Recipients);
        string words = Talk(fixture, "RETR 1", "RETR 2", "RETR 3", "QUIT");
        Assert.Equal(3, words.Split("Action: failed").Length - 1);
    }

    [Fact]
    public async Task Who_cancels_with_word_to_the_senders_hears_that_it_could_not_be_written()
    {
        var disk = new ScriptedDisk();
        using ScriptedHost host = Busy();
        await using ServerFixture fixture = await StartAsync(host, disk);
        (ulong Seq, uint Recipient)[] all = await DeferThreeAsync(fixture, "u@local.test");

        disk.Script = static (call, name) => call == "flush" && name.EndsWith(".seg", StringComparison.Ordinal) ? 5 : 0; // EIO
        IOException failure = await Assert.ThrowsAsync<IOException>(
            () => fixture.Server.Engine.ApplyAsync(QueueAction.Cancel, all, new QueueActionOptions(Notifies: true), default)
                .WaitAsync(TimeSpan.FromSeconds(30)));
        Assert.Contains("stays in the queue", failure.Message, StringComparison.Ordinal);
        await fixture.Server.Failed.WaitAsync(TimeSpan.FromSeconds(30));
        disk.Script = static (_, _) => 0;
    }

    [Fact]
    public async Task Who_cancels_with_word_to_the_senders_hears_that_a_damaged_message_was_not_cancelled()
    {
        using ScriptedHost host = Busy();
        await using ServerFixture fixture = await StartAsync(host, new ScriptedDisk());
        (ulong Seq, uint Recipient)[] all = await DeferThreeAsync(fixture, "u@local.test");
        string segment = Assert.Single(Directory.GetFiles(fixture.Directory, "0-*.seg", SearchOption.AllDirectories));
        await using (FileStream file = new(segment, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite))
        {
            byte[] octets = new byte[1 << 20];
            int length = file.ReadAtLeast(octets, octets.Length, throwOnEndOfStream: false);
            int place = octets.AsSpan(0, length).IndexOf("first line"u8);
            Assert.InRange(place, 4096, length);
            file.Position = place;
            file.WriteByte((byte)'F');
        }

        QueueActionResult result = await fixture.Server.Engine.ApplyAsync(
            QueueAction.Cancel, all, new QueueActionOptions(Notifies: true), default);
        Assert.Equal(new QueueActionResult(0, 0, 0, 3), result);
        Assert.All(Waiting(fixture), entry => Assert.Equal("held", entry.State));
        Assert.Equal(3, fixture.Log.Queue.Recipients);
        Assert.Contains("+OK 0 ", Talk(fixture, "STAT", "QUIT"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Nothing_is_sent_any_more_when_it_could_not_be_written_down()
    {
        var disk = new ScriptedDisk();
        bool isOpen = false;
        int taken = 0;
        using var host = new ScriptedHost(line =>
        {
            if (line == "." && Interlocked.Increment(ref taken) == 1)
            {
                disk.Script = static (call, name) => call == "flush" && name.EndsWith(".seg", StringComparison.Ordinal) ? 5 : 0;
            }

            return line.StartsWith("RCPT", StringComparison.Ordinal) && !Volatile.Read(ref isOpen) ? "451 4.3.0 not now" : null;
        });
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            TimeProvider.System, disk, Trusted, $"route.table=relay.test=127.0.0.1:{host.Port}", "relay.connections=1",
            "relay.retry_min=1h", "relay.idle_time=1s", "relay.unflushed=4");
        for (int i = 0; i < 20; i++)
        {
            RelayTests.Send(fixture, "mx", "a@elsewhere.test", $"u{i}@relay.test");
        }

        await RelayTests.Until(() => Waiting(fixture).TrueForAll(entry => entry.State == "deferred"));
        Volatile.Write(ref isOpen, true);
        (ulong Seq, uint Recipient)[] all = [.. Waiting(fixture).Select(entry => (entry.Seq, entry.Recipient))];
        await fixture.Server.Engine.ApplyAsync(QueueAction.Retry, all, new QueueActionOptions(), default);

        await fixture.Server.Failed.WaitAsync(TimeSpan.FromSeconds(30));
        await RelayTests.Until(() => host.Commands.Count(command => command == "QUIT") == host.Connections); // it is idle
        Assert.InRange(taken, 1, 19);
        disk.Script = static (_, _) => 0;
    }

    private static ScriptedHost Busy() =>
        new(line => line.StartsWith("RCPT", StringComparison.Ordinal) ? "451 4.3.0 not now" : null);

    private static Task<ServerFixture> StartAsync(ScriptedHost host, ScriptedDisk disk) => ServerFixture.StartAsync(
        TimeProvider.System, disk, Trusted, $"route.table=relay.test=127.0.0.1:{host.Port}", "relay.retry_min=1h");

    private static async Task<(ulong Seq, uint Recipient)[]> DeferThreeAsync(ServerFixture fixture, string sender)
    {
        RelayTests.Send(fixture, "mx", sender, Three);
        await RelayTests.Until(() => Waiting(fixture).TrueForAll(entry => entry.State == "deferred"));
        return [.. Waiting(fixture).Select(entry => (entry.Seq, entry.Recipient))];
    }

    private static IEnumerable<string> Everybody(ScriptedHost host)
    {
        while (host.Taken.TryTake(out TakenMail? mail, TimeSpan.FromMilliseconds(200)))
        {
            foreach (string recipient in mail.Recipients)
            {
                yield return recipient;
            }
        }
    }

    internal static List<QueueEntry> Waiting(ServerFixture fixture) =>
        [.. new QueueReader(fixture.Log).Read(new QueueSelector(), DateTimeOffset.MaxValue)];

    internal static string Talk(ServerFixture fixture, params string[] commands)
    {
        using Socket client = fixture.Connect("pop3");
        Defence.Talk.Send(client, string.Join("\r\n", ["USER u@local.test", $"PASS {ServerFixture.Password}", .. commands, ""]));
        return Defence.Talk.ReadToEnd(client);
    }
}
