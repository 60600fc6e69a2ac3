using System.Globalization;
using FastMail.Storage;
using FsCheck;
using FsCheck.Fluent;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>
/// Any sequence of deliveries, removals, compactions, drops, checkpoints and restarts, beside a plain model of what the
/// maildrops hold. A failure prints the seed that replays it.
/// </summary>
public sealed class LogModelTests
{
    private const int Mailboxes = 4;

    private static readonly MailLogOptions Options = LogScene.Saving with
    {
        ReclaimsByItself = false,
        LargestRecordBytes = 64 * 1024, // longer ones have a body file
    };

    [Fact]
    public void The_log_agrees_with_a_plain_model_whatever_is_reclaimed_and_saved_in_between()
    {
        Gen<int[]> steps = Gen.Choose(0, 9_999_999).ArrayOf(60);
        Prop.ForAll(steps.ToArbitrary(), static numbers =>
        {
            using LogScene scene = new(options: Options);
            Model model = new(scene);
            foreach (int number in numbers)
            {
                model.Step(number);
            }

            model.Compare();
        }).Check(Config.QuickThrowOnFailure.WithMaxTest(12));
    }

    /// <summary>What was said to the log, and what it must therefore show. Owned by one run.</summary>
    private sealed class Model
    {
        private readonly LogScene _scene;
        private readonly SortedDictionary<ulong, string>[] _maildrops = new SortedDictionary<ulong, string>[Mailboxes];
        private readonly ulong[] _lastUid = new ulong[Mailboxes];

        public Model(LogScene scene)
        {
            _scene = scene;
            _scene.Open();
            for (int i = 0; i < Mailboxes; i++)
            {
                _maildrops[i] = [];
            }
        }

        public void Step(int number)
        {
            int argument = number / 16;
            switch (number % 16)
            {
                case 0:
                    _scene.Reopen();
                    Compare();
                    break;
                case 1:
                    LoseCheckpoints();
                    Compare();
                    break;
                case 2 or 3:
                    _scene.Log!.TakeCheckpoint();
                    break;
                case 4:
                    Reclaim(new CompactOptions { DeadRatio = 1 }); // only what is wholly dead goes
                    break;
                case 5:
                    Reclaim(new CompactOptions { DeadRatio = 0.3 });
                    break;
                case 6:
                    Reclaim(new CompactOptions { DeadRatio = 0, IncludesCurrent = true }); // everything moves
                    break;
                case 7 or 8 or 9:
                    Expunge(argument % Mailboxes, argument / Mailboxes);
                    break;
                default:
                    Deliver(argument);
                    break;
            }
        }

        public void Compare()
        {
            for (int i = 0; i < Mailboxes; i++)
            {
                Assert.Equal(_maildrops[i].Keys, _scene.Uids((ulong)i));
                Assert.Equal(_maildrops[i].Values, _scene.Bodies((ulong)i), StringComparer.Ordinal);
                MaildropSnapshot snapshot = _scene.Log!.Snapshot((ulong)i);
                Assert.Equal(Enumerable.Range(0, snapshot.Count).Sum(n => (long)snapshot[n].Octets), snapshot.Octets);
                Assert.Equal(snapshot.Count, _scene.Log.Measure((ulong)i).Messages);
            }
        }

        private void Deliver(int argument)
        {
            int length = (argument % 11) switch
            {
                0 => 70_000 + (argument % 5_000), // a body file
                < 4 => argument % 30_000,
                _ => argument % 900,
            };
            string body = argument.ToString(CultureInfo.InvariantCulture) + new string('b', length);
            ulong[] recipients = [.. Enumerable.Range(0, Mailboxes).Where(i => ((argument >> i) & 1) == 1).Select(i => (ulong)i)];
            recipients = recipients.Length > 0 ? recipients : [0];
            _ = _scene.Deliver(body, recipients);
            foreach (ulong recipient in recipients)
            {
                // Higher by one, unless a start without checkpoints had to skip numbers that may have been given.
                ulong uid = _scene.Uids(recipient)[^1];
                Assert.True(uid > _lastUid[recipient], $"unique-id {uid} after {_lastUid[recipient]}");
                _lastUid[recipient] = uid;
                _maildrops[recipient].Add(uid, body);
            }
        }

        private void Expunge(int mailbox, int argument)
        {
            ulong[] gone = (argument % 4) switch
            {
                0 => [.. _maildrops[mailbox].Keys],
                1 => [.. _maildrops[mailbox].Keys.Where(uid => (uid + (ulong)argument) % 3 != 0)],
                _ => [.. _maildrops[mailbox].Keys.Take(1 + (argument % 3))],
            };
            if (gone.Length > 0)
            {
                Assert.Equal(AppendOutcome.Durable, _scene.Expunge((ulong)mailbox, gone));
                Array.ForEach(gone, uid => _maildrops[mailbox].Remove(uid));
            }
        }

        private void Reclaim(CompactOptions options)
        {
            Task<CompactProgress> task = _scene.Log!.CompactAsync(options);
            Assert.True(task.Wait(TimeSpan.FromSeconds(60)), "reclaiming never ended");
        }

        private void LoseCheckpoints()
        {
            _scene.Close();
            string directory = Path.Join(_scene.Directory, "ckpt");
            if (Directory.Exists(directory))
            {
                Directory.Delete(directory, recursive: true);
            }

            _scene.Open();
        }
    }
}
