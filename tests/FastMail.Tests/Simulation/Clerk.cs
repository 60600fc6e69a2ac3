using System.Globalization;
using System.Text;
using FastMail.Net;
using FastMail.Storage;

namespace FastMail.Tests.Simulation;

/// <summary>
/// The relay of a simulation, and the judge of its queue: hands in messages to be relayed, says what became of their
/// recipients, some of it together with a notification, and holds what each start finds against what may be. Owned by
/// one run, its thread only.
/// </summary>
internal sealed class Clerk(Random random)
{
    private readonly List<Relayed> _messages = []; // by key
    private readonly List<Work> _sending = [];
    private readonly StringBuilder _story = new();
    private int _changes; // each change has a number of its own, which its attempts say

    /// <summary>Messages that were answered with success, or found.</summary>
    public int Kept => _messages.Count(m => m.Promise == Promise.Kept);

    /// <summary>Those of them that have not ended.</summary>
    public int Waiting => _messages.Count(m => m.Promise == Promise.Kept && !m.HasEnded);

    /// <summary>The same in another world, where chance goes another way.</summary>
    public Clerk Clone(Random otherRandom)
    {
        Clerk clone = new(otherRandom) { _changes = _changes };
        clone._messages.AddRange(_messages.Select(m => m.Clone()));
        return clone;
    }

    /// <summary>Appends what is to be in the next group; answers how many records.</summary>
    public int Send(SimulatedServer server)
    {
        for (int i = random.Next(3); i > 0; i--)
        {
            Relay(server, target: null);
        }

        Relayed[] open = [.. _messages.Where(m => m.Promise == Promise.Kept && !m.HasEnded)];
        if (open.Length > 0 && random.Next(4) == 0)
        {
            Relay(server, open[random.Next(open.Length)]);
        }

        if (open.Length > 0 && random.Next(4) != 0)
        {
            Say(server, open);
        }

        return _sending.Count;
    }

    /// <summary>Hears the outcomes; answers the story of it.</summary>
    public string Collect()
    {
        _story.Clear();
        foreach (Work work in _sending)
        {
            work.End();
            _story.Append(CultureInfo.InvariantCulture, $" {work}");
        }

        _sending.Clear();
        return _story.ToString();
    }

    /// <summary>After a start: judges the whole queue; false when the process ended, or could not read, meanwhile.</summary>
    public bool TryInspect(SimulatedServer server)
    {
        Dictionary<int, List<QueuedRecipient>> found = [];
        List<QueuedRecipient> page = [];
        for (ulong next = 0, isFirst = 1; isFirst == 1 || next != 0; isFirst = 0)
        {
            next = server.Log.Queue.ReadPage(next, page, 10);
        }

        foreach (ulong seq in page.Select(r => r.Seq).Distinct())
        {
            if (!TryReadKey(server, seq, out int key))
            {
                return server.Port.IsDown || server.Port.Plan.HasFired
                    ? false
                    : throw new BrokenPromiseException($"message {seq} of the queue cannot be read");
            }

            List<QueuedRecipient> recipients = [];
            Demand(server.Log.Queue.TryFind(seq, out _, recipients), $"{seq} is in the queue and is not");
            Demand(found.TryAdd(key, recipients), $"message q{key} is in the queue twice");
            Demand(_messages[key].Seq == 0 || _messages[key].Seq == seq, $"message q{key} has another number");
            _messages[key].Seq = seq;
        }

        foreach (Relayed message in _messages)
        {
            message.Judge(found.GetValueOrDefault(message.Key), _messages);
        }

        return true;
    }

    private static bool TryReadKey(SimulatedServer server, ulong seq, out int key)
    {
        key = -1;
        using QueueLease lease = new();
        Demand(server.Log.TryLeaseQueued(seq, lease), $"message {seq} of the queue is nowhere");
        ReadStatus status = lease.TryRead(out StoredMessage message);
        if (status == ReadStatus.Unavailable)
        {
            return false;
        }

        Demand(status is ReadStatus.Ok or ReadStatus.External, $"message {seq} of the queue is {status}");
        MetaReader meta = new(message.Meta.Span);
        while (meta.Read())
        {
            if (meta.Type == MetaType.TransactionId)
            {
                key = int.Parse(meta.Value, CultureInfo.InvariantCulture);
            }
        }

        Demand(
            status == ReadStatus.External
                || message.Wire.Span[message.TraceBytes..].SequenceEqual(Body(key, message.Wire.Length)),
            $"message q{key} has other octets than were handed in");
        return true;
    }

