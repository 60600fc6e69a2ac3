using System.Text;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

public sealed class MailLogTests
{
    [Fact]
    public void A_message_is_read_back_as_it_was_appended()
    {
        using LogScene scene = new();
        MailLog log = scene.Open();
        ulong lsn = scene.Deliver("Subject: x\r\n\r\nhello", 7);

        Assert.Equal(ReadStatus.Ok, log.TryRead(lsn, out StoredMessage message));
        Assert.Equal(
            "Return-Path: <sender@example.org>\r\nReceived: by test\r\nSubject: x\r\n\r\nhello\r\n.\r\n",
            Encoding.ASCII.GetString(message.Wire.Span));
        Assert.Equal(35, message.ReturnPathBytes);
        Assert.Equal(54 + 2, message.HeaderWireBytes);
        Assert.Equal((uint)message.Wire.Length - 3, message.Octets);
        Assert.Equal(MessageFlags.Has8Bit, message.Flags);
        Assert.Equal(scene.Clock.Now.ToUnixTimeMilliseconds() * 1000, message.TimestampMicros);
        Assert.Equal(["reversePath=sender@example.org", "local 7/1=user7@example.net", "transactionId=T1"],
            MetaText.Of(message.Meta.Span));
        MaildropSnapshot snapshot = log.Snapshot(7);
        Assert.Equal((1, 1UL, lsn), (snapshot.Count, snapshot[0].Uid, snapshot[0].Lsn));
        Assert.Equal(((uint)message.Wire.Length, message.Octets), (snapshot[0].WireBytes, snapshot[0].Octets));
        Assert.Equal(message.Octets, snapshot.Octets);
        Assert.Equal(scene.Clock.Now.ToUnixTimeSeconds(), snapshot[0].ArrivalSeconds);
    }

    [Fact]
    public void A_recipient_that_is_dropped_leaves_nothing_in_the_record()
    {
        using LogScene scene = new();
        MailLog log = scene.Open();
        PendingMessage message = log.RentMessage();
        message.SetReversePath("a@b.test"u8);
        foreach (ulong mailbox in new ulong[] { 7, 8, 9 })
        {
            Assert.True(message.TryAddLocalRecipient(mailbox, Encoding.ASCII.GetBytes($"user{mailbox}@example.net")));
            message.AddMeta(MetaType.OriginalRecipient, Encoding.ASCII.GetBytes($"rfc822;{mailbox}"));
            message.AddMeta(MetaType.Notify, [(byte)mailbox]);
        }

        message.AddMeta(MetaType.TransactionId, "T1"u8);
        message.SetTrace("Return-Path: <>\r\n"u8, 17, room: 64);
        message.AppendBody("x: y\r\n\r\nbody\r\n.\r\n"u8);
        message.DropLocalRecipient(8);
        message.DropLocalRecipient(9);
        Assert.Throws<ArgumentOutOfRangeException>(() => message.DropLocalRecipient(9));
        message.ExtendTrace("Date: now\r\n"u8);
        message.Seal(new BodyFacts { Octets = 14, HeaderWireBytes = 8, Flags = MessageFlags.None });
        Assert.Equal(AppendOutcome.Durable, scene.Append(message));

        for (int i = 0; i < 2; i++)
        {
            Assert.Equal([1, 0, 0], new ulong[] { 7, 8, 9 }.Select(mailbox => scene.Log!.Snapshot(mailbox).Count));
            Assert.Equal(ReadStatus.Ok, scene.Log!.TryRead(scene.Log.Snapshot(7)[0].Lsn, out StoredMessage stored));
            Assert.Equal(
                "Return-Path: <>\r\nDate: now\r\nx: y\r\n\r\nbody\r\n.\r\n", Encoding.ASCII.GetString(stored.Wire.Span));
            Assert.Equal(
                ["reversePath=a@b.test", "local 7/1=user7@example.net", "originalRecipient=rfc822;7", "notify=\a", "transactionId=T1"],
                MetaText.Of(stored.Meta.Span).FindAll(line => line.Trim('\0') != "padding="));
            scene.Reopen();
        }
    }

