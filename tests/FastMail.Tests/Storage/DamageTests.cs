using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>Damage of acknowledged records on the real disk: what is stepped over, what is refused.</summary>
public sealed class DamageTests
{
    [Theory]
    [InlineData(0)] // magic
    [InlineData(12)] // header CRC
    [InlineData(24)] // seq
    [InlineData(70)] // meta
    public void Damage_of_acknowledged_mail_is_kept_aside_and_stepped_over(int offset)
    {
        using LogScene scene = new();
        scene.Open();
        PendingMessage hit = scene.Build("one", 1);
        scene.Append(hit);
        scene.Deliver("two", 1);
        scene.Close();
        Flip(scene.FirstSegment, (long)hit.Lsn + offset);
        byte[] damaged = File.ReadAllBytes(scene.FirstSegment).AsSpan((int)hit.Lsn, (int)hit.Bytes).ToArray();
        string copy = Path.Join(scene.Directory, "quarantine", $"{hit.Lsn:x16}-{hit.Bytes}.bin");
        for (int i = 1; i <= 3; i++)
        {
            scene.Open();
            Assert.Equal(["two"], scene.Bodies(1));
            Assert.Equal([2UL], scene.Uids(1));
            Assert.Equal(damaged, File.ReadAllBytes(copy));
            Assert.Single(Directory.EnumerateFiles(Path.Join(scene.Directory, "quarantine")));
            Assert.Equal(i, scene.Notices.Count); // every start says it
            Assert.Contains($"offset {hit.Lsn}, {hit.Bytes} bytes", scene.Notices[^1], StringComparison.Ordinal);
            Assert.Contains("1 record(s) missing", scene.Notices[^1], StringComparison.Ordinal);
            Assert.Contains(copy, scene.Notices[^1], StringComparison.Ordinal);
            scene.Close();
        }

        Flip(scene.FirstSegment, (long)hit.Lsn + offset);
        scene.Open();
        Assert.Equal(["one", "two"], scene.Bodies(1));
        Assert.Equal(3, scene.Notices.Count);
    }

