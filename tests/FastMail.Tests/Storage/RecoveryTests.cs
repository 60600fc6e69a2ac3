using System.Buffers.Binary;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

public sealed class RecoveryTests
{
    [Fact]
    public void A_tail_torn_at_any_byte_keeps_exactly_the_complete_records()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        scene.Deliver("acknowledged", 1);
        PendingMessage[] group = [scene.Build("x", 1), scene.Build("yy", 1, 2), scene.Build("zzz", 1)];
        using LogScene image = scene.CrashAfterGroup(group);
        byte[] whole = File.ReadAllBytes(image.FirstSegment);
        long start = (long)group[0].Lsn - GroupMeta.TotalBytes;
        long end = (long)group[2].Lsn + group[2].Bytes;
        string[] all = ["acknowledged", "x", "yy", "zzz"];

        for (long cut = start; cut <= end; cut++)
        {
            byte[] torn = (byte[])whole.Clone();
            torn.AsSpan((int)cut).Clear();
            File.WriteAllBytes(image.FirstSegment, torn);
            // Cutting only zeros changes nothing: a record is complete once its last octet that is not 0 is there.
            int complete = group.Count(m => torn.AsSpan((int)m.Lsn, (int)m.Bytes)
                .SequenceEqual(whole.AsSpan((int)m.Lsn, (int)m.Bytes)));
            image.Open();
            Assert.Equal(all[..(1 + complete)], image.Bodies(1));
            Assert.Equal(["holds up the appender"], image.Bodies(4711));
            image.Close();
        }
    }

    [Fact]
    public void After_a_torn_tail_the_log_goes_on()
    {
        using LogScene scene = new();
        scene.Open();
        PendingMessage[] group = [scene.Build("kept", 1), scene.Build("torn", 1), scene.Build("lost with it", 1)];
        using LogScene image = scene.CrashAfterGroup(group);
        Overwrite(image.FirstSegment, (long)group[1].Lsn + 70, 0xFF);
        image.Open();
        Assert.Single(image.Notices);
        Assert.Equal(["kept"], image.Bodies(1));
        image.Deliver("new", 1);
        image.Reopen();
        Assert.Equal(["kept", "new"], image.Bodies(1));
        Assert.Equal([1UL, 2UL], image.Uids(1));
        Assert.Single(image.Notices);
    }

    [Fact]
    public void The_unproven_tail_is_written_again_and_flushed_before_anything_else()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("proven", 1);
        PendingMessage[] group = [scene.Build("unproven", 1), scene.Build("too", 1)];
        using LogScene image = scene.CrashAfterGroup(group);
        List<string> calls = [];
        ScriptedDisk disk = new()
        {
            OnWrite = (file, offset, bytes) =>
            {
                if (file.EndsWith(".seg", StringComparison.Ordinal))
                {
                    calls.Add($"write {offset}+{bytes}");
                }
            },
            Script = (call, file) =>
            {
                if (call == "flush" && file.EndsWith(".seg", StringComparison.Ordinal))
                {
                    calls.Add(call);
                }

                return 0;
            },
        };
        using (MailLog.Open(image.Directory, image.Options, disk, image.Clock, new FixedRandom(), image))
        {
            long start = (long)group[0].Lsn - GroupMeta.TotalBytes;
            long end = (long)group[1].Lsn + group[1].Bytes;
            long proof = GroupMeta.TotalBytes;
            long restOfPage = -(end + proof) & (SegmentHeader.Bytes - 1);
            Assert.Equal(
                [$"write {start}+{end - start}", "flush", $"write {end}+{proof + restOfPage}", "flush"], calls);
        }
    }

    [Fact]
    public void A_torn_body_behind_the_proof_ends_the_log()
    {
        using LogScene scene = new();
        scene.Open();
        PendingMessage[] group = [scene.Build("kept", 1), scene.Build(new string('t', 9000), 1), scene.Build("c", 1)];
        using LogScene image = scene.CrashAfterGroup(group);
        Overwrite(image.FirstSegment, (long)group[1].Lsn + 8000, 0);
        image.Open();
        Assert.Equal(["kept"], image.Bodies(1));
    }

    [Fact]
    public void A_record_left_over_behind_the_tail_never_comes_back()
    {
        using LogScene scene = new();
        scene.Open();
        // Three records are torn away; the ghost behind them stays on the disk. The next run writes its opening GROUP,
        // a group's GROUP and one message: three records of the same length together, so the ghost's address and seq
        // would both fit.
        PendingMessage[] torn = [scene.Build(new string('a', 400), 1), scene.Build("b", 1), scene.Build("c", 1)];
        PendingMessage ghost = scene.Build("ghost", 1);
        long length = torn.Sum(m => m.Bytes) - (2 * GroupMeta.TotalBytes);
        using LogScene image = scene.CrashAfterGroup([.. torn, ghost]);
        Overwrite(image.FirstSegment, (long)torn[0].Lsn + 20, 0xFF);

        image.Open();
        PendingMessage message = image.Build("new", 1);
        long fill = length - message.Bytes;
        image.Log!.Return(message);
        message = image.Build("new" + new string('n', (int)fill), 1);
        Assert.Equal(length, message.Bytes);
        LogScene? second = null;
        using SemaphoreSlim done = new(0);
        image.OnGroup = _ =>
        {
            second = image.Crash();
            done.Release();
        };
        image.Log.Append(message);
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(ghost.Lsn, message.Lsn + (ulong)message.Bytes);
        Assert.Equal(ghost.Seq, message.Seq + 1);
        using (second)
        {
            second!.Open();
            Assert.Equal([1UL], second.Uids(1));
            Assert.StartsWith("new", second.Bodies(1)[0], StringComparison.Ordinal);
        }
    }

    [Fact]
    public void A_bit_flip_in_a_body_costs_that_message_only()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("one", 1);
        PendingMessage hit = scene.Build(new string('2', 300), 1);
        scene.Append(hit);
        scene.Deliver("three", 1);
        scene.Close();
        Flip(scene.FirstSegment, (long)hit.Lsn + hit.Bytes - 100);
        for (int i = 0; i < 2; i++)
        {
            scene.Open();
            Assert.Equal(["one", "!Damaged", "three"], scene.Bodies(1));
            scene.Close();
        }
    }

    [Fact]
    public void A_clean_end_is_believed_and_a_crash_after_it_is_still_seen()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("first run", 1);
        scene.Reopen();
        PendingMessage[] group = [scene.Build("kept", 1), scene.Build("torn", 1), scene.Build("behind", 1)];
        using LogScene image = scene.CrashAfterGroup(group);
        Overwrite(image.FirstSegment, (long)group[1].Lsn, 0);
        image.Open();
        Assert.Equal(["first run", "kept"], image.Bodies(1));
        image.Close();
        Assert.False(File.ReadAllBytes(image.FirstSegment).AsSpan((int)group[2].Lsn, 32).SequenceEqual(
            File.ReadAllBytes(scene.FirstSegment).AsSpan((int)group[2].Lsn, 32)));
    }

    [Fact]
    public void An_interrupted_beginning_is_made_anew()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Close();
        byte[] segment = File.ReadAllBytes(scene.FirstSegment);
        segment.AsSpan(SegmentHeader.Bytes).Clear();
        File.WriteAllBytes(scene.FirstSegment, segment);
        File.Delete(Path.Join(scene.Directory, "FORMAT"));
        scene.Open();
        scene.Deliver("works", 1);
        scene.Close();
        File.Delete(Path.Join(scene.Directory, "FORMAT"));
        Assert.Throws<DamagedLogException>(() => scene.Open());
    }

    [Fact]
    public void Half_made_files_are_removed_and_a_finished_spare_is_used()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("one", 1);
        scene.Close();
        scene.Open().Dispose();
        File.WriteAllBytes(Path.Join(scene.LogDirectory, "spare.tmp"), new byte[12345]);
        File.WriteAllBytes(Path.Join(scene.LogDirectory, "spare"), new byte[2 << 20]);
        scene.Open();
        Assert.False(File.Exists(Path.Join(scene.LogDirectory, "spare.tmp")));
        for (int i = 0; i < 11; i++)
        {
            scene.Deliver(new string('s', 100_000), 1);
        }

        scene.Reopen();
        Assert.Equal(12, scene.Log!.Snapshot(1).Count);
        Assert.Contains(
            Directory.EnumerateFiles(scene.LogDirectory, "*.seg"), path => new FileInfo(path).Length == 2 << 20);
    }

    [Fact]
    public void A_store_of_a_newer_program_is_refused_and_not_touched()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("one", 1);
        scene.Close();
        string path = Path.Join(scene.Directory, "FORMAT");
        byte[] format = File.ReadAllBytes(path);
        format[32] |= 0x10; // incompat
        BinaryPrimitives.WriteUInt32LittleEndian(format.AsSpan(56), Crc32C.Extend(0, format.AsSpan(0, 56)));
        File.WriteAllBytes(path, format);
        SortedDictionary<string, byte[]> before = scene.Files();
        IncompatibleFormatException e = Assert.Throws<IncompatibleFormatException>(() => scene.Open());
        Assert.Contains("0x10", e.Message, StringComparison.Ordinal);
        AssertSame(before, scene.Files());

        format[0] ^= 1;
        File.WriteAllBytes(path, format);
        Assert.Contains("of a backup of this store", Assert.Throws<DamagedLogException>(() => scene.Open()).Message, StringComparison.Ordinal);
    }

    private static void AssertSame(SortedDictionary<string, byte[]> before, SortedDictionary<string, byte[]> after)
    {
        Assert.Equal(before.Keys, after.Keys, StringComparer.Ordinal);
        foreach ((string name, byte[] content) in before)
        {
            Assert.True(content.AsSpan().SequenceEqual(after[name]), $"{name} was changed");
        }
    }

    private static void Flip(string path, long offset)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
        file.Position = offset;
        int value = file.ReadByte();
        file.Position = offset;
        file.WriteByte((byte)(value ^ 0x20));
    }

    private static void Overwrite(string path, long offset, byte value)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
        file.Position = offset;
        file.WriteByte(value);
    }
}
