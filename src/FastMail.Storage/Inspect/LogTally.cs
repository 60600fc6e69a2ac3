namespace FastMail.Storage;

/// <summary>
/// Adds up an inspected log: records by type, and which messages are still in a maildrop. Owned by its caller; one
/// thread at a time.
/// </summary>
public sealed class LogTally
{
    private static readonly Comparer<Held> ByUid = Comparer<Held>.Create((a, b) => a.Uid.CompareTo(b.Uid));

    private readonly SortedDictionary<RecordType, LogCount> _types = [];
    private readonly Dictionary<ulong, List<Held>> _maildrops = [];
    private readonly List<Counted> _messages = [];
    private readonly QueueFold<int> _queue = new(); // by the message's index
    private readonly List<int> _relayed = [];

    /// <summary>All records.</summary>
    public LogCount Records { get; private set; }

    /// <summary>Records by type, in the order of the types' numbers.</summary>
    public IReadOnlyDictionary<RecordType, LogCount> Types => _types;

    /// <summary>Messages that a maildrop holds or that are to be relayed.</summary>
    public LogCount Live => Count(isLive: true);

    /// <summary>Messages that are to be relayed to somebody.</summary>
    public int QueuedMessages => _queue.Messages;

    /// <summary>Recipients to whom they are still to be relayed.</summary>
    public int QueuedRecipients => _queue.Recipients;

    /// <summary>Messages that are in no maildrop any more, nor to be relayed.</summary>
    public LogCount Dead => Count(isLive: false);

    /// <summary>Messages of each segment file, by its path; a file that has none is left out.</summary>
    public IReadOnlyDictionary<string, SegmentCount> BySegment
    {
        get
        {
            Dictionary<string, SegmentCount> segments = new(StringComparer.Ordinal);
            foreach (Counted message in _messages)
            {
                SegmentCount count = segments.GetValueOrDefault(message.Path);
                segments[message.Path] = message.References > 0
                    ? count with { Live = count.Live.With(message.Bytes) }
                    : count with { Dead = count.Dead.With(message.Bytes) };
            }

            return segments;
        }
    }

    /// <summary>Mailboxes that ever had a message.</summary>
    public int Mailboxes => _maildrops.Count;

    /// <summary>Mailboxes that have a message now.</summary>
    public int FilledMailboxes => _maildrops.Values.Count(held => held.Exists(h => h.Message >= 0));

    /// <summary>Number of the first record; 0 when there is none.</summary>
    public ulong FirstSeq { get; private set; }

    /// <summary>Number of the last record.</summary>
    public ulong LastSeq { get; private set; }

    /// <summary>Address of the first record.</summary>
    public ulong FirstLsn { get; private set; }

    /// <summary>Address behind the last record.</summary>
    public ulong EndLsn { get; private set; }

    /// <summary>The last record says that the log was closed in order.</summary>
    public bool IsClean { get; private set; }

    /// <summary>Problems that are damage.</summary>
    public int Damages { get; private set; }

    /// <summary>Records that are known to be missing.</summary>
    public ulong MissingRecords { get; private set; }

    /// <summary>Octets of the torn tail; 0 when there is none.</summary>
    public long TornBytes { get; private set; }

    /// <summary>Takes the next finding of an inspection from its start.</summary>
    public void Add(LogFinding finding)
    {
        if (finding is LogRecord record)
        {
            AddRecord(record);
        }
        else if (finding is LogProblem problem)
        {
            Damages += problem.IsDamage ? 1 : 0;
            MissingRecords += problem.MissingRecords;
            TornBytes += problem.Kind == LogProblemKind.TornTail ? problem.Bytes : 0;
        }
    }

