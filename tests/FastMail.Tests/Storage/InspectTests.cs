using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>The read-only reader of the log: what it finds in sound, damaged and torn logs.</summary>
public sealed class InspectTests
{
    [Fact]
    public void A_sound_log_of_several_segments_has_no_problem_and_its_counts_are_right()
    {
        using LogScene scene = new();
        scene.Open();
        for (int i = 0; i < 25; i++)
        {
            scene.Deliver(new string('s', 100_000), 1, 2);
        }

        scene.Deliver("for two alone", 3);
        scene.Expunge(1, 3, 4, 5, 20);
        scene.Expunge(2, 4, 20);
        scene.Expunge(3, 1);
        scene.Close();

        (LogTally tally, List<LogProblem> problems, _) = Inspect(scene);
        Assert.Empty(problems);
        Assert.Equal(26, tally.Types[RecordType.Message].Number);
        Assert.Equal(3, tally.Types[RecordType.Expunge].Number);
        Assert.Equal(3, Directory.GetFiles(scene.LogDirectory, "*.seg").Length);
        Assert.Equal(2, tally.Types[RecordType.Seal].Number);
        Assert.Equal((23L, 3L), (tally.Live.Number, tally.Dead.Number)); // 4 and 20 are gone from both maildrops
        Assert.Equal((3, 2), (tally.Mailboxes, tally.FilledMailboxes));
        Assert.Equal(1UL, tally.FirstSeq);
        Assert.Equal((ulong)tally.Records.Number, tally.LastSeq);
        Assert.True(tally.IsClean);
    }

    [Fact]
    public void Every_flipped_bit_is_found_and_hides_one_record_at_most()
    {
        using LogScene scene = SmallLog();
        byte[] sound = File.ReadAllBytes(scene.FirstSegment);
        (LogTally whole, _, List<LogRecord> records) = Inspect(scene);
        LogRecord last = records[^1];
        Assert.True(last.IsCleanEnd);

        for (int offset = SegmentHeader.Bytes; offset < (int)whole.EndLsn; offset++)
        {
            // One bit of each octet, another one each time.
            byte bit = (byte)(1 << (offset * 5 % 8));
            Patch(scene.FirstSegment, offset, (byte)(sound[offset] ^ bit));
            (LogTally tally, List<LogProblem> problems, List<LogRecord> found) = Inspect(scene);
            string where = $"bit {bit:x2} at {offset}";
            Assert.True(problems.Count == 1, $"{where}: {string.Join("; ", problems.Select(p => p.Text))}");
            LogRecord hit = records.Last(r => r.Offset <= offset);
            // Nothing proves the last record of a log, so its damage looks like a torn tail; only the proof is lost.
            bool isProof = hit == last && problems[0].Kind != LogProblemKind.Padding;
            Assert.True(problems[0].IsDamage != isProof, where);
            Assert.True(problems[0].Offset == hit.Offset, where);
            Assert.True(found.Count >= records.Count - 1, where);
            Assert.Equal(records.Count - found.Count - (isProof ? 1 : 0), (int)tally.MissingRecords);
            Patch(scene.FirstSegment, offset, sound[offset]);
        }
    }

    [Fact]
    public void A_damaged_header_page_is_told_with_the_number_of_records_it_hides()
    {
        using LogScene scene = ThreeSegments();
        (_, _, List<LogRecord> records) = Inspect(scene);
        int hidden = records.Count(r => r.Path == scene.FirstSegment);
        for (int offset = 0; offset < SegmentHeader.Bytes; offset += offset < 96 ? 1 : 500)
        {
            byte[] sound = File.ReadAllBytes(scene.FirstSegment);
            Patch(scene.FirstSegment, offset, (byte)(sound[offset] ^ 4));
            (LogTally tally, List<LogProblem> problems, List<LogRecord> found) = Inspect(scene);
            Assert.Contains(problems, p => p.Kind == LogProblemKind.SegmentHeader && p.Path == scene.FirstSegment);
            Assert.Equal((ulong)hidden, tally.MissingRecords);
            Assert.Equal(records.Count - hidden, found.Count);
            Patch(scene.FirstSegment, offset, sound[offset]);
        }
    }

