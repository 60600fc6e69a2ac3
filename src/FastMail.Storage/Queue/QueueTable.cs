using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// The messages that wait to be relayed, and where each of their recipients stands: a fold over the log, like the
/// maildrops. Owned by the <see cref="MaildropTable"/> and guarded by its gate; changed by the appender alone (by the
/// opening thread before that starts). A message is one reference to its record, however many recipients it has, and
/// leaves when the last of them has ended.
/// </summary>
/// <remarks>
/// The fold comes to the same whatever of the log is left, wherever compaction has repeated a change: of two ends the one
/// that was first written earlier counts, an end before everything else, and of two other changes the later one.
/// </remarks>
internal sealed class QueueTable(SegmentList segments, Liveness liveness, BodyTable bodies)
{
    private const int MostSpares = 16; // pages kept, so that mail that comes and goes allocates nothing

    private readonly List<QueuePage> _pages = [];
    private readonly Stack<QueuePage> _spares = new();
    private readonly Dictionary<(ulong Seq, uint Recipient), byte[]> _paths = [];

    /// <summary>Messages with a recipient that has not ended.</summary>
    public int Messages { get; private set; }

    /// <summary>Recipients that have not ended.</summary>
    public int Recipients { get; private set; }

    /// <summary>Changes so far.</summary>
    public long Changes { get; private set; }

    /// <summary>Enters a message; false when it is known already, and nothing changed.</summary>
    public bool TryEnter(in RecordHeader header, int recipients)
    {
        int number = PageOf(header.Seq);
        int at = number < 0 ? -1 : _pages[number].Find(header.Seq);
        if (at >= 0)
        {
            return false;
        }

        QueuePage page = PageFor(ref number, ref at, recipients);
        page.Insert(at, new QueuedRecord(header, recipients));
        Messages++;
        Recipients += recipients;
        Changes++;
        return true;
    }

    /// <summary>The record's message is in the queue, and this is where it counts.</summary>
    public bool Holds(ulong seq, ulong lsn)
    {
        return LsnOf(seq) == lsn;
    }

    /// <summary>Where the record of a message is; null when it is not in the queue.</summary>
    public ulong? LsnOf(ulong seq)
    {
        return TryFind(seq, out QueuedRecord message, out _) ? message.Lsn : null;
    }

    /// <summary>A message with its recipients; these are valid as long as the gate is held.</summary>
    public bool TryFind(ulong seq, out QueuedRecord message, out ReadOnlySpan<RecipientRecord> recipients)
    {
        int number = PageOf(seq);
        int at = number < 0 ? -1 : _pages[number].Find(seq);
        message = at < 0 ? default : _pages[number].Messages[at];
        recipients = at < 0 ? default : _pages[number].RecipientsOf(at);
        return at >= 0;
    }

    /// <summary>The first message of at least that number.</summary>
    public bool TryFindNext(ulong seq, out QueuedRecord message, out ReadOnlySpan<RecipientRecord> recipients)
    {
        int number = Math.Max(0, PageOf(seq));
        int at = number == _pages.Count ? 0 : _pages[number].Find(seq);
        at = at < 0 ? ~at : at;
        if (number < _pages.Count && at == _pages[number].Count)
        {
            number++;
            at = 0;
        }

        bool isFound = number < _pages.Count;
        message = isFound ? _pages[number].Messages[at] : default;
        recipients = isFound ? _pages[number].RecipientsOf(at) : default;
        return isFound;
    }

    /// <summary>Where a redirected recipient goes; empty for all others.</summary>
    public byte[] PathOf(ulong seq, uint recipient)
    {
        return _paths.TryGetValue((seq, recipient), out byte[]? path) ? path : [];
    }

    /// <summary>The record has another address from now on; false when the message is not in the queue there.</summary>
    public bool TryMove(ulong seq, ulong from, ulong to)
    {
        if (!Holds(seq, from))
        {
            return false;
        }

        Change(seq).Lsn = to;
        Changes++;
        return true;
    }

    /// <summary>
    /// A change of that message is about to be written: answers where the one before stands, 0 when there is none, and
    /// in which cold segments copies of the message lie or will lie.
    /// </summary>
    /// <returns>False when the message is not in the queue: then the change will say nothing.</returns>
    public bool TryLink(ulong seq, ulong lsn, MoveUnderWay? moving, out ulong previous, out ColdRange cold)
    {
        cold = default;
        previous = 0;
        if (!TryFind(seq, out QueuedRecord message, out _))
        {
            return false;
        }

        previous = message.LastChange;
        Change(seq).LastChange = lsn; // also if the group fails: then the log ends with it
        if (message.Lsn >= SegmentList.ColdLsn)
        {
            cold = cold.With(segments.Find(message.Lsn)?.BaseLsn ?? message.Lsn);
        }

        cold = moving is not null && moving.Includes(message.Lsn) ? cold.With(moving.ColdLsn) : cold;
        return true;
    }

