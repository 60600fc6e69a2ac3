using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>A thousand open maildrops beside a log that delivers, removes, copies and drops all the time.</summary>
public sealed class ReaderRaceTests
{
    private const int Readers = 1000;
    private const int Mailboxes = 40;
    private const int Rounds = 8;

    [Fact]
    public async Task A_thousand_readers_read_what_they_opened_whatever_is_copied_and_dropped_meanwhile()
    {
        MailLogOptions options = LogScene.Saving with { ReclaimsByItself = false, PooledMessages = 256 };
        using LogScene scene = new(options: options);
        MailLog log = scene.Open();
        for (int i = 0; i < Mailboxes * 10; i++)
        {
            Deliver(scene, i);
        }

        List<OpenMaildrop> open = [.. Enumerable.Range(0, Readers).Select(i => log.OpenMaildrop((ulong)(i % Mailboxes)))];
        ConcurrentQueue<string> wrong = [];
        using CancellationTokenSource isOver = new();
        int reads = 0;
        Task[] readers = [.. Enumerable.Range(0, 4).Select(i => Task.Factory.StartNew(
            () => Read(i), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default))];

        CompactProgress all = default;
        int next = Mailboxes * 10;
        for (int round = 0; round < Rounds; round++)
        {
            for (int i = 0; i < Mailboxes; i++)
            {
                Deliver(scene, next++);
            }

            foreach (ulong mailbox in Enumerable.Range(0, Mailboxes).Select(m => (ulong)m))
            {
                ulong[] uids = scene.Uids(mailbox);
                Assert.Equal(AppendOutcome.Durable, scene.Expunge(mailbox, [.. uids.Where((_, i) => (i + round) % 2 == 0)]));
            }

            CompactProgress done = await log.CompactAsync(
                new CompactOptions { DeadRatio = round % 3 == 0 ? 0 : 0.2, IncludesCurrent = true });
            all = new CompactProgress(
                all.Messages + done.Messages, all.CopiedBytes + done.CopiedBytes, all.Segments + done.Segments,
                all.FreedBytes + done.FreedBytes);
        }

        await isOver.CancelAsync();
        await Task.WhenAll(readers);
        open.ForEach(maildrop => maildrop.Dispose());
        Assert.Empty(wrong);
        Assert.True(all is { Messages: > Mailboxes, Segments: >= Rounds }, all.ToString());
        Assert.True(reads > Readers, $"only {reads} messages were read meanwhile");

        // Each thread has a quarter of the open maildrops: reads all of one, opens it anew now and then, takes the next.
        void Read(int part)
        {
            for (int i = part; !isOver.IsCancellationRequested && wrong.IsEmpty; i = (i + 4) % Readers)
            {
                ulong mailbox = (ulong)(i % Mailboxes);
                OpenMaildrop maildrop = open[i];
                for (int m = 0; m < maildrop.Snapshot.Count; m++)
                {
                    ReadStatus status = maildrop.TryRead(m, out StoredMessage message);
                    if (status != ReadStatus.Ok || !IsOf(message, mailbox))
                    {
                        wrong.Enqueue($"message {maildrop.Snapshot[m].Uid} of mailbox {mailbox}: {status}");
                    }

                    _ = Interlocked.Increment(ref reads);
                }

                if (i % 7 == 0)
                {
                    maildrop.Dispose();
                    open[i] = log.OpenMaildrop(mailbox);
                }
            }
        }
    }

    /// <summary>The body says whose it is, and is otherwise made of its own number.</summary>
    private static void Deliver(LogScene scene, int number)
    {
        int mailbox = number % Mailboxes;
        char filler = (char)('a' + (number % 26));
        scene.Deliver(
            string.Create(CultureInfo.InvariantCulture, $"{mailbox}:") + new string(filler, 500 + (number % 20 * 200)),
            (ulong)mailbox);
    }

    private static bool IsOf(in StoredMessage message, ulong mailbox)
    {
        string body = Encoding.Latin1.GetString(message.Wire.Span[message.TraceBytes..^5]);
        string start = string.Create(CultureInfo.InvariantCulture, $"{mailbox}:");
        return body.StartsWith(start, StringComparison.Ordinal)
            && !body.AsSpan(start.Length).ContainsAnyExcept(body[start.Length]);
    }
}