    [Fact]
    public void Everything_survives_closing_and_opening()
    {
        using LogScene scene = new();
        uint validity = scene.Open().Snapshot(1).UidValidity;
        scene.Deliver("one", 1, 2);
        scene.Deliver("two", 1);
        scene.Deliver("three", 1, 3);
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, 2));

        for (int i = 0; i < 3; i++)
        {
            scene.Reopen();
            Assert.Equal(["one", "three"], scene.Bodies(1));
            Assert.Equal([1UL, 3UL], scene.Uids(1));
            Assert.Equal(["one"], scene.Bodies(2));
            Assert.Equal(["three"], scene.Bodies(3));
            Assert.Equal(validity, scene.Log!.Snapshot(1).UidValidity);
        }

        Assert.Empty(scene.Notices);
    }

    [Fact]
    public void A_unique_id_is_never_used_twice()
    {
        using LogScene scene = new();
        scene.Open();
        scene.Deliver("a", 5);
        scene.Deliver("b", 5);
        scene.Expunge(5, 1, 2);
        Assert.Empty(scene.Bodies(5));
        scene.Reopen();
        Assert.Equal(0, scene.Log!.Snapshot(5).Octets);
        scene.Deliver("c", 5);
        Assert.Equal([3UL], scene.Uids(5));
    }

    [Fact]
    public void A_snapshot_does_not_see_what_happens_later()
    {
        using LogScene scene = new();
        MailLog log = scene.Open();
        for (int i = 0; i < 10; i++)
        {
            scene.Deliver($"m{i}", 5);
        }

        MaildropSnapshot before = log.Snapshot(5);
        scene.Expunge(5, 1, 2, 9, 4711);
        scene.Deliver("late", 5);
        Assert.Equal(10, before.Count);
        for (int i = 0; i < 10; i++)
        {
            Assert.Equal((ulong)i + 1, before[i].Uid);
            Assert.Equal(ReadStatus.Ok, log.TryRead(before[i].Lsn, out _));
        }

        Assert.Equal([3UL, 4, 5, 6, 7, 8, 10, 11], scene.Uids(5));
    }

    [Fact]
    public void A_mailbox_is_a_recipient_once()
    {
        using LogScene scene = new();
        MailLog log = scene.Open();
        PendingMessage message = log.RentMessage();
        Assert.True(message.TryAddLocalRecipient(1, "a@b"u8));
        Assert.False(message.TryAddLocalRecipient(1, "alias@b"u8));
        Assert.Equal(1, message.LocalRecipients);
        log.Return(message);
    }

    [Fact]
    public void A_thousand_recipients_share_one_record()
    {
        using LogScene scene = new();
        scene.Open();
        ulong[] mailboxes = [.. Enumerable.Range(1, 1000).Select(i => (ulong)i)];
        scene.Deliver("to all", mailboxes);
        scene.Deliver("again", mailboxes);
        scene.Reopen();
        foreach (ulong mailbox in mailboxes)
        {
            Assert.Equal(["to all", "again"], scene.Bodies(mailbox));
            Assert.Equal([1UL, 2UL], scene.Uids(mailbox));
        }
    }

    [Fact]
    public void Bodies_around_the_chunk_sizes_come_back_identical()
    {
        using LogScene scene = new(options: LogScene.Roomy);
        scene.Open();
        List<string> sent = [];
        foreach (int edge in (int[])[0, 4096, 4096 + 65536, 4096 + (3 * 65536)])
        {
            for (int size = Math.Max(0, edge - 260); size < edge + 40; size += 17)
            {
                string body = new([.. Enumerable.Range(0, size).Select(i => (char)('a' + (i * 31 % 26)))]);
                scene.Deliver(body, 1);
                sent.Add(body);
            }
        }

        Assert.Equal(sent, scene.Bodies(1), StringComparer.Ordinal);
        scene.Reopen();
        Assert.Equal(sent, scene.Bodies(1), StringComparer.Ordinal);
    }

    [Fact]
    public void Segments_roll_and_each_full_one_is_sealed()
    {
        using LogScene scene = new();
        scene.Open();
        List<string> sent = [];
        for (int i = 0; i < 40; i++)
        {
            string body = new((char)('a' + (i % 26)), 100_000);
            scene.Deliver(body, 1);
            sent.Add(body);
        }

        Assert.True(scene.Log!.Statistics.Segments >= 4);
        Assert.Equal(sent, scene.Bodies(1), StringComparer.Ordinal);
        scene.Reopen();
        Assert.Equal(sent, scene.Bodies(1), StringComparer.Ordinal);
        scene.Deliver("more", 1);
        Assert.Equal(41UL, scene.Uids(1)[^1]);
    }

    [Fact]
    public void A_message_larger_than_a_segment_gets_a_body_file()
    {
        using LogScene scene = new();
        scene.Open();
        string large = new('x', 3_000_000);
        scene.Deliver("before", 1);
        scene.Deliver(large, 1);
        scene.Deliver("after", 1);
        Assert.Equal(["before", large, "after"], scene.Bodies(1));
        scene.Reopen();
        Assert.Equal(["before", large, "after"], scene.Bodies(1));
        string file = Assert.Single(Directory.EnumerateFiles(Path.Join(scene.Directory, "body")));
        Assert.Equal(3_000_005, new FileInfo(file).Length);
    }

    [Fact]
    public void Many_records_that_wait_become_one_group()
    {
        using LogScene scene = new();
        MailLog log = scene.Open();
        using SemaphoreSlim entered = new(0);
        using SemaphoreSlim go = new(0);
        List<int> groups = [];
        using SemaphoreSlim all = new(0);
        scene.OnGroup = first =>
        {
            int count = 0;
            for (PendingAppend? append = first; append is not null; append = append.Next)
            {
                Assert.Equal(AppendOutcome.Durable, append.Outcome);
                count++;
            }

            lock (groups)
            {
                groups.Add(count);
            }

            if (groups.Count == 1)
            {
                entered.Release();
                go.Wait();
            }
            else
            {
                all.Release();
            }
        };
        log.Append(scene.Build("first", 1));
        entered.Wait();
        for (int i = 0; i < 50; i++)
        {
            log.Append(scene.Build($"m{i}", 1));
        }

        go.Release();
        Assert.True(all.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal([1, 50], groups);
        Assert.Equal(0, log.PendingBytes);
        Assert.Equal(51, log.Snapshot(1).Count);
    }

    [Fact]
    public async Task Concurrent_producers_are_all_durable_exactly_once()
    {
        const int Producers = 4;
        const int Each = 10_000;
        using LogScene scene = new(options: new MailLogOptions { SegmentBytes = 4 << 20, FirstSegmentBytes = 4 << 20 });
        MailLog log = scene.Open();
        using SemaphoreSlim window = new(256);
        using CountdownEvent left = new(Producers * Each);
        int notDurable = 0;
        scene.OnGroup = first =>
        {
            for (PendingAppend? append = first; append is not null;)
            {
                PendingAppend? next = append.Next;
                notDurable += append.Outcome == AppendOutcome.Durable ? 0 : 1;
                log.Return((PendingMessage)append);
                window.Release();
                left.Signal();
                append = next;
            }
        };
        Task[] tasks = [.. Enumerable.Range(0, Producers).Select(p => Task.Run(() =>
        {
            for (int i = 0; i < Each; i++)
            {
                window.Wait();
                log.Append(scene.Build($"{p}/{i}", 99, (ulong)p + 1));
                if (i % 1000 == 0)
                {
                    MaildropSnapshot snapshot = log.Snapshot(99);
                    for (int k = 0; k < snapshot.Count; k++)
                    {
                        Assert.Equal((ulong)k + 1, snapshot[k].Uid);
                    }
                }
            }
        }))];
        await Task.WhenAll(tasks);
        Assert.True(left.Wait(TimeSpan.FromMinutes(2)));
        Assert.Equal(0, notDurable);
        scene.OnGroup = null;

        for (int round = 0; round < 2; round++)
        {
            for (int p = 0; p < Producers; p++)
            {
                IEnumerable<string> sent = Enumerable.Range(0, Each).Select(i => $"{p}/{i}");
                Assert.Equal(sent, scene.Bodies((ulong)p + 1), StringComparer.Ordinal);
            }

            Assert.Equal(Producers * Each, scene.Bodies(99).Distinct(StringComparer.Ordinal).Count());
            scene.Reopen();
        }
    }

    [Fact]
    public void Time_never_runs_backwards_in_the_log()
    {
        using LogScene scene = new();
        scene.Open();
        ulong first = scene.Deliver("a", 1);
        scene.Clock.Now -= TimeSpan.FromDays(365);
        ulong second = scene.Deliver("b", 1);
        scene.Reopen();
        ulong third = scene.Deliver("c", 1);
        long[] times = [.. new[] { first, second, third }.Select(lsn =>
        {
            Assert.Equal(ReadStatus.Ok, scene.Log!.TryRead(lsn, out StoredMessage message));
            return message.TimestampMicros;
        })];
        Assert.Equal(times.Order(), times);
    }

    [Fact]
    public void The_directory_belongs_to_one_log_at_a_time()
    {
        using LogScene scene = new();
        scene.Open();
        DataDirectoryInUseException e = Assert.Throws<DataDirectoryInUseException>(() => MailLog.Open(
            scene.Directory, scene.Options, scene.Disk, scene.Clock, new FixedRandom(), scene));
        Assert.Contains(scene.Directory, e.Message, StringComparison.Ordinal);
        Assert.Contains($"process {Environment.ProcessId};", e.Message, StringComparison.Ordinal);
        scene.Deliver("still works", 1);
    }

    [Fact]
    public void A_closed_log_takes_nothing_more()
    {
        using LogScene scene = new();
        MailLog log = scene.Open();
        PendingMessage message = scene.Build("late", 1);
        scene.Close();
        Assert.Throws<ObjectDisposedException>(() => log.Append(message));
        Assert.Equal(0, log.PendingBytes);
    }

    [Fact]
    public void An_address_without_a_message_is_not_found()
    {
        using LogScene scene = new();
        MailLog log = scene.Open();
        ulong lsn = scene.Deliver("a", 1);
        foreach (ulong wrong in (ulong[])[0, 32, 4096, lsn + 8, lsn + 100_000, ulong.MaxValue])
        {
            Assert.NotEqual(ReadStatus.Ok, log.TryRead(wrong, out _));
        }
    }

    [Fact]
    public void An_unfinished_message_cannot_be_appended()
    {
        using LogScene scene = new();
        MailLog log = scene.Open();
        PendingMessage message = log.RentMessage();
        Assert.Throws<InvalidOperationException>(() => log.Append(message));
        message.SetTrace(default, 0);
        message.AppendBody("no end"u8.ToArray());
        Assert.Throws<InvalidOperationException>(() => message.Seal(default));
        Assert.Throws<InvalidOperationException>(() => message.SetReversePath(default));
        log.Return(message);
    }
}
