using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>The first start in a copy of a backup, and those after it.</summary>
public sealed class RestorationTests
{
    private const int Eio = 5;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void No_unique_id_and_no_number_that_was_given_after_the_backup_is_given_again(bool takesCheckpoints)
    {
        using LogScene scene = new(options: takesCheckpoints ? LogScene.Saving : LogScene.Tiny);
        using LogScene restored = BackUp(scene, LinuxDisk.Instance);
        ulong lastSeq = LoseToTheDisk(scene);

        restored.Open();
        Assert.Equal(["one", "two"], restored.Bodies(1));
        Assert.False(File.Exists(Path.Join(restored.Directory, MailLog.BackupName)));
        Assert.True(DeliverNew(restored, 1) > lastSeq);
        DeliverNew(restored, 2);
        Assert.True(restored.Uids(1)[^1] > scene.Uids(1)[^1], "a unique-id is given again");
        Assert.True(restored.Uids(2)[0] > scene.Uids(2)[^1], "a unique-id of a mailbox that the backup has not is given again");

        ulong[] uids = restored.Uids(1);
        restored.Reopen();
        Assert.Equal(uids, restored.Uids(1));
        DeliverNew(restored, 1);
        Assert.Equal(uids[^1] + 1, restored.Uids(1)[^1]); // it happens once
        Assert.Single(restored.Notices);
        restored.Close();
        AssertIsSound(restored);

        if (takesCheckpoints)
        {
            Directory.Delete(Path.Join(restored.Directory, "ckpt"), recursive: true);
        }

        restored.Open();
        DeliverNew(restored, 2);
        Assert.Equal([.. uids, uids[^1] + 1], restored.Uids(1));
        Assert.True(restored.Uids(2)[^1] > restored.Uids(2)[0]);
        Assert.Single(restored.Notices);
    }

    [Fact]
    public void A_start_that_ends_before_it_has_forgotten_the_backup_does_no_harm()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(options: LogScene.Tiny);
        using LogScene restored = BackUp(scene, disk);
        LoseToTheDisk(scene);
        disk.Script = (name, file) =>
            name == "remove" && file.EndsWith(MailLog.BackupName, StringComparison.Ordinal) ? Eio : 0;
        Assert.Throws<IOException>(() => restored.Open());
        disk.Script = (_, _) => 0;

        restored.Open();
        DeliverNew(restored, 1);
        Assert.True(restored.Uids(1)[^1] > scene.Uids(1)[^1]);
        ulong[] uids = restored.Uids(1);
        restored.Reopen();
        Assert.Equal(uids, restored.Uids(1));
        Assert.Equal(["one", "two", "new"], restored.Bodies(1));
        restored.Close();
        AssertIsSound(restored);
    }

    [Fact]
    public void What_is_lost_in_front_of_where_the_numbers_go_on_higher_is_missed_and_nothing_else()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        using LogScene restored = BackUp(scene, LinuxDisk.Instance);
        restored.Open();
        DeliverNew(restored, 1);
        restored.Close();
        using (FileStream file = File.OpenWrite(restored.FirstSegment))
        {
            file.SetLength(SegmentHeader.Bytes + RecordHeader.Alignment);
        }

        restored.Open();
        Assert.Equal(["new"], restored.Bodies(1));
        string damage = Assert.Single(restored.Notices, n => n.Contains("damaged", StringComparison.Ordinal));
        Assert.DoesNotContain("42949", damage, StringComparison.Ordinal); // what was skipped is not missed
    }

    [Fact]
    public void A_header_page_that_is_lost_where_the_numbers_go_on_higher_makes_no_record_missed()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        using LogScene restored = BackUp(scene, LinuxDisk.Instance);
        restored.Open();
        DeliverNew(restored, 1);
        restored.Close();
        string second = Directory.GetFiles(restored.LogDirectory, "0-*.seg").Order(StringComparer.Ordinal).ElementAt(1);
        ReclaimStory.Rot(second, 5);

        restored.Open();
        Assert.Equal(["one", "two", "new"], restored.Bodies(1));
        Assert.Contains(restored.Notices, n => n.Contains("header page", StringComparison.Ordinal));
        Assert.DoesNotContain(restored.Notices, n => n.Contains("record(s) missing", StringComparison.Ordinal));
    }

    /// <summary>Two messages, and the copy that a backup makes of them.</summary>
    private static LogScene BackUp(LogScene scene, IDisk disk)
    {
        scene.Open();
        scene.Deliver("one", 1);
        scene.Deliver("two", 1);
        scene.Close();
        LogScene copy = new(disk, scene.Options);
        foreach ((string name, byte[] content) in scene.Files())
        {
            string path = Path.Join(copy.Directory, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(path, content);
        }

        File.WriteAllText(Path.Join(copy.Directory, MailLog.BackupName), "{}");
        return copy;
    }

    /// <summary>What came after the backup; answers the last number.</summary>
    private static ulong LoseToTheDisk(LogScene scene)
    {
        scene.Open();
        ulong seq = 0;
        for (int i = 0; i < 5; i++)
        {
            DeliverNew(scene, 1);
            seq = DeliverNew(scene, 2);
        }

        return seq;
    }

    /// <summary>Answers the number of its record.</summary>
    private static ulong DeliverNew(LogScene scene, ulong mailbox)
    {
        PendingMessage message = scene.Build("new", mailbox);
        Assert.Equal(AppendOutcome.Durable, scene.Append(message));
        ulong seq = message.Seq;
        scene.Log!.Return(message);
        return seq;
    }

    private static void AssertIsSound(LogScene scene)
    {
        using LogInspector log = LogInspector.Open(scene.Directory);
        Assert.Empty(log.Read().OfType<LogProblem>());
    }
}
