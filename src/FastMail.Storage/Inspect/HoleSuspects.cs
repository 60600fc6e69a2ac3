using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Messages whose bodies look punched out: no damage if by the end of the log all their recipients have removed them, and
/// they wait to be relayed to nobody.
/// Owned by one <see cref="LogInspector.Read"/>.
/// </summary>
internal sealed class HoleSuspects
{
    private readonly List<Suspect> _suspects = [];
    private readonly Dictionary<ulong, List<(ulong Uid, Suspect Suspect)>> _byMailbox = [];

    private readonly QueueFold<Suspect> _queue = new();
    private readonly List<Suspect> _relayed = [];

    public void Add(LogRecord record, LogProblem problem)
    {
        Suspect suspect = new(problem);
        List<LogRecipient> recipients = record.ReadRecipients();
        int relayed = recipients.Count(static r => r.MailboxId is null);
        if (relayed > 0)
        {
            suspect.References++;
            _ = _queue.Enter(record.Seq, relayed, suspect);
        }

        foreach (LogRecipient recipient in recipients)
        {
            suspect.References += recipient.MailboxId is null ? 0 : 1;
            if (recipient is { MailboxId: { } mailboxId, Uid: { } uid })
            {
                ref List<(ulong, Suspect)>? held =
                    ref CollectionsMarshal.GetValueRefOrAddDefault(_byMailbox, mailboxId, out _);
                (held ??= []).Add((uid, suspect));
            }
        }

        _suspects.Add(suspect);
    }

    /// <summary>A later removal may clear some of them.</summary>
    public void Note(LogFinding finding)
    {
        if (_suspects.Count == 0 || finding is not LogRecord record)
        {
            return;
        }

        _relayed.Clear();
        _queue.Note(record, _relayed);
        _relayed.ForEach(static s => s.References--);
        List<UidRange> ranges = [];
        if (record.Type != RecordType.Expunge || !record.TryReadExpunge(out ulong mailboxId, out _, ranges)
            || !_byMailbox.TryGetValue(mailboxId, out List<(ulong Uid, Suspect Suspect)>? held))
        {
            return;
        }

        _ = held.RemoveAll(h =>
        {
            bool isRemoved = ranges.Exists(r => h.Uid >= r.First && h.Uid - r.First < r.Count);
            h.Suspect.References -= isRemoved ? 1 : 0;
            return isRemoved;
        });
    }

    /// <summary>Those that somebody still needs.</summary>
    public IEnumerable<LogProblem> Guilty()
    {
        return _suspects.Where(static s => s.References > 0).Select(static s => s.Problem);
    }

    private sealed class Suspect(LogProblem problem)
    {
        public LogProblem Problem => problem;

        public int References { get; set; }
    }
}