    private void AddRecord(LogRecord record)
    {
        if (record.Lsn < SegmentList.ColdLsn)
        {
            FirstLsn = FirstSeq == 0 ? record.Lsn : FirstLsn;
            FirstSeq = FirstSeq == 0 ? record.Seq : FirstSeq;
            LastSeq = record.Seq;
            EndLsn = record.Lsn + (ulong)record.Bytes;
            IsClean = record.IsCleanEnd;
        }

        Records = Records.With(record.Bytes);
        _types[record.Type] = _types.GetValueOrDefault(record.Type).With(record.Bytes);
        if (record.Type == RecordType.Message)
        {
            AddMessage(record);
        }
        else if (record.Type == RecordType.Expunge)
        {
            Remove(record);
        }

        _relayed.Clear();
        _queue.Note(record, _relayed);
        foreach (int message in _relayed)
        {
            // A copy and its original wait as one, and the first one found has the reference.
            Counted counted = _messages[message];
            _messages[message] = counted with { References = counted.References - (counted.IsQueued ? 1 : 0) };
        }
    }

    private void AddMessage(LogRecord record)
    {
        List<LogRecipient> recipients = record.ReadRecipients();
        int relayed = recipients.Count(static r => r.MailboxId is null);
        bool isQueued = relayed > 0 && _queue.Enter(record.Seq, relayed, _messages.Count);
        int references = recipients.Count - relayed + (isQueued ? 1 : 0);
        foreach (LogRecipient recipient in recipients)
        {
            if (recipient is { MailboxId: { } mailboxId, Uid: { } uid })
            {
                if (!_maildrops.TryGetValue(mailboxId, out List<Held>? held))
                {
                    _maildrops.Add(mailboxId, held = []);
                }

                references -= TryHold(held, new Held(uid, _messages.Count)) ? 0 : 1;
            }
        }

        _messages.Add(new Counted(references, record.Bytes, record.Path, isQueued));
    }

    /// <summary>False when the maildrop has the message from a cold segment: then this is the original.</summary>
    private static bool TryHold(List<Held> held, in Held entry)
    {
        if (held.Count == 0 || held[^1].Uid < entry.Uid)
        {
            held.Add(entry);
            return true;
        }

        int at = held.BinarySearch(entry, ByUid);
        if (at < 0)
        {
            held.Insert(~at, entry);
        }

        return at < 0;
    }

    private void Remove(LogRecord record)
    {
        List<UidRange> ranges = [];
        if (!record.TryReadExpunge(out ulong mailboxId, out _, ranges)
            || !_maildrops.TryGetValue(mailboxId, out List<Held>? held))
        {
            return;
        }

        foreach (UidRange range in ranges)
        {
            int at = held.BinarySearch(new Held(range.First, 0), ByUid);
            for (at = at < 0 ? ~at : at; at < held.Count && held[at].Uid - range.First < range.Count; at++)
            {
                if (held[at].Message >= 0)
                {
                    Counted message = _messages[held[at].Message];
                    _messages[held[at].Message] = message with { References = message.References - 1 };
                    held[at] = held[at] with { Message = -1 };
                }
            }
        }
    }

    private LogCount Count(bool isLive)
    {
        LogCount count = default;
        foreach (Counted message in _messages)
        {
            count = message.References > 0 == isLive ? count.With(message.Bytes) : count;
        }

        return count;
    }

    /// <summary>A maildrop's entry: the message's index, -1 once it is removed. A value.</summary>
    private readonly record struct Held(ulong Uid, int Message);

    /// <summary>A message and in how many places it still is. A value.</summary>
    private readonly record struct Counted(int References, long Bytes, string Path, bool IsQueued);
}

/// <summary>The messages of one segment file. A value.</summary>
/// <param name="Live">Those that a maildrop holds, or that are to be relayed.</param>
/// <param name="Dead">Those that are in no maildrop any more, or have a copy in a cold segment that counts.</param>
public readonly record struct SegmentCount(LogCount Live, LogCount Dead);

/// <summary>How many, and how long together. A value.</summary>
/// <param name="Number">How many records.</param>
/// <param name="Bytes">Octets of the records.</param>
public readonly record struct LogCount(long Number, long Bytes)
{
    internal LogCount With(long bytes)
    {
        return new LogCount(Number + 1, Bytes + bytes);
    }
}
