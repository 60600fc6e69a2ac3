using System.Globalization;
using FastMail.Storage;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Storage;

public sealed class CheckpointTests
{
    // What befalls the checkpoints between two runs.
    private enum Fate
    {
        Nothing,
        AllDeleted,
        NewestDeleted,
        ManifestDeleted,
        ManifestFlipped,
        ManifestCut,
        ShardDeleted,
        ShardFlipped,
        ShardCut,
        RolledBack,
        EveryShardFlipped,
    }

    /// <summary>
    /// The record that retired the beginning is lost with the end of its segment, and so are the checkpoints: what lets
    /// the log begin where it does is only in a checkpoint's record. The next start does not read that one any more.
    /// </summary>
    [Fact]
    public async Task A_log_that_was_admitted_without_its_beginning_is_admitted_again()
    {
        using LogScene scene = new(options: LogScene.Saving with { ReclaimsByItself = false });
        scene.Open();
        while (scene.Log!.Statistics.Segments < 3)
        {
            scene.Deliver(new string('d', 9_000), 1);
        }

        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, scene.Uids(1)));
        await scene.Log.CompactAsync(new CompactOptions { IncludesCurrent = true });
        string first = Directory.EnumerateFiles(scene.LogDirectory, "0-*.seg").Min(StringComparer.Ordinal)!;
        Assert.True(first != scene.FirstSegment, "the beginning was not retired");
        int segments = scene.Log.Statistics.Segments;
        while (scene.Log.Statistics.Segments == segments)
        {
            scene.Deliver($"{scene.Uids(2).Length} " + new string('k', 9_000), 2);
        }

        scene.Log.TakeCheckpoint();
        string[] kept = scene.Bodies(2);
        scene.Close();
        Directory.Delete(Path.Join(scene.Directory, "ckpt"), recursive: true);
        using (FileStream file = File.OpenWrite(first))
        {
            file.SetLength(SegmentHeader.Bytes + RecordHeader.Alignment);
        }

        scene.Open();
        string[] left = scene.Bodies(2);
        Assert.NotEmpty(left);
        Assert.Equal(kept[^left.Length..], left);
        for (int start = 0; start < 3; start++)
        {
            scene.Reopen(); // with the checkpoint that the end before it took
            Assert.Equal(left, scene.Bodies(2));
        }
    }

    [Fact]
    public void A_maildrop_is_the_same_whatever_befalls_the_checkpoints()
    {
        Gen<int[]> steps = Gen.Choose(0, 999_999_999).ArrayOf(60);
        Prop.ForAll(steps.ToArbitrary(), numbers =>
        {
            using LogScene scene = new(options: LogScene.Saving);
            scene.Open();
            Model model = new();
            foreach (int number in numbers)
            {
                Step(scene, model, number);
                model.Check(scene);
            }

            foreach (Fate fate in Enum.GetValues<Fate>())
            {
                scene.Close();
                Befall(scene, fate, numbers[0]);
                scene.Open();
                model.Check(scene);
                model.Deliver(scene, 1, fate.ToString()); // the next unique-ids are the same as well
                model.Check(scene);
            }
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(20));
    }

    [Fact]
    public void A_start_reads_no_segment_record_below_the_checkpoint()
    {
        using LogScene scene = new(options: LogScene.Saving);
        scene.Open();
        scene.Deliver("one", 1);
        scene.Deliver("two", 1);
        scene.Close();
        byte[] segment = File.ReadAllBytes(scene.FirstSegment);
        segment.AsSpan(SegmentHeader.Bytes + GroupMeta.TotalBytes, 200).Clear(); // some decay that a scrub would find
        File.WriteAllBytes(scene.FirstSegment, segment);
        scene.Open();
        Assert.Equal([1UL, 2UL], scene.Uids(1));
        Assert.Equal("!Damaged", scene.Bodies(1)[0]);
        Assert.Equal("two", scene.Bodies(1)[1]);
    }

    [Fact]
    public void Two_checkpoints_are_kept_and_tell_what_recovery_may_need()
    {
        using LogScene scene = new(options: LogScene.Saving);
        MailLog log = scene.Open();
        Assert.Equal(0UL, log.OldestNeededLsn);
        for (int i = 0; i < 5; i++)
        {
            scene.Deliver("x", (ulong)i);
            log.TakeCheckpoint();
            ulong[] kept = [.. Directories(scene).Order()];
            Assert.Equal(i == 0 ? 0 : kept[^2], log.OldestNeededLsn);
            // An older directory stays for the shards in it that have not changed.
            Assert.Equal(Math.Min(i + 1, 2), kept.Count(lsn => File.Exists(Path.Join(PathOf(scene, lsn), "MANIFEST"))));
        }
    }

    [Fact]
    public void A_snapshot_does_not_change_when_checkpoints_are_taken_and_messages_come_and_go()
    {
        using LogScene scene = new(options: LogScene.Saving);
        MailLog log = scene.Open();
        List<(MaildropSnapshot Snapshot, ulong[] Uids)> seen = [];
        for (int i = 0; i < 30; i++)
        {
            scene.Deliver($"m{i}", 1);
            if (i % 3 == 0)
            {
                scene.Expunge(1, (ulong)i);
            }

            if (i % 4 == 0)
            {
                log.TakeCheckpoint();
            }

            seen.Add((log.Snapshot(1), scene.Uids(1)));
        }

        scene.Close();
        foreach ((MaildropSnapshot snapshot, ulong[] uids) in seen)
        {
            Assert.Equal(uids, Enumerable.Range(0, snapshot.Count).Select(at => snapshot[at].Uid));
        }
    }

    [Fact]
    public void Deliveries_and_removals_go_on_while_checkpoints_are_taken()
    {
        using LogScene scene = new(options: LogScene.Saving);
        MailLog log = scene.Open();
        Model model = new();
        using CancellationTokenSource end = new();
        Thread taker = new(() =>
        {
            while (!end.IsCancellationRequested)
            {
                log.TakeCheckpoint();
            }
        });
        taker.Start();
        Random random = new(5);
        for (int i = 0; i < 800; i++)
        {
            if (random.Next(4) == 0)
            {
                model.Expunge(scene, (ulong)random.Next(5), uid => random.Next(2) == 0);
            }
            else
            {
                model.Deliver(scene, (ulong)random.Next(5), i.ToString(CultureInfo.InvariantCulture));
            }
        }

        end.Cancel();
        taker.Join();
        model.Check(scene);
        scene.Reopen();
        model.Check(scene);
        Assert.Empty(scene.Notices);
    }

    [Fact]
    public void A_log_that_ends_before_its_checkpoint_is_damaged_and_goes_on_behind_it()
    {
        using LogScene scene = new(options: LogScene.Saving);
        scene.Open();
        scene.Deliver("one", 1);
        long cut = scene.ContentEnd(scene.FirstSegment);
        scene.Deliver("two", 1);
        scene.Close();
        byte[] segment = File.ReadAllBytes(scene.FirstSegment);
        long end = scene.ContentEnd(scene.FirstSegment);
        segment.AsSpan((int)cut).Clear(); // with the last GROUP: nothing in the log tells that there was more
        File.WriteAllBytes(scene.FirstSegment, segment);
        foreach (string shard in ShardsOf(scene))
        {
            File.Delete(shard); // the manifest alone tells it
        }

        scene.Open();
        Assert.Equal(["one"], scene.Bodies(1));
        Assert.Contains(scene.Notices, n => n.Contains("acknowledged records are damaged", StringComparison.Ordinal));
        ulong lsn = scene.Deliver("three", 1);
        Assert.True(lsn < (ulong)end + 4096 && scene.Uids(1)[^1] > 2, $"{lsn} {end} {scene.Uids(1)[^1]}");
        scene.Reopen();
        Assert.Equal(["one", "three"], scene.Bodies(1));
    }

    [Fact]
    public void A_segment_missing_at_the_end_is_refused_because_the_checkpoint_proves_that_it_was_there()
    {
        using LogScene scene = new(options: LogScene.Saving);
        scene.Open();
        for (int i = 0; i < 6; i++)
        {
            scene.Deliver(new string('x', 60_000), 1);
        }

        scene.Close();
        string last = Directory.GetFiles(scene.LogDirectory, "*.seg").Order(StringComparer.Ordinal).Last();
        Assert.NotEqual(scene.FirstSegment, last, StringComparer.Ordinal);
        byte[] content = File.ReadAllBytes(last);
        File.Delete(last);
        DamagedLogException refused = Assert.Throws<DamagedLogException>(() => scene.Open());
        Assert.Contains("put the missing files back, or restore a backup", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("remove", refused.Message, StringComparison.Ordinal); // numbers would be given again
        File.WriteAllBytes(last, content);
        scene.Open();
        Assert.Equal(6, scene.Log!.Snapshot(1).Count);
    }

    [Fact]
    public void A_log_whose_beginning_was_dropped_opens_with_a_checkpoint_and_without()
    {
        using LogScene scene = new(options: LogScene.Saving);
        MailLog log = scene.Open();
        for (int i = 0; i < 6; i++)
        {
            scene.Deliver(new string('x', 60_000), 1);
        }

        scene.Expunge(1, 1, 2, 3, 4, 5, 6);
        log.TakeCheckpoint();
        scene.Deliver("stays", 1);
        log.TakeCheckpoint();
        Assert.True(log.OldestNeededLsn > (ulong)new FileInfo(scene.FirstSegment).Length);
        scene.Deliver("also", 1);
        scene.Close();
        File.Delete(scene.FirstSegment);
        scene.Open();
        Assert.Equal([7UL, 8UL], scene.Uids(1));
        scene.Close();
        Assert.Empty(scene.Notices);

        Directory.Delete(Path.Join(scene.Directory, "ckpt"), recursive: true);
        scene.Open();
        Assert.Equal(["stays", "also"], scene.Bodies(1)[^2..]);
        Assert.Contains(scene.Notices, n => n.Contains("begins at position", StringComparison.Ordinal));
        scene.Deliver("new", 1);
        Assert.Equal(7UL, scene.Uids(1)[^3]);
        Assert.True(scene.Uids(1)[^1] > 8);
        scene.Deliver("first of its mailbox", 99);
        Assert.True(scene.Uids(99)[0] > 8, "a mailbox whose first mail was dropped must not begin anew");
    }

    [Fact]
    public void A_beginning_that_no_checkpoint_let_go_is_missing()
    {
        using LogScene scene = new(options: LogScene.Saving);
        scene.Open();
        for (int i = 0; i < 6; i++)
        {
            scene.Deliver(new string('x', 60_000), 1);
        }

        scene.Close();
        File.Delete(scene.FirstSegment);
        Assert.Throws<DamagedLogException>(() => scene.Open());
        Directory.Delete(Path.Join(scene.Directory, "ckpt"), recursive: true);
        Assert.Throws<DamagedLogException>(() => scene.Open());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public void A_segment_of_live_mail_that_both_checkpoints_have_read_is_missing(int lost)
    {
        using LogScene scene = new(options: LogScene.Saving);
        scene.Open();
        for (int i = 0; i < 24; i++)
        {
            scene.Deliver(new string('x', 60_000), 1);
        }

        scene.Log!.TakeCheckpoint();
        scene.Deliver("last", 1);
        scene.Log.TakeCheckpoint();
        scene.Close();
        string[] segments = [.. Directory.GetFiles(scene.LogDirectory, "0-*.seg").Order(StringComparer.Ordinal)];
        Assert.True(segments.Length > 3);
        string away = segments[lost] + ".away";
        File.Move(segments[lost], away);
        SortedDictionary<string, byte[]> before = scene.Files();
        string why = Assert.Throws<DamagedLogException>(() => scene.Open()).Message;
        Assert.Contains("a segment is missing in front of this file", why, StringComparison.Ordinal);
        Assert.Equal(before, scene.Files());
        using (LogInspector inspector = LogInspector.Open(scene.Directory))
        {
            Assert.Contains(
                inspector.Read().OfType<LogProblem>(), static p => p.Kind == LogProblemKind.MissingSegment);
        }

        File.Move(away, segments[lost]);
        scene.Open();
        Assert.Equal(25, scene.Bodies(1).Count(b => b[0] != '!'));
    }

    /// <summary>
    /// The appender is held up from the moment the copy has its name, so its MOVE waits while a checkpoint is taken. In
    /// the image there was no room for the MOVE, and the copy is gone again.
    /// </summary>
    [Fact]
    public async Task A_checkpoint_asks_for_no_copy_whose_MOVE_was_never_written()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Saving with { ReclaimsByItself = false });
        MailLog log = scene.Open();
        (ulong[] uids, string[] bodies) = ReclaimStory.MostlyDead(scene);
        using SemaphoreSlim entered = new(0);
        using SemaphoreSlim go = new(0);
        disk.Script = (name, file) =>
        {
            if (name == "rename" && ReclaimStory.IsCold(Path.GetFileName(file)))
            {
                scene.OnGroup = _ =>
                {
                    entered.Release();
                    go.Wait();
                };
                log.Append(scene.Build("holds up the appender", 4711));
                entered.Wait();
            }

            return 0;
        };
        Task<CompactProgress> run = log.CompactAsync(new CompactOptions());
        Assert.True(SpinWait.SpinUntil(
            () => log.ReadSegmentStatistics().Any(s => s.IsCold), TimeSpan.FromSeconds(60)));
        log.TakeCheckpoint();
        using LogScene image = new(options: scene.Options);
        foreach ((string name, byte[] content) in scene.Files())
        {
            if (!ReclaimStory.IsCold(Path.GetFileName(name)))
            {
                string path = Path.Join(image.Directory, name);
                Directory.CreateDirectory(Path.GetDirectoryName(path)!);
                File.WriteAllBytes(path, content);
            }
        }

        disk.Script = (_, _) => 0;
        scene.OnGroup = null;
        go.Release();
        await run;
        image.Open();
        Assert.Equal(uids, image.Uids(1));
        Assert.Equal(bodies, image.Bodies(1));
    }

    [Fact]
    public void A_checkpoint_that_cannot_be_written_is_told_and_costs_nothing()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Saving);
        MailLog log = scene.Open();
        Assert.True(SpinWait.SpinUntil(() => log.HasSpare, TimeSpan.FromSeconds(60))); // it would fail too, and say so
        foreach (string call in (string[])["mkdir", "open", "write", "flush", "rename", "syncdir", "populate"])
        {
            scene.Deliver(call, 1);
            disk.Script = (name, file) => name == call && !file.EndsWith(".seg", StringComparison.Ordinal) ? 5 : 0;
            int notices = scene.Notices.Count;
            log.TakeCheckpoint();
            Assert.Equal(notices + 1, scene.Notices.Count);
            disk.Script = (_, _) => 0;
            Assert.Equal(0UL, log.OldestNeededLsn);
        }

        log.TakeCheckpoint();
        scene.Reopen();
        Assert.Equal(7, scene.Log!.Snapshot(1).Count);
        Assert.Equal(0, scene.FailedErrno);
    }

    [Fact]
    public void A_shard_that_decays_under_a_running_log_is_an_error_and_never_a_wrong_maildrop()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Saving);
        MailLog log = scene.Open();
        scene.Deliver("one", 1);
        log.TakeCheckpoint();
        string shard = ShardsOf(scene).Single();
        byte[] sound = File.ReadAllBytes(shard);
        byte[] rotten = (byte[])sound.Clone();
        rotten[^20] ^= 4;
        Overwrite(shard, rotten);
        Assert.Throws<IOException>(() => log.Snapshot(1));
        scene.Deliver("two", 1); // needs no entry of it
        Assert.Equal(AppendOutcome.Failed, scene.Expunge(1, 1));
        Assert.True(log.HasFailed);
        scene.Reopen();
        Assert.Equal(["one", "two"], scene.Bodies(1));
    }

    [Fact]
    public void A_body_file_below_the_checkpoint_stays_until_its_last_message_goes()
    {
        using LogScene scene = new(options: LogScene.Saving);
        MailLog log = scene.Open();
        scene.Deliver(new string('j', 300_000), 1, 2);
        scene.Deliver("inline", 1);
        log.TakeCheckpoint();
        log = scene.Reopen();
        Assert.Equal(1, log.BodiesInUse);
        Assert.Single(Directory.EnumerateFiles(Path.Join(scene.Directory, "body")));
        scene.Expunge(1, 1);
        log = scene.Reopen();
        Assert.Equal(1, log.BodiesInUse);
        Assert.Single(Directory.EnumerateFiles(Path.Join(scene.Directory, "body")));
        scene.Expunge(2, 1);
        Assert.Equal(0, log.BodiesInUse);
        scene.Reopen();
        Assert.Empty(Directory.EnumerateFiles(Path.Join(scene.Directory, "body")));
        Assert.Empty(scene.Notices);
    }

    private static void Overwrite(string path, byte[] content)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.Write); // the same file: it is mapped
        file.Write(content);
    }

    private static void Step(LogScene scene, Model model, int number)
    {
        ulong mailbox = (ulong)(number % 5);
        switch (number / 5 % 12)
        {
            case 0:
                scene.Reopen();
                break;
            case 1:
                scene.Close();
                Befall(scene, (Fate)(number / 60 % 11), number / 700);
                scene.Open();
                break;
            case 2 or 3:
                scene.Log!.TakeCheckpoint();
                break;
            case 4 or 5:
                model.Expunge(scene, mailbox, uid => (uid + (ulong)number) % 3 != 0);
                break;
            default:
                model.Deliver(scene, mailbox, number + new string('b', number % 20_000));
                break;
        }
    }

    private static void Befall(LogScene scene, Fate fate, int number)
    {
        List<ulong> all = [.. Directories(scene).Order()];
        if (all.Count == 0 || fate == Fate.Nothing)
        {
            return;
        }

        string[] shards = ShardsOf(scene);
        string newest = PathOf(scene, all[^1]);
        string manifest = Path.Join(newest, "MANIFEST");
        switch (fate)
        {
            case Fate.AllDeleted:
                Directory.Delete(Path.Join(scene.Directory, "ckpt"), recursive: true);
                break;
            case Fate.NewestDeleted or Fate.RolledBack:
                Directory.Delete(newest, recursive: true);
                break;
            case Fate.ManifestDeleted:
                File.Delete(manifest);
                break;
            case Fate.ManifestFlipped or Fate.ManifestCut:
                Spoil(manifest, fate == Fate.ManifestCut, number);
                break;
            case Fate.ShardDeleted when shards.Length > 0:
                File.Delete(shards[number % shards.Length]);
                break;
            case Fate.ShardFlipped or Fate.ShardCut when shards.Length > 0:
                Spoil(shards[number % shards.Length], fate == Fate.ShardCut, number);
                break;
            case Fate.EveryShardFlipped:
                Array.ForEach(shards, shard => Spoil(shard, isCut: false, number));
                break;
            default:
                break;
        }
    }

    private static void Spoil(string path, bool isCut, int number)
    {
        if (!File.Exists(path))
        {
            return;
        }

        byte[] content = File.ReadAllBytes(path);
        content[number % content.Length] ^= (byte)(1 << (number % 8));
        File.WriteAllBytes(path, isCut ? content[..(number % content.Length)] : content);
    }

    private static IEnumerable<ulong> Directories(LogScene scene)
    {
        string path = Path.Join(scene.Directory, "ckpt");
        return Directory.Exists(path)
            ? Directory.EnumerateDirectories(path).Select(
                d => ulong.Parse(Path.GetFileName(d), NumberStyles.HexNumber, CultureInfo.InvariantCulture))
            : [];
    }

    private static string PathOf(LogScene scene, ulong lsn)
    {
        return Path.Join(scene.Directory, "ckpt", lsn.ToString("x16", CultureInfo.InvariantCulture));
    }

    private static string[] ShardsOf(LogScene scene)
    {
        return
        [
            .. Directory.EnumerateFiles(Path.Join(scene.Directory, "ckpt"), "*.fmx", SearchOption.AllDirectories)
                .Order(StringComparer.Ordinal),
        ];
    }

    /// <summary>Maildrops as plain dictionaries. Owned by one test.</summary>
    private sealed class Model
    {
        private readonly Dictionary<ulong, SortedDictionary<ulong, string>> _maildrops = [];
        private readonly Dictionary<ulong, ulong> _next = [];

        public void Deliver(LogScene scene, ulong mailbox, string body)
        {
            scene.Deliver(body, mailbox, mailbox + 1);
            foreach (ulong recipient in (ulong[])[mailbox, mailbox + 1])
            {
                ulong uid = _next.GetValueOrDefault(recipient, 1UL);
                _next[recipient] = uid + 1;
                _maildrops.TryAdd(recipient, []);
                _maildrops[recipient].Add(uid, body);
            }
        }

        public void Expunge(LogScene scene, ulong mailbox, Func<ulong, bool> isGone)
        {
            ulong[] gone = [.. _maildrops.GetValueOrDefault(mailbox, []).Keys.Where(isGone)];
            Assert.Equal(AppendOutcome.Durable, scene.Expunge(mailbox, gone));
            foreach (ulong uid in gone)
            {
                _ = _maildrops[mailbox].Remove(uid);
            }
        }

        public void Check(LogScene scene)
        {
            foreach ((ulong mailbox, SortedDictionary<ulong, string> messages) in _maildrops)
            {
                Assert.Equal(messages.Keys, scene.Uids(mailbox));
                Assert.Equal(messages.Values, scene.Bodies(mailbox), StringComparer.Ordinal);
                MaildropSnapshot snapshot = scene.Log!.Snapshot(mailbox);
                Assert.Equal(
                    snapshot.Octets, Enumerable.Range(0, snapshot.Count).Sum(at => (long)snapshot[at].Octets));
            }
        }
    }
}