    /// <summary>Folds in a change that stands in the record at that address.</summary>
    public void Apply(in StoredChange change, ulong lsn)
    {
        Changes++;
        if (!change.Cold.IsEmpty && segments.Find(lsn) is { } segment)
        {
            segment.Life.HasAimed = true;
        }

        if (!TryFind(change.Seq, out QueuedRecord found, out _))
        {
            return; // all of it has ended
        }

        ref QueuedRecord message = ref Change(change.Seq, out Span<RecipientRecord> recipients);
        message.LastChange = Math.Max(message.LastChange, lsn);
        uint first = change.Recipient == QueueChange.AllRecipients ? 0 : change.Recipient;
        uint end = change.Recipient == QueueChange.AllRecipients ? (uint)found.Count : first + 1;
        for (uint i = first; i < Math.Min(end, (uint)found.Count); i++)
        {
            if (Apply(change, lsn, i, ref recipients[(int)i]))
            {
                message.Open--;
                Recipients--;
            }
        }

        if (message.Open == 0)
        {
            Leave(message, recipients);
        }
    }

    /// <summary>Addresses and lengths of all messages' records.</summary>
    public IEnumerable<(ulong Lsn, long Bytes)> ReadRecords()
    {
        return _pages.SelectMany(static p => p.Messages.Take(p.Count)).Select(m => (m.Lsn, RecordBytesOf(m)));
    }

    /// <summary>What a checkpoint needs, without a copy: the pages do not change any more.</summary>
    public QueueCapture Capture()
    {
        foreach (QueuePage page in _pages)
        {
            page.IsCaptured = true;
        }

        return new QueueCapture([.. _pages], Messages, [.. _paths]);
    }

    /// <summary>Begins with what a checkpoint says. Opening thread, first of all.</summary>
    public void Load(QueueCapture queue)
    {
        _pages.AddRange(queue.Pages);
        Messages = queue.Messages;
        foreach (QueuePage page in queue.Pages)
        {
            foreach (ref readonly QueuedRecord message in page.Messages.AsSpan(0, page.Count))
            {
                Recipients += message.Open;
            }
        }

        foreach ((var recipient, byte[] path) in queue.Paths)
        {
            _paths.Add(recipient, path);
        }
    }

    /// <summary>True when the recipient ended with it.</summary>
    private bool Apply(in StoredChange change, ulong lsn, uint index, ref RecipientRecord recipient)
    {
        ulong origin = change.Origin != 0 ? change.Origin : lsn;
        bool isEnd = change.State.IsEnd();
        bool hasEnded = recipient.State.IsEnd();
        if (hasEnded && origin == recipient.Origin)
        {
            recipient.Place = lsn; // it is repeated there, or changed once more in the very record of its end
            if (change.Origin != 0)
            {
                SetPath(change, index, ref recipient);
            }

            return false;
        }

        if (hasEnded ? !isEnd || origin > recipient.Origin : !isEnd && origin < recipient.Origin)
        {
            if (!hasEnded && !change.ForwardPath.IsEmpty && (recipient.Flags & RecipientRecord.Redirected) == 0)
            {
                // The newer change was written beside the repetition, names no path and took it for known.
                SetPath(change, index, ref recipient);
            }

            return false; // the first end stands; and what is repeated behind something newer is old
        }

        recipient = new RecipientRecord
        {
            Origin = origin,
            Place = lsn,
            DueMicros = change.DueMicros,
            Attempts = change.Attempts,
            State = change.State,
            Flags = (byte)((change.IsDelayTold ? RecipientRecord.DelayTold : 0)
                | (recipient.Flags & RecipientRecord.Redirected)),
        };
        SetPath(change, index, ref recipient);
        return isEnd && !hasEnded;
    }

    /// <summary>
    /// A change that names no forward-path leaves the one that was named before; what is repeated says all that is known,
    /// and may stand behind something that was said to others only after this recipient had ended.
    /// </summary>
    private void SetPath(in StoredChange change, uint index, ref RecipientRecord recipient)
    {
        if (!change.ForwardPath.IsEmpty)
        {
            _paths[(change.Seq, index)] = change.ForwardPath.ToArray();
            recipient.Flags |= RecipientRecord.Redirected;
        }
        else if (change.Origin != 0 && _paths.Remove((change.Seq, index)))
        {
            recipient.Flags &= unchecked((byte)~RecipientRecord.Redirected);
        }
    }