    private static byte[] Body(int key, int length)
    {
        string line = string.Create(CultureInfo.InvariantCulture, $"q{key} ");
        byte[] body = Encoding.ASCII.GetBytes(line.PadRight(length, 'r'));
        "\r\n.\r\n"u8.CopyTo(body.AsSpan(length - 5));
        return body;
    }

    /// <summary>A message; one with a target tells of the end of one of its recipients.</summary>
    private void Relay(SimulatedServer server, Relayed? target)
    {
        Relayed relayed = new(_messages.Count, target is null ? 1 + random.Next(3) : 1);
        _messages.Add(relayed);
        PendingMessage message = server.Log.RentMessage();
        message.SetReversePath("sender@sim.test"u8);
        for (int i = 0; i < relayed.Recipients.Length; i++)
        {
            message.AddRelayRecipient("somebody@relay.test"u8);
        }

        message.AddMeta(MetaType.TransactionId, Encoding.ASCII.GetBytes(relayed.Key.ToString(CultureInfo.InvariantCulture)));
        List<Said> said = [];
        if (target is not null)
        {
            said.Add(new Said(target, (uint)random.Next(target.Recipients.Length), QueueState.Failed, ++_changes));
            message.AddQueueChange(said[0].Change);
            relayed.TellsOf = said[0];
        }

        message.SetTrace([], 0);
        // One with a body file joins its group out of turn, so what is told would have another order than what is said.
        bool hasFile = random.Next(12) == 0 && target is null;
        message.AppendBody(Body(relayed.Key, hasFile ? 140_000 : random.Next(20, 20_000)));
        message.Seal(new BodyFacts { Octets = 0, HeaderWireBytes = 0, Flags = MessageFlags.None });
        Append(server, message, new Work(message, relayed, said, () => server.Log.Return(message)));
    }

    private void Say(SimulatedServer server, Relayed[] open)
    {
        PendingQueueChanges changes = server.Log.RentQueueChanges();
        List<Said> said = [];
        for (int i = random.Next(1, 8); i > 0; i--)
        {
            Relayed message = open[random.Next(open.Length)];
            uint recipient = random.Next(6) == 0
                ? QueueChange.AllRecipients
                : (uint)random.Next(message.Recipients.Length);
            said.Add(new Said(message, recipient, (QueueState)random.Next(6), ++_changes));
            changes.Add(said[^1].Change);
        }

        Append(server, changes, new Work(changes, null, said, () => server.Log.Return(changes)));
    }

    private void Append(SimulatedServer server, PendingAppend append, Work work)
    {
        work.Server = server;
        append.Owner = work;
        _sending.Add(work);
        server.Log.Append(append);
    }

    private static void Demand(bool isKept, string otherwise)
    {
        if (!isKept)
        {
            throw new BrokenPromiseException(otherwise);
        }
    }

    /// <summary>A state of a recipient; the number is that of the change that led to it. A value.</summary>
    private readonly record struct Standing(QueueState State, int Number);

    /// <summary>What was said of a recipient. Immutable.</summary>
    private sealed record Said(Relayed Message, uint Recipient, QueueState State, int Number)
    {
        public Standing Standing => new(State, Number);

        public QueueChange Change => new()
        {
            Seq = Message.Seq,
            Recipient = Recipient,
            State = State,
            Attempts = Number,
            Text = "the next hop said something"u8.ToArray(),
        };
    }

    /// <summary>A message and what may have become of it. Owned by the clerk.</summary>
    private sealed class Relayed(int key, int recipients)
    {
        public int Key => key;

        public ulong Seq { get; set; }

        public Promise Promise { get; set; } = Promise.Absent;

        public Said? TellsOf { get; set; }

        /// <summary>Every standing in which each recipient may be found; one when nothing is in doubt.</summary>
        public List<Standing>[] Recipients { get; } = [.. Enumerable.Range(0, recipients).Select(
            _ => new List<Standing> { new(QueueState.Ready, 0) })];

        public bool HasEnded => Recipients.All(r => r.TrueForAll(s => s.State.IsEnd()));