    [Fact]
    public void A_unique_id_that_may_have_been_given_in_damage_is_never_given_again()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("kept", 1);
        ulong lost = scene.Deliver("lost", 1, 2);
        ulong also = scene.Deliver("lost too", 1);
        scene.Close();
        Flip(scene.FirstSegment, (long)lost);
        Flip(scene.FirstSegment, (long)also);
        scene.Open();
        scene.Deliver("new", 1, 2, 3);
        Assert.Equal(["kept", "new"], scene.Bodies(1));
        ulong[] first = scene.Uids(1);
        Assert.True(first[1] > 3, $"unique-id {first[1]} had been given");
        ulong second = Assert.Single(scene.Uids(2));
        Assert.True(second > 1, $"unique-id {second} of a mailbox seen nowhere else had been given");
        scene.Reopen();
        Assert.Equal(["kept", "new"], scene.Bodies(1));
        Assert.Equal(first, scene.Uids(1));
        Assert.Equal([second], scene.Uids(2));
        scene.Deliver("newer", 1);
        Assert.Equal([.. first, first[1] + 1], scene.Uids(1));
    }

    [Fact]
    public void Damage_of_the_first_record_behind_a_clean_end_does_not_end_the_log()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("first run", 1);
        scene.Close();
        long clean = scene.ContentEnd(scene.FirstSegment);
        scene.Open();
        scene.Deliver("second run", 1);
        scene.Close();
        Flip(scene.FirstSegment, clean);
        scene.Open();
        Assert.Equal(["first run", "second run"], scene.Bodies(1));
        Assert.Single(scene.Notices);
    }

    [Fact]
    public void A_lost_removal_brings_its_message_back_and_is_told()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("removed", 1);
        PendingExpunge removal = new(1, [1], ExpungeReason.Pop3Quit);
        scene.Append(removal);
        scene.Close();
        Flip(scene.FirstSegment, (long)removal.Lsn + 64);
        scene.Open();
        Assert.Equal(["removed"], scene.Bodies(1));
        Assert.Contains("removals among them undone", Assert.Single(scene.Notices), StringComparison.Ordinal);
    }

    [Fact]
    public void Damage_between_segments_is_stepped_over()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        Fill(scene, 20);
        string[] paths = [.. Directory.EnumerateFiles(scene.LogDirectory, "*.seg").Order(StringComparer.Ordinal)];
        Assert.True(paths.Length > 2);
        long seal = scene.ContentEnd(paths[0]) - SealMeta.TotalBytes;
        Flip(paths[0], seal);
        Flip(paths[1], SegmentHeader.Bytes);
        for (int i = 0; i < 2; i++)
        {
            scene.Open();
            Assert.Equal(Enumerable.Range(1, 20).Select(n => (ulong)n), scene.Uids(1));
            Assert.DoesNotContain(scene.Bodies(1), body => body.StartsWith('!'));
            Assert.Equal(2 * (i + 1), scene.Notices.Count);
            Assert.Contains("counted with the next", scene.Notices[0], StringComparison.Ordinal);
            Assert.Contains("2 record(s) missing", scene.Notices[1], StringComparison.Ordinal);
            scene.Close();
        }
    }

    [Fact]
    public void A_seal_proves_the_group_before_it()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        Fill(scene, 5);
        string[] paths = [.. Directory.EnumerateFiles(scene.LogDirectory, "*.seg").Order(StringComparer.Ordinal)];
        Assert.Equal(2, paths.Length);
        File.Delete(paths[1]); // as if the power had failed before the next segment got its name
        scene.Open();
        ulong[] uids = scene.Uids(1);
        ulong last = scene.Log!.Snapshot(1)[uids.Length - 1].Lsn;
        scene.Close();
        Flip(paths[0], (long)last);
        scene.Open();
        Assert.Equal(uids[..^1], scene.Uids(1));
        Assert.Contains("1 record(s) missing", Assert.Single(scene.Notices), StringComparison.Ordinal);
        Assert.Single(Directory.EnumerateFiles(Path.Join(scene.Directory, "quarantine")));
        scene.Deliver("new", 1);
        Assert.Equal([.. uids[..^1], uids[^1] + 1], scene.Uids(1));
    }

    [Fact]
    public void When_nothing_tells_how_much_is_missing_no_number_is_used_twice()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        Fill(scene, 5);
        string[] paths = [.. Directory.EnumerateFiles(scene.LogDirectory, "*.seg").Order(StringComparer.Ordinal)];
        byte[] whole = File.ReadAllBytes(paths[0]);
        Assert.Equal(2, paths.Length);
        using (FileStream file = new(paths[1], FileMode.Open))
        {
            file.Position = SegmentHeader.Bytes;
            file.Write(new byte[file.Length - file.Position]); // a successor that nothing was written to yet
        }

        scene.Open();
        ulong[] kept = scene.Uids(1);
        ulong last = scene.Log!.Snapshot(1)[kept.Length - 1].Lsn;
        scene.Close();
        using (FileStream file = new(paths[0], FileMode.Open))
        {
            file.Position = (long)last;
            file.Write(new byte[file.Length - file.Position]);
        }

        scene.Open();
        Assert.Equal(kept[..^1], scene.Uids(1));
        scene.Deliver("new", 1);
        ulong given = scene.Uids(1)[^1];
        Assert.True(given > kept[^1]);
        scene.Reopen();
        Assert.Equal([.. kept[..^1], given], scene.Uids(1));
        scene.Close();
        File.WriteAllBytes(paths[0], whole);
        scene.Open();
        Assert.Equal([.. kept, given], scene.Uids(1)); // the numbers jump, and nothing is lost
    }

    [Fact]
    public void A_segment_that_was_cut_loses_only_what_was_cut_off_and_a_restored_file_fits_in()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        Fill(scene, 8);
        string[] paths = [.. Directory.EnumerateFiles(scene.LogDirectory, "*.seg").Order(StringComparer.Ordinal)];
        foreach (string path in (string[])[paths[0], paths[^1]])
        {
            byte[] whole = File.ReadAllBytes(path);
            scene.Open();
            ulong[] uids = scene.Uids(1);
            scene.Close();
            File.WriteAllBytes(path, whole[..150_000]);
            scene.Open();
            Assert.Contains(scene.Notices, text => text.Contains("150000 bytes", StringComparison.Ordinal));
            ulong[] kept = scene.Uids(1);
            Assert.True(kept.Length < uids.Length || scene.Bodies(1).Contains("!Damaged"));
            scene.Deliver("new", 1);
            ulong given = scene.Uids(1)[^1];
            Assert.True(given > uids[^1]);
            scene.Reopen();
            Assert.Equal([.. kept, given], scene.Uids(1));
            scene.Close();
            File.WriteAllBytes(path, whole);
            scene.Open();
            Assert.Equal([.. uids, given], scene.Uids(1));
            Assert.DoesNotContain(scene.Bodies(1), body => body.StartsWith('!'));
            scene.Close();
        }
    }

    [Fact]
    public void A_segment_that_grew_is_read_as_it_was_made()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("one", 1);
        scene.Close();
        File.AppendAllText(scene.FirstSegment, "not ours");
        scene.Open();
        scene.Deliver("two", 1);
        scene.Reopen();
        Assert.Equal(["one", "two"], scene.Bodies(1));
        Assert.Equal(2, scene.Notices.Count);
    }

    [Fact]
    public void A_lost_header_page_is_rebuilt_from_the_records_behind_it()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        Fill(scene, 8);
        foreach (string path in Directory.EnumerateFiles(scene.LogDirectory, "*.seg"))
        {
            using FileStream file = new(path, FileMode.Open);
            file.Write(new byte[SegmentHeader.Bytes]);
        }

        scene.Open();
        Assert.DoesNotContain(scene.Bodies(1), body => body.StartsWith('!'));
        scene.Deliver("new", 1);
        scene.Reopen();
        Assert.Equal([1UL, 2, 3, 4, 5, 6, 7, 8, 9], scene.Uids(1));
    }

    [Fact]
    public void What_cannot_be_stepped_over_is_refused_and_not_touched()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        Fill(scene, 12);
        string[] paths = [.. Directory.EnumerateFiles(scene.LogDirectory, "*.seg").Order(StringComparer.Ordinal)];
        byte[] whole = File.ReadAllBytes(paths[1]);
        Refuses(() => File.Delete(paths[1]), "a segment is missing");
        Refuses(() => File.WriteAllBytes(paths[1], whole[..4000]), "header page");
        Refuses(() => File.WriteAllBytes(paths[1], [.. new byte[8192], .. whole[8192..]]), "header page");
        Refuses(() => File.WriteAllBytes(paths[1], File.ReadAllBytes(paths[0])), "another's name");
        byte[] jumping = (byte[])whole.Clone();
        Assert.True(SegmentHeader.TryRead(whole.AsSpan(0, SegmentHeader.Bytes).ToArray(), out SegmentHeader header));
        Span<byte> second = jumping.AsSpan(SegmentHeader.Bytes + GroupMeta.TotalBytes);
        RecordHeader record = RecordHeader.Read(second);
        record.Seq += 5;
        record.Write(second, header.Salt);
        Refuses(() => File.WriteAllBytes(paths[1], jumping), "an intact record bears number");

        void Refuses(Action damage, string why)
        {
            damage();
            SortedDictionary<string, byte[]> before = scene.Files();
            DamagedLogException e = Assert.Throws<DamagedLogException>(() => scene.Open());
            Assert.Contains(why, e.Message, StringComparison.Ordinal);
            SortedDictionary<string, byte[]> after = scene.Files();
            Assert.Equal(before.Keys, after.Keys, StringComparer.Ordinal);
            Assert.All(before, file => Assert.True(file.Value.AsSpan().SequenceEqual(after[file.Key]), file.Key));
            File.WriteAllBytes(paths[1], whole);
            scene.Open();
            Assert.Equal(12, scene.Uids(1).Length);
            scene.Close();
            whole = File.ReadAllBytes(paths[1]);
        }
    }

    [Theory]
    [InlineData(5, false)]
    [InlineData(5, true)]
    [InlineData(28, true)]
    public void A_recovery_that_is_stopped_at_any_disk_call_comes_to_the_same_end_when_run_again(
        int errno, bool isForEver)
    {
        using LogScene scene = new(options: LogScene.Tiny);
        Fill(scene, 9);
        string[] paths = [.. Directory.EnumerateFiles(scene.LogDirectory, "*.seg").Order(StringComparer.Ordinal)];
        scene.Open();
        ulong[] lsns = [.. Enumerable.Range(0, 9).Select(i => scene.Log!.Snapshot(1)[i].Lsn)];
        scene.Deliver("last", 1);
        using LogScene image = scene.Crash(); // the last group has no proof yet, or has just got it
        scene.Close();
        // A header page, a record in the middle, a SEAL, and the first record of the last segment.
        Flip(image.PathOf(paths[0]), 20);
        Flip(image.PathOf(paths[0]), (long)lsns[1] + 70);
        Flip(image.PathOf(paths[0]), image.ContentEnd(image.PathOf(paths[0])) - 90);
        Flip(image.PathOf(paths[^1]), SegmentHeader.Bytes);
        Outcome expected;
        using (LogScene undisturbed = image.Crash())
        {
            expected = Outcome.Of(undisturbed);
            Assert.Equal(4 * 2, undisturbed.Notices.Count); // it was opened twice
        }

        int calls = 0;
        int stops = 0;
        int seen;
        do
        {
            calls++;
            seen = 0;
            using LogScene stopped = image.Crash();
            ScriptedDisk disk = new();
            disk.Script = (_, _) => Interlocked.Increment(ref seen) is var n && (n == calls || (isForEver && n > calls))
                ? errno
                : 0;
            try
            {
                MailLog.Open(stopped.Directory, stopped.Options, disk, stopped.Clock, new FixedRandom(), stopped)
                    .Dispose();
            }
            catch (IOException)
            {
                stops++;
            }

            Outcome again = Outcome.Of(stopped);
            Assert.True(expected == again, $"call {calls}: {again}, not {expected}");
        }
        while (seen >= calls); // until no call was left to fail

        Assert.True(stops > 40, $"only {stops} of {calls} calls stopped it");
    }

    [Theory]
    [InlineData("write", "quarantine.tmp", 28)]
    [InlineData("write", "quarantine.tmp", 122)]
    [InlineData("mkdir", "quarantine", 28)]
    [InlineData("mkdir", "quarantine", 122)]
    [InlineData("open", "quarantine.tmp", 28)]
    [InlineData("flush", "quarantine.tmp", 122)]
    [InlineData("rename", null, 28)]
    [InlineData("rename", null, 122)]
    [InlineData("syncdir", "quarantine", 28)]
    public void A_disk_too_full_for_the_copy_does_not_keep_the_log_from_opening(string fails, string? on, int errno)
    {
        using LogScene scene = new();
        scene.Open();
        ulong lsn = scene.Deliver("one", 1);
        scene.Deliver("two", 1);
        scene.Close();
        Flip(scene.FirstSegment, (long)lsn);
        string quarantine = Path.Join(scene.Directory, "quarantine");
        ScriptedDisk disk = new()
        {
            Script = (call, file) =>
                call == fails && (on is null ? file.EndsWith(".bin", StringComparison.Ordinal) : file == on) ? errno : 0,
        };
        MailLog.Open(scene.Directory, scene.Options, disk, scene.Clock, new FixedRandom(), scene).Dispose();
        Assert.Contains("too full", Assert.Single(scene.Notices), StringComparison.Ordinal);
        Assert.False(File.Exists(Path.Join(quarantine, "quarantine.tmp")));
        scene.Open();
        Assert.Equal(["two"], scene.Bodies(1));
        Assert.Single(Directory.EnumerateFiles(quarantine));
    }

    /// <summary>Delivers that many messages of 60,000 octets to mailbox 1 and closes the log.</summary>
    private static void Fill(LogScene scene, int messages)
    {
        scene.Open();
        for (int i = 0; i < messages; i++)
        {
            // With the next segment ready, a segment is filled to its end: four messages, whatever the timing.
            Assert.True(SpinWait.SpinUntil(() => scene.Log!.HasSpare, TimeSpan.FromSeconds(60)));
            scene.Deliver(new string((char)('a' + i), 60_000), 1);
        }

        scene.Close();
    }

    private static void Flip(string path, long offset)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
        file.Position = offset;
        int value = file.ReadByte();
        file.Position = offset;
        file.WriteByte((byte)(value ^ 0x20));
    }

    /// <summary>What an open log shows and keeps. A value.</summary>
    private sealed record Outcome(string Maildrop, string Quarantine)
    {
        public static Outcome Of(LogScene scene)
        {
            scene.Open();
            string maildrop = string.Join(
                ' ', scene.Uids(1).Zip(scene.Bodies(1), (uid, body) => $"{uid}:{body.Length}:{body[0]}"));
            scene.Deliver("new", 1, 2);
            maildrop += $" next {scene.Uids(1)[^1]} {scene.Uids(2)[^1]}";
            scene.Reopen();
            Assert.EndsWith($" {scene.Uids(1)[^1]} {scene.Uids(2)[^1]}", maildrop, StringComparison.Ordinal);
            scene.Close();
            string quarantine = string.Join(
                ' ', scene.Files().Where(file => file.Key.StartsWith("quarantine", StringComparison.Ordinal))
                    .Select(file => $"{file.Key}:{Crc32C.Extend(0, file.Value):x8}"));
            return new Outcome(maildrop, quarantine);
        }

    }
}