    [Fact]
    public void Zeros_over_a_page_in_the_middle_hide_only_what_stood_there()
    {
        using LogScene scene = ThreeSegments();
        (_, _, List<LogRecord> records) = Inspect(scene);
        LogRecord[] messages = [.. records.Where(r => r.Type == RecordType.Message)];
        LogRecord hit = messages.First(m => m.Offset % 4096 is > 1000 and < 3000); // its body spans the next page
        Overwrite(hit.Path, (hit.Offset & -4096L) + 4096, new byte[4096]);
        (LogTally tally, List<LogProblem> problems, List<LogRecord> found) = Inspect(scene);
        LogProblem problem = Assert.Single(problems);
        Assert.Equal((LogProblemKind.Body, hit.Lsn), (problem.Kind, problem.Lsn));
        Assert.Equal(records.Count, found.Count);

        Overwrite(hit.Path, hit.Offset & -4096L, new byte[4096]); // now the header page of it too
        (tally, problems, found) = Inspect(scene);
        Assert.All(problems, p => Assert.True(p.IsDamage));
        Assert.DoesNotContain(found, r => r.Lsn == hit.Lsn);
        Assert.Equal(records[^1].Lsn, found[^1].Lsn);
        Assert.Equal((ulong)(records.Count - found.Count), tally.MissingRecords);
    }

    [Fact]
    public void A_missing_or_shortened_segment_is_told_and_the_others_are_read()
    {
        using LogScene scene = ThreeSegments();
        (_, _, List<LogRecord> records) = Inspect(scene);
        string second = Directory.GetFiles(scene.LogDirectory, "*.seg").Order(StringComparer.Ordinal).ElementAt(1);
        byte[] content = File.ReadAllBytes(second);
        int inSecond = records.Count(r => r.Path == second);

        File.WriteAllBytes(second, content[..(content.Length / 2)]);
        (LogTally tally, List<LogProblem> problems, List<LogRecord> found) = Inspect(scene);
        Assert.Contains(problems, p => p.Kind == LogProblemKind.SegmentLength && p.Path == second);
        Assert.Equal((ulong)(records.Count - found.Count), tally.MissingRecords);
        Assert.Contains(found, r => r.Path == second);

        File.WriteAllBytes(second, content[..100]);
        (_, problems, found) = Inspect(scene);
        Assert.Contains(problems, p => p.Kind == LogProblemKind.SegmentHeader && p.Path == second);
        Assert.Equal(records.Count - inSecond, found.Count);

        File.Delete(second);
        (tally, problems, found) = Inspect(scene);
        Assert.Contains(problems, p => p.Kind == LogProblemKind.MissingSegment);
        Assert.Equal(records.Count - inSecond, found.Count);
        Assert.Equal((ulong)inSecond, tally.MissingRecords);
    }

