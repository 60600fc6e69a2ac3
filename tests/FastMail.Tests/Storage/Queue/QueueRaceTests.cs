using System.Collections.Concurrent;
using FastMail.Storage;
using Xunit;
using Xunit.Abstractions;
using static FastMail.Tests.Storage.Queue.QueueLog;

namespace FastMail.Tests.Storage.Queue;

/// <summary>Changes and compactions at the same time: which of them comes first is left to the machine.</summary>
public sealed class QueueRaceTests(ITestOutputHelper output)
{
    [Fact]
    public async Task Changes_that_come_while_their_messages_move_are_never_lost_or_undone()
    {
        MailLogOptions options = LogScene.Saving with { ReclaimsByItself = false };
        using LogScene scene = new(options: options);
        MailLog log = scene.Open();
        int seed = Environment.TickCount;
        output.WriteLine($"seed {seed}");
        Random random = new(seed);
        ConcurrentDictionary<(ulong Seq, uint Recipient), (QueueState State, int Attempts)> model = [];
        List<ulong> open = [];
        for (int round = 0; round < 6; round++)
        {
            for (int i = 0; i < 60; i++)
            {
                ulong seq = scene.Relay(new string('m', random.Next(6_000)), relayed: 2, mailboxes: i % 4 == 0 ? [8] : []);
                open.Add(seq);
                model[(seq, 0)] = model[(seq, 1)] = (QueueState.Ready, 0);
            }

            ReclaimTests.Fill(scene, 3, segments: 1);
            scene.Expunge(3, scene.Uids(3));
            Task<CompactProgress> compaction = log.CompactAsync(
                new CompactOptions { DeadRatio = round % 2 == 0 ? 0 : 0.6, IncludesCurrent = true });
            for (int i = 0; i < 200 || !compaction.IsCompleted; i++)
            {
                ulong seq = open[random.Next(open.Count)];
                uint recipient = (uint)random.Next(2);
                QueueState state = (QueueState)random.Next(5);
                scene.Change(Of(seq, recipient, state, i + 1));
                if (!model[(seq, recipient)].State.IsEnd())
                {
                    model[(seq, recipient)] = (state, i + 1);
                }
            }

            await compaction;
            open.RemoveAll(s => model[(s, 0)].State.IsEnd() && model[(s, 1)].State.IsEnd());
            using LogScene image = scene.Crash(); // without a checkpoint
            image.Open();
            Check(image);
            Check(scene);
        }

        void Check(LogScene checkedScene)
        {
            IEnumerable<string> expected = open.Order().SelectMany(s => new[] { (s, 0U), (s, 1U) }).Select(
                r => $"{r.s}/{r.Item2} {model[r].State} {model[r].Attempts} {model[r].Attempts * 1_000_000L}");
            Assert.Equal(expected, checkedScene.Show(), StringComparer.Ordinal);
        }
    }
}
