using System.Text;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Simulation;

/// <summary>The simulated disk itself: it lies as it should, and keeps what it promised.</summary>
public sealed class LyingDiskTests
{
    private const string Name = LyingDisk.Root + "/file";

    [Fact]
    public void What_was_flushed_is_kept_and_what_was_not_may_be_lost_or_torn()
    {
        SortedSet<string> outcomes = new(StringComparer.Ordinal);
        for (int seed = 0; seed < 200; seed++)
        {
            LyingDisk disk = new(512);
            IDiskFile file = Create(disk.Boot(new FaultPlan(seed)));
            Write(file, new string('a', 512), 0);
            Assert.Equal(0, file.Flush());
            Write(file, new string('b', 512), 0);
            Write(file, new string('c', 512), 0);
            Assert.Equal(0, disk.Boot(new FaultPlan(seed)).SyncDirectory(LyingDisk.Root));

            disk.LosePower(new Random(seed));

            string left = Encoding.ASCII.GetString(disk.Find(Name)!.Cache);
            Assert.Equal(512, left.Length);
            outcomes.Add(string.Concat(left.Distinct()));
        }

        Assert.All((string[])["a", "b", "c", "ab", "ac", "ba", "ca"], o => Assert.Contains(o, outcomes));
    }

    [Fact]
    public void After_a_failed_flush_the_cache_shows_what_no_later_flush_writes()
    {
        SortedSet<string> outcomes = new(StringComparer.Ordinal);
        for (int seed = 0; seed < 50; seed++)
        {
            LyingDisk disk = new(512);
            FaultPlan plan = new(seed);
            DiskPort port = disk.Boot(plan);
            IDiskFile file = Create(port);
            Write(file, new string('a', 512), 0);
            Assert.Equal(0, file.Flush());
            Assert.Equal(0, port.SyncDirectory(LyingDisk.Root));
            Write(file, new string('b', 512), 0);
            plan.FailAfter(DiskLane.Opener, 0, Errno.InputOutput, isForEver: false);
            Assert.Equal(Errno.InputOutput, file.Flush());
            Assert.Equal((byte)'b', disk.Find(Name)!.Cache[0]);
            Assert.Equal(0, file.Flush());

            disk.LosePower(new Random(seed), keepsNothing: true);

            outcomes.Add(string.Concat(Encoding.ASCII.GetString(disk.Find(Name)!.Cache).Distinct()));
        }

        Assert.Contains("a", outcomes);
        Assert.Contains("b", outcomes);
    }

    [Fact]
    public void A_name_is_lost_until_its_directory_is_synced_and_a_rename_is_never_half_done()
    {
        SortedSet<string> outcomes = new(StringComparer.Ordinal);
        for (int seed = 0; seed < 50; seed++)
        {
            LyingDisk disk = new(512);
            DiskPort port = disk.Boot(new FaultPlan(seed));
            IDiskFile file = Create(port);
            Write(file, "x", 0);
            Assert.Equal(0, file.Flush());
            bool isSynced = seed % 2 == 0;
            Assert.True(!isSynced || port.SyncDirectory(LyingDisk.Root) == 0);
            Assert.Equal(0, port.Rename(Name, Name + "2"));

            disk.LosePower(new Random(seed));

            bool isOld = disk.Find(Name) is not null;
            bool isNew = disk.Find(Name + "2") is not null;
            Assert.False(isOld && isNew);
            Assert.True(isOld || isNew || !isSynced);
            outcomes.Add($"{isSynced} {isOld} {isNew}");
        }

        Assert.Equal(5, outcomes.Count);
    }

    [Fact]
    public void Nothing_reaches_the_disk_from_a_process_that_has_ended()
    {
        LyingDisk disk = new(512);
        DiskPort port = disk.Boot(new FaultPlan(0));
        IDiskFile file = Create(port);
        Write(file, "x", 0);
        port.End();

        Assert.Equal(Errno.InputOutput, file.WriteAll("y"u8, 0));
        Assert.Equal(Errno.InputOutput, file.Flush());
        Assert.Equal(Errno.InputOutput, port.Remove(Name));
        Assert.Equal((byte)'x', disk.Find(Name)!.Cache[0]);
    }

    private static IDiskFile Create(DiskPort port)
    {
        Assert.Equal(0, port.Open(Name, FileUse.CreateEmpty, out IDiskFile? file));
        return file!;
    }

    private static void Write(IDiskFile file, string text, long offset)
    {
        Assert.Equal(0, file.WriteAll(Encoding.ASCII.GetBytes(text), offset));
    }
}
