using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

public sealed class FaultTests
{
    private const int Eio = 5;
    private const int NoSpace = 28;

    [Theory]
    [InlineData("write", Eio)]
    [InlineData("flush", Eio)]
    [InlineData("flush", NoSpace)]
    [InlineData("write", NoSpace)]
    public void After_a_failed_write_or_flush_nothing_is_acknowledged_any_more(string call, int errno)
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk);
        MailLog log = scene.Open();
        scene.Deliver("before", 1);
        int failures = 0;
        // Once: if the log ever asked again, the second answer would be a success and prove nothing.
        disk.Script = (name, file) =>
            name == call && file.EndsWith(".seg", StringComparison.Ordinal) && Interlocked.Increment(ref failures) == 1
                ? errno
                : 0;

        Assert.Equal(AppendOutcome.Failed, scene.Append(scene.Build("lost", 1)));
        Assert.Equal(errno, scene.FailedErrno);
        Assert.True(log.HasFailed);
        Assert.Equal(AppendOutcome.Failed, scene.Append(scene.Build("later", 1)));
        Assert.Equal(AppendOutcome.Failed, scene.Expunge(1, 1));
        Assert.Equal(1, failures);
        Assert.Equal(["before"], scene.Bodies(1));
        Assert.Equal(0, log.PendingBytes);

        disk.Script = (_, _) => 0;
        scene.Reopen();
        Assert.Equal("before", scene.Bodies(1)[0]);
        scene.Deliver("after", 1);
        Assert.Equal("after", scene.Bodies(1)[^1]);
    }

    [Fact]
    public void Everyone_who_waits_learns_of_the_failure()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Small with { GroupBytes = 1 });
        MailLog log = scene.Open();
        disk.Script = (name, _) => name == "flush" ? Eio : 0;
        using CountdownEvent left = new(20);
        scene.OnGroup = first =>
        {
            for (PendingAppend? append = first; append is not null; append = append.Next)
            {
                Assert.Equal(AppendOutcome.Failed, append.Outcome);
                left.Signal();
            }
        };
        for (int i = 0; i < 20; i++)
        {
            log.Append(scene.Build($"m{i}", 1));
        }

        Assert.True(left.Wait(TimeSpan.FromSeconds(60)));
    }

    [Theory]
    [InlineData("write")]
    [InlineData("flush")]
    [InlineData("rename")]
    [InlineData("syncdir")]
    public void A_segment_that_cannot_be_begun_fails_the_log_and_loses_nothing(string call)
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk);
        scene.Open();
        bool hasFailed = false;
        string large = new('s', 100_000);
        int delivered = 0;
        while (!hasFailed)
        {
            if (delivered == 9)
            {
                // The maker of spare segments must be at rest, or the error would be its own.
                Assert.True(SpinWait.SpinUntil(() => scene.Log!.HasSpare, TimeSpan.FromSeconds(60)));
                // The tenth does not fit any more: SEAL, then header, rename and directory of the next segment.
                disk.Script = (name, file) => name == call && !file.EndsWith(".tmp", StringComparison.Ordinal)
                    ? Eio
                    : 0;
            }

            Assert.True(delivered < 20, "the script's error was never met");
            hasFailed = scene.Append(scene.Build(large, 1)) == AppendOutcome.Failed;
            delivered += hasFailed ? 0 : 1;
        }

        Assert.Equal(Eio, scene.FailedErrno);
        disk.Script = (_, _) => 0;
        scene.Reopen();
        Assert.InRange(scene.Log!.Snapshot(1).Count, delivered, delivered + 1);
        scene.Deliver(large, 1);
        scene.Deliver(large, 1);
        scene.Reopen();
        Assert.InRange(scene.Log!.Snapshot(1).Count, delivered + 2, delivered + 3);
    }

    [Fact]
    public void A_full_disk_refuses_mail_lets_expunges_pass_and_recovers()
    {
        ScriptedDisk disk = new() { Script = (name, _) => name is "free" or "allocate" ? NoSpace : 0 };
        using LogScene scene = new(disk);
        disk.Script = (_, _) => 0;
        MailLog first = scene.Open();
        Assert.True(SpinWait.SpinUntil(() => first.HasSpare, TimeSpan.FromSeconds(60))); // and the reserve
        scene.Close();
        File.Delete(Path.Join(scene.LogDirectory, "spare"));
        disk.Script = (name, _) => name is "free" or "allocate" ? NoSpace : 0;

        MailLog log = scene.Open();
        Assert.True(scene.SpaceChangedSignal.Wait(TimeSpan.FromSeconds(60)));
        Assert.True(log.IsSpaceLow);
        string body = new('f', 50_000);
        int stored = 0;
        AppendOutcome outcome;
        while ((outcome = scene.Append(scene.Build(body, 1))) == AppendOutcome.Durable)
        {
            stored++;
        }

        Assert.Equal(AppendOutcome.NoSpace, outcome);
        Assert.Equal(0, scene.FailedErrno);
        while (scene.Append(scene.Build("s", 2)) == AppendOutcome.Durable)
        {
            stored++;
        }

        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, 1));
        Assert.Equal(AppendOutcome.NoSpace, scene.Append(scene.Build(new string('o', 700_000), 1)));
        Assert.Equal(stored - 1, log.Snapshot(1).Count + log.Snapshot(2).Count);

        disk.Script = (_, _) => 0;
        Assert.True(scene.SpaceChangedSignal.Wait(TimeSpan.FromSeconds(60)));
        Assert.False(log.IsSpaceLow);
        scene.Deliver(body, 1);
        scene.Reopen();
        Assert.Equal(stored, scene.Log!.Snapshot(1).Count + scene.Log.Snapshot(2).Count);
        Assert.DoesNotContain(1UL, scene.Uids(1));
    }

    [Fact]
    public void The_reserve_ends_and_the_log_stays_sound()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Tiny);
        MailLog first = scene.Open();
        scene.Deliver("kept", 1);
        Assert.True(SpinWait.SpinUntil(() => first.HasSpare, TimeSpan.FromSeconds(60))); // and the reserve
        scene.Close();
        File.Delete(Path.Join(scene.LogDirectory, "spare"));
        disk.Script = (name, _) => name == "free" ? NoSpace : 0;
        scene.Open();
        Assert.True(scene.SpaceChangedSignal.Wait(TimeSpan.FromSeconds(60)));
        int expunges = 0;
        while (scene.Expunge(1, 1000, 2000) == AppendOutcome.Durable)
        {
            expunges++;
        }

        Assert.True(expunges > 300);
        scene.Reopen();
        Assert.Equal(["kept"], scene.Bodies(1));
        Assert.Equal(AppendOutcome.NoSpace, scene.Append(scene.Build("x", 1)));
        disk.Script = (_, _) => 0;
        scene.SpaceChangedSignal.Wait(TimeSpan.FromSeconds(60));
        while (scene.Log!.IsSpaceLow)
        {
            Assert.True(scene.SpaceChangedSignal.Wait(TimeSpan.FromSeconds(60)));
        }

        scene.Deliver("room again", 1);
        scene.Reopen();
        Assert.Equal(["kept", "room again"], scene.Bodies(1));
    }

    [Fact]
    public void Short_and_interrupted_writes_change_nothing()
    {
        ScriptedDisk disk = new() { IsStuttering = true };
        using LogScene scene = new(disk);
        scene.Open();
        string body = new('w', 300_000);
        scene.Deliver(body, 1);
        scene.Deliver("small", 1);
        Assert.Equal([body, "small"], scene.Bodies(1));
        scene.Reopen();
        Assert.Equal([body, "small"], scene.Bodies(1));
    }

    [Fact]
    public void A_page_that_cannot_be_read_is_an_answer_and_not_a_signal()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk);
        MailLog log = scene.Open();
        ulong lsn = scene.Deliver("there", 1);
        disk.Script = (name, _) => name == "populate" ? Eio : 0;
        Assert.Equal(ReadStatus.Unavailable, log.TryRead(lsn, out _));
        disk.Script = (_, _) => 0;
        Assert.Equal(ReadStatus.Ok, log.TryRead(lsn, out _));
    }

    [Fact]
    public void A_segment_cut_short_under_a_running_log_is_an_answer_and_not_a_signal()
    {
        using LogScene scene = new();
        MailLog log = scene.Open();
        scene.Deliver(new string('a', 20_000), 1);
        ulong lsn = scene.Deliver("gone", 1);
        using (FileStream file = new(scene.FirstSegment, FileMode.Open, FileAccess.ReadWrite))
        {
            file.SetLength(8192);
        }

        // Damaged when the proof of the last group came behind the cut: it makes the file long again, with a hole.
        ReadStatus status = log.TryRead(lsn, out _);
        Assert.True(status is ReadStatus.Unavailable or ReadStatus.Damaged, status.ToString());
    }

    [Fact]
    public void A_disk_that_hides_flush_errors_is_refused()
    {
        using LogScene scene = new(new ScriptedDisk { IsHonest = false });
        Assert.Throws<IOException>(() => scene.Open());
        Assert.True(LinuxDisk.Instance.FlushReportsErrors());
    }

    [Fact]
    public void A_closed_file_fails_to_flush_with_an_errno()
    {
        string path = Path.GetTempFileName();
        Assert.Equal(0, LinuxDisk.Instance.Open(path, FileUse.Existing, out IDiskFile? file));
        Assert.Equal(0, file!.Flush());
        file.Dispose();
        Assert.Equal(9, file.Flush());
        File.Delete(path);
    }

    [Fact]
    public void Without_the_populate_call_reading_finds_the_same_errors()
    {
        string path = Path.GetTempFileName();
        File.WriteAllBytes(path, new byte[100_000]);
        Assert.Equal(0, LinuxDisk.Instance.Open(path, FileUse.Existing, out IDiskFile? file));
        using (file)
        {
            LinuxFile real = (LinuxFile)file!;
            Assert.Equal(0, real.PopulateSlow(10, 99_990));
            Assert.Equal(Eio, real.PopulateSlow(10, 99_991));
        }

        File.Delete(path);
    }
}
