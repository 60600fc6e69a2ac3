using System.Diagnostics;

namespace FastMail.Storage;

/// <summary>
/// The one thread that writes the log. It takes what has queued up while the last group was being flushed, makes it
/// the next group, and hands the completed chain to the observer. The flush is the timer; how much longer it is worth
/// waiting for others, <see cref="JoinWatch"/> says. Owned by the <see cref="MailLog"/>.
/// </summary>
internal sealed class Appender : IDisposable
{
    private const int IdleMilliseconds = 10; // then a bare GROUP proves the last group

    private readonly GroupWriter _writer;
    private readonly Checkpointer? _checkpoints;
    private readonly IMailLogObserver _observer;
    private readonly int _groupBytes;
    private readonly AppendQueue _queue = new();
    private readonly JoinWatch _joining = new();
    private readonly Thread _thread;

    // The appender's own chain: taken from the queue, not yet written.
    private PendingAppend? _first;
    private PendingAppend? _last;

    // The chain of the group: in the order of appending, whatever the outcomes.
    private PendingAppend? _doneFirst;
    private PendingAppend? _doneLast;
    private int _groupRecords; // in that chain
    private readonly TimeProvider _clock;
    private long _pendingBytes;
    private long _busySince; // timestamp; 0: no group is under way
    private volatile bool _hasFailed;

    public Appender(
        GroupWriter writer, Checkpointer? checkpoints, IMailLogObserver observer, int groupBytes, TimeProvider clock)
    {
        _clock = clock;
        _writer = writer;
        _checkpoints = checkpoints;
        _observer = observer;
        _groupBytes = groupBytes;
        _thread = new Thread(Run) { Name = "fastmail appender", IsBackground = true };
    }

    /// <summary>Bytes handed to <see cref="Append"/> and not yet completed.</summary>
    public long PendingBytes => Interlocked.Read(ref _pendingBytes);

    /// <summary>A write or flush failed: nothing will ever be acknowledged again.</summary>
    public bool HasFailed => _hasFailed;

    /// <summary>How long the group under way has been taking; zero when there is none.</summary>
    public TimeSpan GroupAge
    {
        get
        {
            long since = Volatile.Read(ref _busySince);
            return since == 0 ? TimeSpan.Zero : _clock.GetElapsedTime(since);
        }
    }

    public void Start()
    {
        _thread.Start();
    }

    public void Append(PendingAppend append)
    {
        if (!append.IsReady)
        {
            throw new InvalidOperationException("a record is sealed before it is appended, and appended once");
        }

        long bytes = append.Bytes; // after the push it is no longer ours to look at
        append.Enqueued();
        _ = Interlocked.Add(ref _pendingBytes, bytes);
        if (!_queue.TryPush(append))
        {
            _ = Interlocked.Add(ref _pendingBytes, -bytes);
            throw new ObjectDisposedException(nameof(MailLog));
        }
    }

    /// <summary>Writes what is queued, proves it, and ends the thread.</summary>
    public void Dispose()
    {
        _queue.Close();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _queue.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            bool mayProve = _writer.NeedsProof && !_hasFailed;
            AppendWait state = _queue.Wait(mayProve ? IdleMilliseconds : Timeout.Infinite);
            if (state == AppendWait.HasWork)
            {
                WriteGroups();
            }
            else if (state == AppendWait.Closed)
            {
                break;
            }
            else if (mayProve)
            {
                Check(_writer.Prove(isClean: false), "the durability proof");
            }
        }