    [Fact]
    public void A_torn_tail_is_no_damage_and_the_records_in_front_of_it_are_those_that_recovery_keeps()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        scene.Deliver("acknowledged", 1);
        PendingMessage[] group = [scene.Build("x", 1), scene.Build("yy", 1), scene.Build(new string('z', 300), 1)];
        using LogScene image = scene.CrashAfterGroup(group);
        byte[] whole = File.ReadAllBytes(image.FirstSegment);
        for (int offset = (int)group[0].Lsn; offset < (int)group[2].Lsn + group[2].Bytes; offset += 7)
        {
            byte[] torn = (byte[])whole.Clone();
            torn[offset] ^= 0x10;
            File.WriteAllBytes(image.FirstSegment, torn);
            (LogTally tally, List<LogProblem> problems, List<LogRecord> found) = Inspect(image);
            Assert.DoesNotContain(problems, p => p.IsDamage && p.Kind != LogProblemKind.Padding);
            int messages = found.Count(r => r.Type == RecordType.Message);
            int noticed = image.Notices.Count;
            image.Open();
            Assert.Equal(messages, image.Log!.Snapshot(1).Count + image.Log.Snapshot(4711).Count);
            Assert.Equal(image.Notices.Count - noticed, tally.TornBytes > 0 ? 1 : 0);
            image.Close();
        }
    }

    [Fact]
    public void Looking_changes_nothing_and_is_refused_while_a_server_has_the_log()
    {
        using LogScene scene = SmallLog();
        Patch(scene.FirstSegment, 4300, 0xFF);
        File.WriteAllText(Path.Join(scene.LogDirectory, "spare.tmp"), "left over");
        SortedDictionary<string, byte[]> before = scene.Files();
        _ = Inspect(scene);
        SortedDictionary<string, byte[]> after = scene.Files();
        Assert.Equal(before.Keys, after.Keys, StringComparer.Ordinal);
        Assert.All(before, file => Assert.Equal(file.Value, after[file.Key]));

        using LogScene other = SmallLog();
        other.Open();
        Assert.Throws<DataDirectoryInUseException>(() => LogInspector.Open(other.Directory));
        other.Close();
        using (LogInspector.Open(other.Directory))
        {
            Assert.Throws<DataDirectoryInUseException>(() => other.Open()); // nor may one begin meanwhile
        }

        File.Delete(Path.Join(other.Directory, "LOCK")); // a copy need not have one
        Assert.Empty(Inspect(other).Problems);
    }

    [Fact]
    public void The_disk_of_those_who_look_refuses_every_change()
    {
        using LogScene scene = SmallLog();
        ReadOnlyDisk disk = ReadOnlyDisk.Instance;
        string path = Path.Join(scene.Directory, "x");
        Assert.Equal(30, disk.CreateDirectory(path));
        Assert.Equal(30, disk.Rename(scene.FirstSegment, path));
        Assert.Equal(30, disk.Remove(scene.FirstSegment));
        Assert.Equal(30, disk.SyncDirectory(scene.Directory));
        Assert.Equal(30, disk.Open(path, FileUse.OpenOrCreate, out _));
        Assert.Equal(30, disk.Open(scene.FirstSegment, FileUse.CreateEmpty, out _));
        Assert.Equal(0, disk.Open(scene.FirstSegment, FileUse.Existing, out IDiskFile? file));
        using (file)
        {
            Assert.Equal(9, file!.WriteAll(new byte[1], 0)); // EBADF: the descriptor cannot write
        }
    }

    [Fact]
    public void Reading_begins_where_it_is_asked_to()
    {
        using LogScene scene = ThreeSegments();
        (_, _, List<LogRecord> records) = Inspect(scene);
        using LogInspector log = LogInspector.Open(scene.Directory);
        foreach (LogRecord record in records)
        {
            LogFinding first = log.Read(record.Lsn).First();
            Assert.Equal(record.Lsn, Assert.IsType<LogRecord>(first).Lsn);
            Assert.Empty(log.Read(record.Lsn).OfType<LogProblem>());
        }

        Assert.Empty(log.Read(ulong.MaxValue));
    }

    [Fact]
    public async Task What_was_removed_from_a_cold_segment_is_no_damage_wherever_reading_begins()
    {
        using LogScene scene = new(options: LogScene.Tiny with { ReclaimsByItself = false });
        MailLog log = scene.Open();
        scene.Deliver(new string('x', 300_000), 3); // a body file
        scene.Deliver(new string('y', 70_000), 3); // a body that is punched out
        _ = ReclaimStory.MostlyDead(scene);
        CompactProgress moved = await log.CompactAsync(new CompactOptions { DeadRatio = 0.05 });
        Assert.True(moved.Messages > 2, moved.ToString());
        scene.Expunge(3, scene.Uids(3));
        ReclaimStory.Fill(scene, 2, segments: 2);
        Assert.True(SpinWait.SpinUntil(() => log.HasIdleBodies, TimeSpan.FromSeconds(60)));
        await log.CompactAsync(new CompactOptions { DeadRatio = 1 });
        scene.Close();

        using LogInspector inspector = LogInspector.Open(scene.Directory);
        Assert.True(LogInspector.IsCold(inspector.Names[^1]));
        Assert.Equal(0, inspector.Bodies.Number);
        foreach (string name in inspector.Names)
        {
            Assert.Empty(inspector.Read(LogInspector.BaseLsnOf(name)).OfType<LogProblem>());
        }
    }

    [Fact]
    public void What_is_intact_and_cannot_be_is_told()
    {
        using LogScene scene = ThreeSegments();
        (_, _, List<LogRecord> records) = Inspect(scene);
        LogRecord seal = records.First(r => r.Type == RecordType.Seal);
        Assert.Equal(LogProblemKind.Seal, Forge(seal, metaOffset: 0).Kind); // one record more than there are
        LogRecord group = records.Last(r => r.Type == RecordType.Group);
        Assert.Equal(LogProblemKind.Content, Forge(group, metaOffset: 33).Kind); // durable far behind itself
        LogRecord message = records.Where(r => r.Type == RecordType.Message).ElementAt(2);
        int uid = message.Meta.Span.IndexOf("user1@"u8) - sizeof(ulong);
        Assert.Contains("ascend", Forge(message, uid + 5).Text, StringComparison.Ordinal); // the next one is lower now

        LogProblem Forge(LogRecord record, int metaOffset)
        {
            byte[] sound = File.ReadAllBytes(record.Path);
            byte[] forged = sound.AsSpan((int)record.Offset, (int)record.Bytes).ToArray();
            forged[RecordHeader.Bytes + metaOffset] ^= 1;
            RecordHeader header = RecordHeader.Read(forged);
            header.MetaCrc = Crc32C.Extend(
                0, forged.AsSpan(RecordHeader.Bytes, (int)(header.MetaBytes + header.TraceBytes)));
            Assert.True(SegmentHeader.TryRead(sound.AsSpan(0, SegmentHeader.Bytes).ToArray(), out SegmentHeader segment));
            header.Write(forged, segment.Salt);
            Overwrite(record.Path, record.Offset, forged);
            List<LogProblem> problems = Inspect(scene).Problems;
            File.WriteAllBytes(record.Path, sound);
            // A changed record also changes what its segment's SEAL would say: that is told behind it.
            return problems[0];
        }
    }

    [Fact]
    public void A_directory_without_a_log_and_one_of_a_newer_program_are_told_apart()
    {
        using LogScene scene = SmallLog();
        Assert.Throws<FileNotFoundException>(() => LogInspector.Open(scene.LogDirectory));
        Assert.Throws<FileNotFoundException>(() => LogInspector.Open(Path.Join(scene.Directory, "absent")));
        Patch(Path.Join(scene.Directory, "FORMAT"), 33, 1);
        Assert.Throws<DamagedLogException>(() => LogInspector.Open(scene.Directory));
    }

    private static (LogTally Tally, List<LogProblem> Problems, List<LogRecord> Records) Inspect(LogScene scene)
    {
        using LogInspector log = LogInspector.Open(scene.Directory);
        LogTally tally = new();
        List<LogProblem> problems = [];
        List<LogRecord> records = [];
        foreach (LogFinding finding in log.Read())
        {
            tally.Add(finding);
            if (finding is LogProblem problem)
            {
                problems.Add(problem);
            }
            else
            {
                records.Add((LogRecord)finding);
            }
        }

        return (tally, problems, records);
    }

    /// <summary>Three messages and a removal in the smallest segment, closed in order.</summary>
    private static LogScene SmallLog()
    {
        LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        scene.Deliver("one", 1);
        scene.Deliver(new string('2', 201), 1, 2);
        scene.Expunge(1, 1);
        scene.Deliver("three", 2);
        scene.Close();
        return scene;
    }

    private static LogScene ThreeSegments()
    {
        LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        for (int i = 0; i < 30; i++)
        {
            scene.Deliver(new string('s', 20_000 + (i * 100)), 1);
        }

        scene.Close();
        Assert.Equal(3, Directory.GetFiles(scene.LogDirectory, "*.seg").Length);
        return scene;
    }

    private static void Patch(string path, long offset, byte value)
    {
        Overwrite(path, offset, [value]);
    }

    private static void Overwrite(string path, long offset, byte[] bytes)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Write);
        file.Position = offset;
        file.Write(bytes);
    }
}
