using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>
/// Every single damage of a small log, one after another: at most what was hit is affected, nothing ever reads wrong,
/// and no unique-id is given twice.
/// </summary>
public sealed class EveryDamageTests
{
    private const ulong Mailbox = 1;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_flip_of_any_bit_costs_at_most_the_record_it_hits(bool isReused)
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MakeSmall(scene);
        using MemoryDisk disk = ReusedLog.Load(scene, isReused);
        Expectation expected = new(disk, "removed");
        string path = Assert.Single(disk.Paths, SegmentHeader.IsSegmentName);
        byte[] whole = disk[path].ToArray();
        long end = expected.Records[^1].End + 64; // and some of the zeros behind
        for (long bit = 0; bit < end * 8; bit++)
        {
            disk[path][(int)(bit / 8)] ^= (byte)(1 << (int)(bit % 8));
            expected.Check(disk, $"bit {bit}", record => record.Contains(path, bit / 8));
            whole.CopyTo(disk[path]); // a torn end is cleaned up, so all of it is put back
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Zeros_from_any_octet_on_keep_every_record_before_it(bool isReused)
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MakeSmall(scene);
        using MemoryDisk disk = ReusedLog.Load(scene, isReused);
        Expectation expected = new(disk, "removed");
        string path = Assert.Single(disk.Paths, SegmentHeader.IsSegmentName);
        byte[] whole = disk[path].ToArray();
        for (long cut = SegmentHeader.Bytes; cut <= expected.Records[^1].End; cut++)
        {
            disk[path][(int)cut..].Clear();
            expected.Check(disk, $"zeros from {cut}", record => record.End > cut);
            whole.CopyTo(disk[path]);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_file_cut_at_any_length_keeps_every_record_before_it(bool isReused)
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MakeSmall(scene);
        using MemoryDisk disk = ReusedLog.Load(scene, isReused);
        Expectation expected = new(disk, "removed");
        string path = Assert.Single(disk.Paths, SegmentHeader.IsSegmentName);
        byte[] whole = disk[path].ToArray();
        for (int length = 0; length < SegmentHeader.Bytes; length++)
        {
            disk.Put(path, whole.AsSpan(0, length));
            Assert.Throws<DamagedLogException>(() => new RecoveredLog(disk));
            Assert.True(whole.AsSpan(0, length).SequenceEqual(disk[path]));
        }

        for (int length = SegmentHeader.Bytes; length <= expected.Records[^1].End + 64; length++)
        {
            disk.Put(path, whole.AsSpan(0, length));
            expected.Check(disk, $"length {length}", record => record.End > length);
            Assert.True(whole.AsSpan(0, length).SequenceEqual(disk[path]));
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_page_of_zeros_anywhere_does_not_hide_the_records_behind_it(bool isReused)
    {
        const int Page = 4096;
        using LogScene scene = new(options: LogScene.Tiny);
        MakeLong(scene);
        using MemoryDisk disk = ReusedLog.Load(scene, isReused);
        Expectation expected = new(disk, "");
        string[] paths = [.. disk.Paths.Where(SegmentHeader.IsSegmentName).Order(StringComparer.Ordinal)];
        Assert.True(paths.Length >= 3);
        foreach (string path in paths)
        {
            byte[] whole = disk[path].ToArray();
            for (int start = 0; start < whole.Length; start += Page)
            {
                disk[path].Slice(start, Page).Clear();
                expected.Check(
                    disk, $"{path} page {start / Page}",
                    record => record.Path == path && record.Offset < start + Page && record.End > start);
                whole.CopyTo(disk[path]);
            }
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Any_mixture_of_damage_keeps_what_was_not_hit(int seed)
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MakeLong(scene);
        using MemoryDisk disk = ReusedLog.Load(scene, isReused: seed % 2 == 0);
        Expectation expected = new(disk, "") { MayTear = true };
        string[] paths = [.. disk.Paths.Where(SegmentHeader.IsSegmentName).Order(StringComparer.Ordinal)];
        byte[][] whole = [.. paths.Select(path => disk[path].ToArray())];
        Random random = new(seed);
        for (int round = 0; round < 150; round++)
        {
            List<(string Path, int Start, int End)> hits = [];
            for (int i = random.Next(1, 8); i > 0; i--)
            {
                string path = paths[random.Next(paths.Length)];
                int start = random.Next(SegmentHeader.Bytes + HeaderSalvage.LookBytes, whole[0].Length - 1);
                int length = Math.Min(whole[0].Length - start, 1 << random.Next(0, 15));
                random.NextBytes(disk[path].Slice(start, length));
                hits.Add((path, start, start + length));
            }

            expected.Check(
                disk, $"seed {seed} round {round}",
                record => hits.Exists(h => h.Path == record.Path && record.Offset < h.End && record.End > h.Start));
            for (int i = 0; i < paths.Length; i++)
            {
                whole[i].CopyTo(disk[paths[i]]);
            }
        }
    }

    /// <summary>Two runs, three messages that stay and one that was removed.</summary>
    private static void MakeSmall(LogScene scene)
    {
        scene.Open();
        scene.Deliver("first", Mailbox);
        scene.Deliver("removed", Mailbox);
        scene.Reopen();
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(Mailbox, 2));
        scene.Deliver("third", Mailbox);
        scene.Deliver("last", Mailbox);
        scene.Close();
    }

    /// <summary>Three segments of messages of all sizes.</summary>
    private static void MakeLong(LogScene scene)
    {
        scene.Open();
        for (int i = 0; scene.Log!.Statistics.Segments < 3 || i % 50 != 0; i++)
        {
            scene.Deliver(new string((char)('!' + (i % 90)), 40 + (i * 977 % 9000)), Mailbox);
        }

        scene.Close();
    }

    /// <summary>What a sound log lists, and what may become of it by damage. Owned by one test.</summary>
    private sealed class Expectation
    {
        private readonly Dictionary<ulong, (KnownRecord Record, string Wire)> _messages = [];
        private readonly HashSet<ulong> _removed = [];
        private readonly KnownRecord? _removal;
        private readonly ulong _nextUid;

        public Expectation(MemoryDisk disk, string removed)
        {
            Records = KnownRecord.ReadAll(disk);
            foreach (KnownRecord record in Records)
            {
                if (record.Header.Type == RecordType.Message)
                {
                    int wire = RecordHeader.Bytes + (int)record.Header.MetaBytes;
                    string text = System.Text.Encoding.Latin1.GetString(disk[record.Path].Slice(
                        (int)record.Offset + wire, (int)(record.Header.TraceBytes + record.Header.BodyBytes)));
                    _messages.Add((ulong)_messages.Count + 1, (record, text));
                    if (removed.Length > 0 && text.Contains(removed, StringComparison.Ordinal))
                    {
                        _removed.Add((ulong)_messages.Count);
                    }
                }
                else if (record.Header.Type == RecordType.Expunge)
                {
                    _removal = record;
                }
            }

            using RecoveredLog sound = new(disk);
            Assert.Empty(sound.Notices);
            Assert.Equal(_messages.Keys.Except(_removed).Order(), sound.List(Mailbox).Select(m => m.Uid));
            _nextUid = sound.NextUid(Mailbox);
            Assert.Equal((ulong)_messages.Count + 1, _nextUid);
        }

        public List<KnownRecord> Records { get; }

        /// <summary>Damage in several places may look like a torn group at the end.</summary>
        public bool MayTear { get; init; }

        /// <summary>Recovers twice: the second time must find what the first did.</summary>
        public void Check(MemoryDisk disk, string what, Func<KnownRecord, bool> isHit)
        {
            List<(ulong Uid, string? Body)> first = CheckOnce(disk, what, isHit, out ulong uid, out ulong seq);
            List<(ulong Uid, string? Body)> second = CheckOnce(disk, what, isHit, out ulong uid2, out ulong seq2);
            Assert.Equal(first, second);
            Assert.Equal((uid, seq), (uid2, seq2));
        }

        private List<(ulong Uid, string? Body)> CheckOnce(
            MemoryDisk disk, string what, Func<KnownRecord, bool> isHit, out ulong nextUid, out ulong seq)
        {
            // The last record is the proof of the closing. With it lost this may as well be a torn tail, as after a
            // crash: what stands behind the last proof that is left was then never acknowledged.
            bool isEndKnown = !isHit(Records[^1]);
            KnownRecord proof = Records.LastOrDefault(
                record => record.Header.Type is RecordType.Group or RecordType.Seal && !isHit(record));
            using RecoveredLog log = new(disk);
            List<(ulong Uid, string? Body)> listed = log.List(Mailbox);
            Dictionary<ulong, string?> byUid = listed.ToDictionary(m => m.Uid, m => m.Body);
            foreach ((ulong uid, (KnownRecord record, string wire)) in _messages)
            {
                bool isListed = byUid.Remove(uid, out string? body);
                bool isWhole = !isHit(record);
                bool isProven = !MayTear || isEndKnown || record.Header.Lsn < proof.Header.Lsn;
                if (_removed.Contains(uid))
                {
                    Assert.True(!isListed || isHit(_removal!.Value), $"{what}: removed message {uid} came back");
                }
                else
                {
                    bool isOwed = isWhole && isProven;
                    Assert.True(!isOwed || (isListed && body is not null), $"{what}: message {uid} is lost");
                }

                Assert.True(body is null || body == wire, $"{what}: message {uid} has wrong bytes");
            }

            Assert.True(byUid.Count == 0, $"{what}: messages that never were");
            nextUid = log.NextUid(Mailbox);
            seq = log.End.Seq;
            Assert.True(!isEndKnown || nextUid >= _nextUid, $"{what}: unique-id {nextUid} was given before");
            Assert.True(!isEndKnown || seq >= Records[^1].Header.Seq, $"{what}: number {seq + 1} was used before");
            return listed;
        }
    }
}
