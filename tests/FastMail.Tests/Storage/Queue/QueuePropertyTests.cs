using System.Globalization;
using System.Text;
using FastMail.Storage;
using FsCheck;
using FsCheck.Fluent;
using Xunit;
using static FastMail.Tests.Storage.Queue.QueueLog;

namespace FastMail.Tests.Storage.Queue;

/// <summary>The queue beside a plain model; a failure prints the seed that replays it.</summary>
public sealed class QueuePropertyTests
{
    /// <summary>
    /// The invariant of the queue: with or without a checkpoint, after any drop, move or crash, who has ended is never
    /// found again, and who has not is never missing.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void The_queue_agrees_with_a_plain_model_through_any_work_compaction_crash_and_restart(bool takesCheckpoints)
    {
        Gen<int[]> steps = Gen.Choose(0, 999_999_999).ArrayOf(60);
        Prop.ForAll(steps.ToArbitrary(), numbers =>
        {
            using LogScene scene = new(options: (takesCheckpoints ? LogScene.Saving : LogScene.Tiny) with
            {
                ReclaimsByItself = false,
            });
            scene.Open();
            QueueModel model = new();
            foreach (int number in numbers)
            {
                model.Step(scene, number);
            }

            model.Check(scene);
            return true;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(25));
    }

    [Fact]
    public void Pages_agree_with_a_sorted_dictionary()
    {
        Gen<int[]> steps = Gen.Choose(0, 999_999).ArrayOf(2_500);
        Prop.ForAll(steps.ToArbitrary(), numbers =>
        {
            SegmentList segments = new();
            QueueTable queue = new(segments, new Liveness(segments), new BodyTable());
            SortedDictionary<ulong, int> model = [];
            QueueCapture? capture = null;
            ulong[] captured = [];
            foreach (int number in numbers)
            {
                // Mostly ascending, as mail comes; sometimes in between, as a recovery finds it.
                ulong seq = number % 5 == 0 ? (ulong)number : 1_000_000 + ((ulong)model.Count * 3);
                int recipients = 1 + (number / 7 % 3);
                if (number % 11 < 5 && model.Count > 0)
                {
                    ulong gone = model.Keys.ElementAt(number % model.Count);
                    StoredChange end = StoredChange.Of(Of(gone, QueueChange.AllRecipients, QueueState.Delivered));
                    queue.Apply(end, 4096);
                    model.Remove(gone);
                }
                else
                {
                    RecordHeader header = new() { Type = RecordType.Message, Seq = seq, Lsn = seq * 32 };
                    Assert.Equal(model.TryAdd(seq, recipients), queue.TryEnter(header, recipients));
                }

                if (number % 97 == 0)
                {
                    capture = queue.Capture();
                    captured = [.. model.Keys];
                }
            }

            ulong next = 0;
            foreach ((ulong seq, int recipients) in model)
            {
                Assert.True(queue.TryFindNext(next, out QueuedRecord message, out ReadOnlySpan<RecipientRecord> found));
                Assert.Equal((seq, recipients, seq * 32), (message.Seq, found.Length, message.Lsn));
                next = seq + 1;
            }

            Assert.False(queue.TryFindNext(next, out _, out _));
            Assert.Equal((model.Count, model.Values.Sum()), (queue.Messages, queue.Recipients));
            IEnumerable<ulong> kept = capture?.Pages.SelectMany(p => p.Messages.Take(p.Count)).Select(m => m.Seq) ?? [];
            Assert.Equal(captured, kept);
            return true;
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(30));
    }

    /// <summary>
    /// The redirection was repeated for a copy of the message while the deferral, which names no path, was written; then
    /// the record that had redirected went.
    /// </summary>
    [Fact]
    public void A_redirection_that_is_repeated_behind_a_newer_change_goes_on_counting_until_there_is_another()
    {
        SegmentList segments = new();
        QueueTable queue = new(segments, new Liveness(segments), new BodyTable());
        Assert.True(queue.TryEnter(new RecordHeader { Type = RecordType.Message, Seq = 7, Lsn = 4096 }, 2));
        queue.Apply(StoredChange.Of(Of(7, 0, QueueState.Deferred, attempts: 3)), 20_000);
        StoredChange repeated = StoredChange.Of(Of(7, 0, QueueState.Ready, path: "to@other.example"));
        repeated.Origin = 10_000;
        queue.Apply(repeated, 30_000);
        Assert.Equal("to@other.example", Encoding.UTF8.GetString(queue.PathOf(7, 0)));
        Assert.True(queue.TryFind(7, out _, out ReadOnlySpan<RecipientRecord> recipients));
        Assert.Equal((QueueState.Deferred, 3), (recipients[0].State, recipients[0].Attempts));

        queue.Apply(StoredChange.Of(Of(7, 0, QueueState.Ready, path: "to@third.example")), 40_000);
        queue.Apply(repeated, 50_000);
        Assert.Equal("to@third.example", Encoding.UTF8.GetString(queue.PathOf(7, 0)));

        queue.Apply(StoredChange.Of(Of(7, 0, QueueState.Delivered)), 60_000);
        queue.Apply(StoredChange.Of(Of(7, 1, QueueState.Delivered)), 60_000);
        Assert.Empty(queue.Capture().Paths);
    }

    [Fact]
    public void A_change_is_read_as_it_was_written()
    {
        Prop.ForAll<(ulong Seq, uint Recipient, long Due), (byte State, ushort Attempts, bool Told), (byte[] Path, byte[] Text)>(
            (who, what, said) =>
            {
                QueueChange change = new()
                {
                    Seq = who.Seq,
                    Recipient = who.Recipient,
                    State = (QueueState)(what.State % 6),
                    DueMicros = who.Due,
                    Attempts = what.Attempts,
                    IsDelayTold = what.Told,
                    ForwardPath = said.Path,
                    Text = said.Text,
                };
                StoredChange stored = StoredChange.Of(change);
                byte[] value = new byte[stored.Bytes];
                stored.Write(value);
                bool isCutSeen = true;
                for (int i = 0; i < StoredChange.FixedBytes + said.Path.Length; i++)
                {
                    isCutSeen &= !StoredChange.TryRead(value.AsSpan(0, i), out _);
                }

                return isCutSeen
                    && StoredChange.TryRead(value, out StoredChange read)
                    && read.Seq == change.Seq && read.Recipient == change.Recipient && read.State == change.State
                    && read.DueMicros == change.DueMicros && read.Attempts == change.Attempts
                    && read.IsDelayTold == change.IsDelayTold && read.ForwardPath.SequenceEqual(said.Path)
                    && read.Text.SequenceEqual(said.Text);
            }).QuickCheckThrowOnFailure();
    }
}

/// <summary>
/// What a queue must say, kept without any cleverness, and one step of random work on both. Owned by one test.
/// </summary>
internal sealed class QueueModel
{
    private readonly SortedDictionary<ulong, QueuedModel> _messages = [];
    private readonly HashSet<string> _bodies = []; // of mailbox 1
    private int _bodyNumber;

    public void Step(LogScene scene, int number)
    {
        int what = number % 20;
        number /= 20;
        switch (what)
        {
            case < 6:
                Deliver(scene, number);
                break;
            case < 14:
                Change(scene, number);
                break;
            case 14:
                scene.Expunge(1, [.. scene.Uids(1).Where(uid => (uid + (ulong)number) % 3 != 0)]);
                _bodies.IntersectWith(scene.Bodies(1));
                break;
            case < 17:
                Compact(scene, number);
                break;
            case 17:
                scene.Reopen();
                Check(scene);
                break;
            case 18:
                CheckCrash(scene);
                break;
            default:
                LoseCheckpoints(scene);
                Check(scene);
                break;
        }
    }

    /// <summary>The log says of every recipient what the model says, has all bodies, and counts what is live right.</summary>
    public void Check(LogScene scene)
    {
        Assert.Equal(_messages.Values.SelectMany(m => m.Show()), scene.Show(), StringComparer.Ordinal);
        foreach (QueuedModel message in _messages.Values)
        {
            Assert.Equal(message.Body, scene.Body(message.Seq));
        }

        Assert.Equal(_bodies.Order(StringComparer.Ordinal), scene.Bodies(1).Order(StringComparer.Ordinal));
        int live = _messages.Values.Select(m => m.Body).Union(_bodies, StringComparer.Ordinal).Count();
        long filler = scene.Log!.Snapshot(3).Count;
        Assert.Equal(live + filler, scene.Log.ReadSegmentStatistics().Sum(s => s.LiveMessages));
    }

    private void Deliver(LogScene scene, int number)
    {
        int relayed = (number % 4) + 1;
        bool isLocal = number / 4 % 3 == 0;
        string body = string.Create(CultureInfo.InvariantCulture, $"{_bodyNumber++} ") + new string('b', number % 9_000);
        ulong told = number / 12 % 3 == 0 && _messages.Count > 0 ? Pick(number) : 0;
        QueueChange[] changes = told == 0 ? [] : [Of(told, (uint)(number % 3), QueueState.Failed, number % 9)];
        bool isLate = number / 36 % 5 == 0;
        changes = isLate ? [.. changes, Of(0, QueueChange.AllRecipients, QueueState.Deferred, 77)] : changes;
        PendingMessage message = scene.BuildRelayed(body, relayed, isLocal ? [1] : [], changes);
        Assert.Equal(AppendOutcome.Durable, scene.Append(message));
        _messages.Add(message.Seq, new QueuedModel(message.Seq, body, relayed));
        foreach (QueueChange change in changes)
        {
            Apply(change with { Seq = change.Seq == 0 ? message.Seq : change.Seq });
        }

        if (isLocal)
        {
            _bodies.Add(body);
        }

        scene.Log!.Return(message);
    }

    private void Change(LogScene scene, int number)
    {
        if (_messages.Count == 0)
        {
            return;
        }

        List<QueueChange> changes = [];
        for (int i = 0; i <= number % 5; i++)
        {
            int digits = (number / 5) + (i * 7919);
            bool isAll = digits % 13 == 0;
            changes.Add(Of(
                Pick(digits), isAll ? QueueChange.AllRecipients : (uint)(digits / 13 % 4),
                (QueueState)(digits / 52 % 6), digits % 100, "t", digits % 17 == 0 ? "path@x" : ""));
        }

        scene.Change([.. changes]);
        changes.ForEach(Apply);
    }

    private static void Compact(LogScene scene, int number)
    {
        if (number % 2 == 0)
        {
            ReclaimTests.Fill(scene, 3, segments: 1);
            scene.Expunge(3, scene.Uids(3));
        }

        double ratio = number / 2 % 3 == 0 ? 0 : number / 2 % 3 == 1 ? 0.5 : 0.95;
        CompactOptions options = new() { DeadRatio = ratio, IncludesCurrent = number / 6 % 2 == 0 };
        scene.Log!.CompactAsync(options).GetAwaiter().GetResult();
    }

    /// <summary>What a power loss would leave right now, without any checkpoint.</summary>
    private void CheckCrash(LogScene scene)
    {
        using LogScene image = scene.Crash();
        image.Open();
        Check(image);
    }

    private static void LoseCheckpoints(LogScene scene)
    {
        scene.Close();
        string checkpoints = Path.Join(scene.Directory, "ckpt");
        if (Directory.Exists(checkpoints))
        {
            Directory.Delete(checkpoints, recursive: true);
        }

        scene.Open();
    }

    private ulong Pick(int number)
    {
        return _messages.Keys.ElementAt(number % _messages.Count);
    }

    private void Apply(QueueChange change)
    {
        if (_messages.TryGetValue(change.Seq, out QueuedModel? message) && message.Apply(change))
        {
            _messages.Remove(change.Seq);
        }
    }

    private sealed class QueuedModel(ulong seq, string body, int recipients)
    {
        private readonly QueueChange[] _recipients =
            [.. Enumerable.Range(0, recipients).Select(i => Of(seq, (uint)i, QueueState.Ready))];

        public ulong Seq => seq;

        public string Body => body;

        public IEnumerable<string> Show()
        {
            return _recipients.Select(r => string.Create(
                CultureInfo.InvariantCulture,
                $"{seq}/{r.Recipient} {r.State} {r.Attempts} {r.DueMicros}{(r.ForwardPath.IsEmpty ? "" : " to path@x")}"));
        }

        /// <summary>True when all have ended.</summary>
        public bool Apply(in QueueChange change)
        {
            foreach (ref QueueChange recipient in _recipients.AsSpan())
            {
                if ((change.Recipient == recipient.Recipient || change.Recipient == QueueChange.AllRecipients)
                    && !recipient.State.IsEnd())
                {
                    recipient = change with
                    {
                        Recipient = recipient.Recipient,
                        ForwardPath = change.ForwardPath.IsEmpty ? recipient.ForwardPath : change.ForwardPath,
                    };
                }
            }

            return _recipients.All(r => r.State.IsEnd());
        }
    }
}
