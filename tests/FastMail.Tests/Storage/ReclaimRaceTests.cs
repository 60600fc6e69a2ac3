using System.Globalization;
using FastMail.Storage;
using Xunit;
using Xunit.Abstractions;

namespace FastMail.Tests.Storage;

/// <summary>Removals and compactions at the same time: which of them comes first is left to the machine.</summary>
public sealed class ReclaimRaceTests(ITestOutputHelper output)
{
    [Fact]
    public async Task Removals_that_come_while_their_messages_move_stay_removed()
    {
        using LogScene scene = new(options: LogScene.Saving with { ReclaimsByItself = false });
        MailLog log = scene.Open();
        int seed = Environment.TickCount;
        output.WriteLine($"seed {seed}");
        Random random = new(seed);
        SortedDictionary<ulong, string>[] model = [[], [], []];
        int number = 0;
        for (int round = 0; round < 8; round++)
        {
            for (int i = 0; i < 60; i++)
            {
                string body = string.Create(CultureInfo.InvariantCulture, $"{number++} ") + new string('m', random.Next(6_000));
                ulong[] mailboxes = (random.Next(3) switch { 0 => [1], 1 => [2], _ => [1, 2] });
                scene.Deliver(body, mailboxes);
                foreach (ulong mailbox in mailboxes)
                {
                    model[mailbox].Add(scene.Uids(mailbox)[^1], body);
                }
            }

            ReclaimStory.Fill(scene, 3, segments: 2);
            scene.Expunge(3, scene.Uids(3));
            Task<CompactProgress> compaction = log.CompactAsync(new CompactOptions
            {
                DeadRatio = round % 4 == 3 ? 0 : 0.6,
                IncludesCurrent = true,
                BytesPerSecond = 1 << 20, // so that much is removed meanwhile
            });
            for (int i = 0; (i < 30 || !compaction.IsCompleted) && model[1].Count > 20 && model[2].Count > 20; i++)
            {
                ulong mailbox = (ulong)random.Next(1, 3);
                ulong[] uids = [.. model[mailbox].Keys.Skip(random.Next(model[mailbox].Count)).Take(random.Next(1, 3))];
                Assert.Equal(AppendOutcome.Durable, scene.Expunge(mailbox, uids));
                Array.ForEach(uids, uid => Assert.True(model[mailbox].Remove(uid)));
                await Task.Delay(random.Next(10));
            }

            await compaction;
            using LogScene image = scene.Crash(); // without a checkpoint
            image.Open();
            Check(image);
            Check(scene);
        }

        scene.Reopen();
        Check(scene);

        void Check(LogScene checkedScene)
        {
            foreach (ulong mailbox in (ReadOnlySpan<ulong>)[1, 2])
            {
                Assert.Equal(model[mailbox].Keys, checkedScene.Uids(mailbox));
                Assert.Equal(model[mailbox].Values, checkedScene.Bodies(mailbox), StringComparer.Ordinal);
            }
        }
    }
}
