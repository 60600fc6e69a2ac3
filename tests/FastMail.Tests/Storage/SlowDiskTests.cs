using System.Globalization;
using System.Security.Cryptography;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>A flush that does not come back for long, and those who do not wait for it.</summary>
public sealed class SlowDiskTests
{
    [Fact]
    public void What_is_given_up_in_the_queue_is_never_written_and_what_is_in_a_group_is_taken_out_again()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk);
        MailLog log = scene.Open();
        scene.Deliver("before", 1, 2);
        using StuckFlush stuck = new(disk);
        PendingMessage inGroup = scene.Build("in the group", 1, 2);
        PendingMessage queued = scene.Build("queued", 1, 2);
        PendingMessage wanted = scene.Build("wanted", 1);
        using SemaphoreSlim done = new(0);
        inGroup.Owner = queued.Owner = wanted.Owner = done;
        log.Append(inGroup);
        stuck.AwaitCall();
        log.Append(queued);
        log.Append(wanted);

        Assert.True(log.GiveUp(inGroup));
        Assert.True(log.GiveUp(queued));
        Assert.False(log.GiveUp(queued)); // once
        stuck.Release();
        for (int i = 0; i < 3; i++)
        {
            Assert.True(done.Wait(TimeSpan.FromSeconds(60)));
        }

        Assert.Equal(AppendOutcome.Withdrawn, inGroup.Outcome);
        Assert.Equal(AppendOutcome.Withdrawn, queued.Outcome);
        Assert.Equal(AppendOutcome.Durable, wanted.Outcome);
        Assert.False(log.GiveUp(wanted));
        Assert.Equal(["before", "wanted"], scene.Bodies(1));
        Assert.Equal(["before"], scene.Bodies(2));
        Assert.Equal([1, 3], scene.Uids(1)); // the queued one took no unique-id
        Assert.Equal(0, log.PendingBytes);
        scene.Reopen();
        Assert.Equal(["before", "wanted"], scene.Bodies(1));
        Assert.Equal(["before"], scene.Bodies(2));
    }

    [Fact]
    public void A_removal_given_up_in_the_queue_removes_nothing_and_one_in_a_group_stands()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk);
        MailLog log = scene.Open();
        scene.Deliver("one", 1);
        scene.Deliver("two", 1);
        using StuckFlush stuck = new(disk);
        PendingExpunge inGroup = new(1, [1], ExpungeReason.Pop3Quit);
        PendingExpunge queued = new(1, [2], ExpungeReason.Pop3Quit);
        using SemaphoreSlim done = new(0);
        inGroup.Owner = queued.Owner = done;
        log.Append(inGroup);
        stuck.AwaitCall();
        log.Append(queued);
        Assert.True(log.GiveUp(inGroup));
        Assert.True(log.GiveUp(queued));
        stuck.Release();
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)) && done.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(AppendOutcome.Durable, inGroup.Outcome);
        Assert.Equal(AppendOutcome.Withdrawn, queued.Outcome);
        Assert.Equal(["two"], scene.Bodies(1));
    }

    [Fact]
    public void A_long_message_given_up_while_its_body_is_flushed_leaves_no_file()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Tiny);
        MailLog log = scene.Open();
        using StuckFlush stuck = new(disk, ".tmp");
        PendingMessage message = scene.Build(new string('x', 500_000), 1);
        using SemaphoreSlim done = new(0);
        message.Owner = done;
        log.Append(message);
        stuck.AwaitCall();
        Assert.True(log.GiveUp(message));
        stuck.Release();
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(AppendOutcome.Withdrawn, message.Outcome);
        log.Return(message);
        scene.Reopen();
        Assert.Empty(scene.Bodies(1));
        Assert.Empty(Directory.EnumerateFiles(Path.Join(scene.Directory, "body")));
    }

    [Fact]
    public void A_long_message_given_up_in_its_group_keeps_its_body_until_the_removal_is_durable()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Tiny);
        MailLog log = scene.Open();
        using StuckFlush stuck = new(disk);
        string body = new('x', 500_000);
        PendingMessage message = scene.Build(body, 1);
        using SemaphoreSlim done = new(0);
        message.Owner = done;
        log.Append(message);
        stuck.AwaitCall();
        Assert.True(log.GiveUp(message));
        // The message is durable, and what is to take it out of its maildrop never comes to be.
        stuck.Release(static (call, name) =>
            call == "write" && name.EndsWith(".seg", StringComparison.Ordinal) ? Errno.InputOutput : 0);
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(AppendOutcome.Withdrawn, message.Outcome);
        log.Return(message);
        scene.Close();
        Assert.Equal(Errno.InputOutput, scene.FailedErrno);
        disk.Script = static (_, _) => 0;
        scene.Open();
        Assert.Equal([body], scene.Bodies(1));
    }

    [Fact]
    public void The_age_of_the_group_tells_how_slow_the_disk_is()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk);
        MailLog log = scene.Open();
        Assert.Equal(TimeSpan.Zero, log.GroupAge);
        using StuckFlush stuck = new(disk);
        using SemaphoreSlim done = new(0);
        PendingMessage message = scene.Build("slow", 1);
        message.Owner = done;
        log.Append(message);
        stuck.AwaitCall();
        scene.Clock.Elapsed += TimeSpan.FromSeconds(90);
        Assert.Equal(TimeSpan.FromSeconds(90), log.GroupAge);
        stuck.Release();
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(TimeSpan.Zero, log.GroupAge);
    }

    [Fact]
    public void Whatever_is_given_up_is_gone_in_the_end_and_nothing_else()
    {
        int seed = RandomNumberGenerator.GetInt32(int.MaxValue);
        Random random = new(seed);
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Tiny);
        MailLog log = scene.Open();
        List<string> kept = [];
        using SemaphoreSlim done = new(0);
        for (int round = 0; round < 40; round++)
        {
            using StuckFlush? stuck = random.Next(2) == 0 ? new StuckFlush(disk) : null;
            List<(PendingMessage Message, string Text)> sent = [];
            for (int i = random.Next(1, 6); i > 0; i--)
            {
                string text = string.Create(CultureInfo.InvariantCulture, $"{round}.{i} ");
                text += new string('x', random.Next(8) == 0 ? 200_000 : random.Next(3000));
                PendingMessage message = scene.Build(text, 1);
                message.Owner = done;
                log.Append(message);
                sent.Add((message, text));
            }

            bool[] isGivenUp = [.. sent.Select(s => random.Next(2) == 0 && log.GiveUp(s.Message))];
            stuck?.Release();
            for (int i = 0; i < sent.Count; i++)
            {
                Assert.True(done.Wait(TimeSpan.FromSeconds(60)), $"seed {seed}");
            }

            for (int i = 0; i < sent.Count; i++)
            {
                AppendOutcome expected = isGivenUp[i] ? AppendOutcome.Withdrawn : AppendOutcome.Durable;
                Assert.True(sent[i].Message.Outcome == expected, $"seed {seed}: {sent[i].Message.Outcome}");
                log.Return(sent[i].Message);
                if (!isGivenUp[i])
                {
                    kept.Add(sent[i].Text);
                }
            }
        }

        scene.Deliver("last", 1); // behind every removal of what was given up
        kept.Add("last");
        kept.Sort(StringComparer.Ordinal);
        Assert.True(kept.SequenceEqual(scene.Bodies(1).Order(StringComparer.Ordinal), StringComparer.Ordinal), $"seed {seed}");
        scene.Reopen();
        Assert.True(kept.SequenceEqual(scene.Bodies(1).Order(StringComparer.Ordinal), StringComparer.Ordinal), $"seed {seed}");
        Assert.Equal(kept.Count(k => k.Length > 128 * 1024), Directory.GetFiles(Path.Join(scene.Directory, "body")).Length);
    }

    /// <summary>From now on flushes of files whose name ends so wait until they are released.</summary>
    internal sealed class StuckFlush : IDisposable
    {
        private readonly ScriptedDisk _disk;
        private readonly ManualResetEventSlim _go = new();
        private readonly SemaphoreSlim _called = new(0);

        public StuckFlush(ScriptedDisk disk, string suffix = ".seg")
        {
            _disk = disk;
            disk.Script = (call, name) =>
            {
                if (call == "flush" && name.EndsWith(suffix, StringComparison.Ordinal) && !_go.IsSet)
                {
                    _ = _called.Release();
                    _go.Wait();
                }

                return 0;
            };
        }

        public void AwaitCall()
        {
            Assert.True(_called.Wait(TimeSpan.FromSeconds(60)), "nothing was flushed");
        }

        public void Release()
        {
            Release(static (_, _) => 0);
        }

        public void Release(Func<string, string, int> next)
        {
            _disk.Script = next;
            _go.Set();
        }

        public void Dispose()
        {
            Release();
        }
    }
}