        if (!_hasFailed)
        {
            Check(_writer.Prove(isClean: true), "the closing proof");
        }
    }

    private void WriteGroups()
    {
        do
        {
            Volatile.Write(ref _busySince, _clock.GetTimestamp());
            Gather();
            if (_writer.HasRecords && !_hasFailed)
            {
                if (Check(_writer.Commit(), "a group of records"))
                {
                    _checkpoints?.GroupWritten(_writer.GroupEndLsn);
                }
            }

            Volatile.Write(ref _busySince, 0);
            Complete();
        }
        while (_first is not null);
    }

    /// <summary>
    /// Makes the next group. While it may be worth it the processor is given away for others to join, and what has come is
    /// written meanwhile.
    /// </summary>
    private void Gather()
    {
        _queue.MoveTo(ref _first, ref _last);
        TakeGroup();
        bool isWorthIt = _joining.Begin(_groupRecords, Stopwatch.GetTimestamp());
        while (isWorthIt && _first is null && !_hasFailed)
        {
            if (_writer.HasRecords && !Check(_writer.WriteAhead(), "a part of a group"))
            {
                return;
            }

            _ = Thread.Yield();
            if (_queue.Count > 0)
            {
                _queue.MoveTo(ref _first, ref _last);
                TakeGroup();
            }

            isWorthIt = _joining.Looked(_groupRecords, Stopwatch.GetTimestamp());
        }
    }

    /// <summary>Moves records from the backlog into the next group until it is full or its segment is.</summary>
    private void TakeGroup()
    {
        while (_first is { } record && !_hasFailed)
        {
            if (record.IsWithdrawn && record.Outcome == AppendOutcome.Pending)
            {
                record.Outcome = AppendOutcome.Withdrawn;
            }

            if (record.Outcome != AppendOutcome.Pending)
            {
                MoveToDone(record); // refused on its way here; only its outcome is to be told
                continue;
            }

            if (_writer.HasRecords && _writer.RecordBytes + record.Bytes > _groupBytes)
            {
                return; // large mail must not hold up small mail
            }

            bool fits = _writer.HasRoomFor(record) && !(record.EndsSegment && _writer.HasContent);
            if (fits)
            {
                if (record.TryTake()) // else it was withdrawn this very moment: look again
                {
                    MoveToDone(record);
                    Check(_writer.Add(record), "a removal, whose maildrop cannot be read,");
                }
            }
            else if (_writer.HasRecords)
            {
                return; // a group never spans segments
            }
            else if (Check(_writer.Roll(record, out bool hasSpace), "the next segment") && !hasSpace)
            {
                record.Outcome = AppendOutcome.NoSpace;
                MoveToDone(record);
                if (record.IsUnwinding)
                {
                    _observer.Noticed("no room to take a message out again that was answered 451: it may come twice");
                }
            }
        }
    }

    private void MoveToDone(PendingAppend record)
    {
        _first = record.Next;
        _last = _first is null ? null : _last;
        record.Next = null;
        if (_doneLast is null)
        {
            _doneFirst = record;
        }
        else
        {
            _doneLast.Next = record;
        }

        _doneLast = record;
        _groupRecords++;
    }

    /// <summary>Gives the chain its outcomes and hands it over. From here on its elements are the observer's.</summary>
    private void Complete()
    {
        if (_hasFailed)
        {
            while (_first is { } rest)
            {
                MoveToDone(rest);
            }
        }

        long bytes = 0;
        _joining.Answered(_groupRecords, _queue.Count);
        _groupRecords = 0;
        for (PendingAppend? done = _doneFirst; done is not null; done = done.Next)
        {
            bytes += done.Bytes;
            bool isUnwanted = done.Settle();
            if (done.Outcome == AppendOutcome.Pending)
            {
                done.Outcome = _hasFailed ? AppendOutcome.Failed : AppendOutcome.Durable;
                if (isUnwanted && !_hasFailed && done is PendingMessage message)
                {
                    Unwind(message);
                }
            }
        }

        _ = Interlocked.Add(ref _pendingBytes, -bytes);
        PendingAppend? first = TakeDone();
        if (first is not null)
        {
            _observer.GroupCompleted(first);
        }
    }

    /// <summary>The chain without the log's own records, whose owners are told here.</summary>
    private PendingAppend? TakeDone()
    {
        PendingAppend? first = null;
        PendingAppend? last = null;
        for (PendingAppend? done = _doneFirst; done is not null;)
        {
            PendingAppend? next = done.Next;
            if (done.IsOwn)
            {
                done.Ended();
            }
            else
            {
                first ??= done;
                if (last is not null)
                {
                    last.Next = done;
                }

                last = done;
                done.Next = null;
            }

            done = next;
        }

        _doneFirst = null;
        _doneLast = null;
        return first;
    }

    /// <summary>
    /// Its client was told 451 and will send it again: records in the very next group take it out. If the process
    /// ends before that is durable, the message stays, and the client's next attempt makes it two.
    /// </summary>
    private void Unwind(PendingMessage message)
    {
        message.Outcome = AppendOutcome.Withdrawn;
        foreach (PendingAppend removal in message.Unwinding())
        {
            _ = Interlocked.Add(ref _pendingBytes, removal.Bytes);
            removal.Next = _first;
            _first = removal;
            _last ??= removal;
        }
    }

    /// <summary>
    /// The first failure is the last: the page cache may drop what it could not write and call it clean, so a second
    /// flush that succeeds proves nothing.
    /// </summary>
    private bool Check(int errno, string what)
    {
        if (errno == 0)
        {
            return true;
        }

        _hasFailed = true;
        _observer.Failed(errno, $"writing {what}: {Errno.Text(errno)}");
        return false;
    }
}