    private long RecordBytesOf(in QueuedRecord message)
    {
        return bodies.Contains(message.Lsn) ? MaildropEntry.BodilessBytes : message.Bytes;
    }

    private void Leave(in QueuedRecord message, Span<RecipientRecord> recipients)
    {
        for (int i = 0; i < recipients.Length; i++)
        {
            if ((recipients[i].Flags & RecipientRecord.Redirected) != 0)
            {
                _ = _paths.Remove((message.Seq, (uint)i));
            }
        }

        liveness.Release(message.Lsn, RecordBytesOf(message), message.IsLarge);
        bodies.Release(message.Lsn);
        Messages--;
        int number = PageOf(message.Seq);
        QueuePage page = _pages[number];
        page.Remove(page.Find(message.Seq));
        if (page.Count == 0)
        {
            Drop(number);
        }
        else if (page.Count < QueuePage.Capacity / 2)
        {
            Join(number);
        }
    }

    /// <summary>Any two neighbours would not fit into one page: so pages are half full at least.</summary>
    private void Join(int number)
    {
        int left = number > 0 && _pages[number - 1].Count + _pages[number].Count <= QueuePage.Capacity
            ? number - 1
            : number;
        if (left + 1 < _pages.Count && _pages[left].Count + _pages[left + 1].Count <= QueuePage.Capacity)
        {
            Own(left).Take(_pages[left + 1], 0);
            Drop(left + 1);
        }
    }

    private void Drop(int number)
    {
        QueuePage page = _pages[number];
        _pages.RemoveAt(number);
        if (!page.IsCaptured && _spares.Count < MostSpares && page.Recipients.Length <= 4 * QueuePage.Capacity)
        {
            page.Truncate(0);
            _spares.Push(page);
        }
    }

    private QueuePage NewPage(int recipients)
    {
        return _spares.TryPop(out QueuePage? page) ? page : new QueuePage(Math.Max(QueuePage.Capacity, recipients));
    }

    private ref QueuedRecord Change(ulong seq)
    {
        return ref Change(seq, out _);
    }

    /// <summary>A message that is in the queue, to be changed.</summary>
    private ref QueuedRecord Change(ulong seq, out Span<RecipientRecord> recipients)
    {
        QueuePage page = Own(PageOf(seq));
        int at = page.Find(seq);
        recipients = page.RecipientsOf(at);
        return ref page.Messages[at];
    }

    private QueuePage Own(int number)
    {
        QueuePage page = _pages[number];
        return page.IsCaptured ? _pages[number] = page.Clone() : page;
    }

    /// <summary>The page in which that number is or would be; -1 when it is below all or there is none.</summary>
    private int PageOf(ulong seq)
    {
        if (_pages.Count > 0 && seq >= _pages[^1].FirstSeq)
        {
            return _pages.Count - 1; // what has just come is changed most
        }

        int low = 0;
        int high = _pages.Count - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            (low, high) = _pages[middle].FirstSeq <= seq ? (middle + 1, high) : (low, middle - 1);
        }

        return high;
    }

    /// <summary>The page, and the place in it, for a new message; splits one if need be.</summary>
    private QueuePage PageFor(ref int number, ref int at, int recipients)
    {
        number = Math.Max(0, number);
        at = ~at;
        if (_pages.Count == 0)
        {
            _pages.Add(NewPage(recipients));
            at = 0;
        }

        if (_pages[number].Count < QueuePage.Capacity)
        {
            return Own(number);
        }

        if (at == QueuePage.Capacity)
        {
            number++;
            at = 0;
            _pages.Insert(number, NewPage(recipients)); // mail comes in the order of its numbers: the page stays full
            return _pages[number];
        }

        QueuePage right = NewPage(recipients);
        QueuePage left = Own(number);
        right.Take(left, QueuePage.Capacity / 2);
        left.Truncate(QueuePage.Capacity / 2);
        _pages.Insert(number + 1, right);
        if (at > left.Count)
        {
            at -= left.Count;
            number++;
            return right;
        }

        return left;
    }
}

/// <summary>The queue at the moment of a checkpoint. Immutable.</summary>
internal sealed record QueueCapture(
    QueuePage[] Pages, int Messages, KeyValuePair<(ulong Seq, uint Recipient), byte[]>[] Paths);