        private bool MayHaveEnded => Recipients.All(r => r.Exists(s => s.State.IsEnd()));

        public Relayed Clone()
        {
            Relayed clone = new(key, Recipients.Length) { Seq = Seq, Promise = Promise, TellsOf = TellsOf };
            for (int i = 0; i < Recipients.Length; i++)
            {
                clone.Recipients[i] = [.. Recipients[i]];
            }

            return clone;
        }

        public void Hear(Said said, bool isInDoubt)
        {
            for (int i = 0; i < Recipients.Length; i++)
            {
                if (said.Recipient != QueueChange.AllRecipients && said.Recipient != (uint)i)
                {
                    continue;
                }

                List<Standing> may = Recipients[i];
                bool isOpen = may.Exists(s => !s.State.IsEnd());
                _ = isInDoubt ? 0 : may.RemoveAll(s => !s.State.IsEnd());
                if (isOpen)
                {
                    may.Add(said.Standing);
                }
            }
        }

        /// <summary>Holds what was found against what may be, and settles what was in doubt.</summary>
        public void Judge(List<QueuedRecipient>? found, List<Relayed> all)
        {
            if (Promise == Promise.Absent)
            {
                Demand(found is null, $"message q{key} was never accepted, or lost before, and is to be relayed");
                return;
            }

            if (found is null)
            {
                Demand(Promise == Promise.InDoubt || MayHaveEnded, $"message q{key} was accepted and is lost");
                Promise = Promise == Promise.InDoubt ? Promise.Absent : Promise;
                foreach (List<Standing> recipient in Recipients)
                {
                    _ = recipient.RemoveAll(s => Promise == Promise.Kept && !s.State.IsEnd());
                }
            }
            else
            {
                Demand(found.Count == Recipients.Length, $"message q{key} has {found.Count} recipients");
                Promise = Promise.Kept;
                for (int i = 0; i < found.Count; i++)
                {
                    Standing now = new(found[i].State, found[i].Attempts);
                    Demand(
                        Recipients[i].Contains(now),
                        $"q{key}/{i} is {now}, and may be {string.Join(" or ", Recipients[i])}");
                    Recipients[i].Clear();
                    Recipients[i].Add(now);
                }
            }

            JudgeNotification(all);
        }

        /// <summary>A notification and the end it tells of: both or neither.</summary>
        private void JudgeNotification(List<Relayed> all)
        {
            if (TellsOf is { } said && all[said.Message.Key].Recipients[said.Recipient] is [var standing])
            {
                bool isTold = standing == said.Standing;
                Demand(!isTold || Promise != Promise.Absent, $"q{said.Message.Key} has failed, and q{key} is not there");
                Demand(
                    isTold || Promise == Promise.Absent || standing.State.IsEnd(),
                    $"q{key} tells of the end of q{said.Message.Key}/{said.Recipient}, which is {standing}");
            }
        }
    }

    /// <summary>An append under way. Owned by the clerk; run by the turn.</summary>
    private sealed class Work(PendingAppend append, Relayed? message, List<Said> said, Action giveBack) : ILoopWork
    {
        private AppendOutcome _outcome;

        public SimulatedServer? Server { get; set; }

        public void Run()
        {
            _outcome = append.Outcome;
            if (message is not null && _outcome == AppendOutcome.Durable)
            {
                message.Seq = append.Seq;
            }

            giveBack();
        }

        public void End()
        {
            bool isInDoubt = _outcome is AppendOutcome.Failed or AppendOutcome.Pending;
            if (_outcome != AppendOutcome.Durable && !isInDoubt)
            {
                return; // nothing of it was written
            }

            if (message is not null)
            {
                message.Promise = isInDoubt ? Promise.InDoubt : Promise.Kept;
            }

            said.ForEach(s => s.Message.Hear(s, isInDoubt));
        }

        public override string ToString()
        {
            string changes = string.Join(',', said.Select(s => string.Create(
                CultureInfo.InvariantCulture, $"q{s.Message.Key}/{(int)s.Recipient}={s.State}#{s.Number}")));
            return string.Create(
                CultureInfo.InvariantCulture, $"{(message is null ? "" : $"q{message.Key} ")}{changes}:{_outcome}");
        }
    }
}
