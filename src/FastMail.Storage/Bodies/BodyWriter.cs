namespace FastMail.Storage;

/// <summary>
/// The one thread that writes body files: what their producers filled in, a bounded piece of each body in turn; at the
/// end a checked flush and the file's name; and only then the message goes to the appender. It removes files as well,
/// which may take the file system long. Owned by the <see cref="LogParts"/>; any thread may ask.
/// </summary>
internal sealed class BodyWriter : IDisposable
{
    private const int LookAgainMilliseconds = 1000;
    private const int PieceBytes = 1024 * 1024;
    private const long ReserveBytes = 16 * 1024 * 1024; // set aside at a time: long extents, and a full disk shows early

    // Small, so that the appender's flushes do not queue behind a gigabyte.
    private const long FlushBytes = 8 * 1024 * 1024;

    private readonly BodyFiles _files;
    private readonly ChunkPool _chunks;
    private readonly Appender _appender;
    private readonly Func<int> _declareFormat;
    private readonly SegmentHolds _holds;
    private readonly IMailLogObserver _observer;
    private readonly int _mostBodies;
    private readonly long _spareBytes;
    private readonly Lock _gate = new();
    private readonly Queue<PendingBody> _bodies = new();
    private readonly Queue<ulong> _removals = new();
    private readonly AutoResetEvent _bell = new(false);
    private readonly Thread _thread;
    private readonly HashSet<PendingBody> _open = []; // of the thread: files that have no end yet
    private readonly List<FilledChunk> _pieces = [];
    private readonly VectorList _vectors = new();
    private readonly List<ulong> _held = []; // of the thread: to be removed when nobody holds the log
    private int _slots;
    private bool _isClosed;
    private bool _isIdle;

    /// <param name="files">Where.</param>
    /// <param name="chunks">The pool that messages use.</param>
    /// <param name="appender">Gets the messages whose bodies are durable.</param>
    /// <param name="declareFormat">
    /// Called before the first body of a run is named by a record; answers an errno.
    /// </param>
    /// <param name="holds">While somebody holds the log as it is, nothing that it names is removed.</param>
    /// <param name="observer">Hears of what goes wrong.</param>
    /// <param name="options">Limits.</param>
    public BodyWriter(
        BodyFiles files, ChunkPool chunks, Appender appender, Func<int> declareFormat, SegmentHolds holds,
        IMailLogObserver observer, MailLogOptions options)
    {
        _files = files;
        _chunks = chunks;
        _appender = appender;
        _declareFormat = declareFormat;
        _holds = holds;
        _observer = observer;
        _mostBodies = options.MaxBodiesInFlight;
        _spareBytes = options.FirstSegmentBytes;
        _thread = new Thread(Run) { Name = "fastmail bodies", IsBackground = true };
    }

    /// <summary>One more body may begin now.</summary>
    public bool HasSlot => Volatile.Read(ref _slots) < _mostBodies;

    /// <summary>Nothing is left to be done; tests go on only then.</summary>
    public bool IsIdle
    {
        get
        {
            lock (_gate)
            {
                return _isIdle && _bodies.Count == 0 && _removals.Count == 0;
            }
        }
    }

    public void Start()
    {
        _thread.Start();
    }

    /// <summary>A new body; refused from the beginning, which its end will tell, when too many are under way.</summary>
    public PendingBody Begin()
    {
        bool hasSlot = Interlocked.Increment(ref _slots) <= _mostBodies;
        if (!hasSlot)
        {
            _ = Interlocked.Decrement(ref _slots);
        }

        return new PendingBody(this, _chunks, _files.NextId(), isRefused: !hasSlot) { HasSlot = hasSlot };
    }

    /// <summary>That body has something to do. Called under its gate.</summary>
    public void Wake(PendingBody body)
    {
        lock (_gate)
        {
            _bodies.Enqueue(body);
        }

        _ = _bell.Set();
    }

    /// <summary>
    /// These files are named by no message any more, and that is durable. The appender outlives this thread: what its
    /// last groups let go of is removed by the next start.
    /// </summary>
    public void Remove(List<ulong> ids)
    {
        lock (_gate)
        {
            if (_isClosed)
            {
                return;
            }

            foreach (ulong id in ids)
            {
                _removals.Enqueue(id);
            }

            _ = _bell.Set(); // under the lock: behind it the bell may be gone
        }
    }

    /// <summary>
    /// Finishes what was handed over, removes what never will be, and ends the thread. The appender is still there.
    /// </summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isClosed = true;
        }

        _ = _bell.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _bell.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            PendingBody? body;
            ulong removal = 0;
            bool isClosed;
            lock (_gate)
            {
                // Bodies first: somebody waits for them.
                if (!_bodies.TryDequeue(out body))
                {
                    _ = _removals.TryDequeue(out removal);
                }

                isClosed = _isClosed;
                _isIdle = body is null && removal == 0;
            }

            if (body is not null)
            {
                Step(body);
            }
            else if (removal != 0)
            {
                RemoveUnlessHeld(removal);
            }
            else if (isClosed)
            {
                break;
            }
            else if (!_bell.WaitOne(_held.Count > 0 ? LookAgainMilliseconds : Timeout.Infinite))
            {
                Remove(_held);
                _held.Clear();
            }
        }

        foreach (PendingBody body in _open.ToArray())
        {
            Drop(body);
        }
    }

    private void Step(PendingBody body)
    {
        switch (body.Take(_pieces, PieceBytes))
        {
            case BodyStep.Write:
                int errno = Write(body);
                if (errno != 0)
                {
                    Tell(body, errno);
                    Drop(body);
                }

                body.Wrote(_pieces, errno);
                _pieces.Clear();
                Wake(body); // behind the others; there it turns out whether more has come
                break;
            case BodyStep.Finish:
                Finish(body);
                break;
            case BodyStep.Abandon:
                Drop(body);
                body.Over();
                break;
            default:
                break;
        }
    }

    private int Write(PendingBody body)
    {
        int errno = body.File is null ? Open(body) : 0;
        _vectors.Clear();
        long bytes = 0;
        foreach (FilledChunk piece in _pieces)
        {
            _vectors.Add(piece.Chunk, 0, piece.Length);
            bytes += piece.Length;
        }

        errno = errno != 0 ? errno : Reserve(body, body.Written + bytes);
        errno = errno != 0 ? errno : body.File!.WriteAll(_vectors.All, body.Written);
        body.Written += bytes;
        body.Unflushed += bytes;
        if (errno == 0 && body.Unflushed >= FlushBytes)
        {
            body.Unflushed = 0;
            errno = body.File!.Flush();
        }

        return errno;
    }

    private int Open(PendingBody body)
    {
        int errno = _files.Disk.Open(_files.TemporaryPathOf(body.Id), FileUse.CreateNew, out IDiskFile? file);
        body.File = file;
        if (errno == 0)
        {
            body.Path = _files.TemporaryPathOf(body.Id);
            _ = _open.Add(body);
        }

        return errno;
    }

    /// <summary>Leaves the log the room for its next segment: without it not even a removal could be written.</summary>
    private int Reserve(PendingBody body, long end)
    {
        if (end <= body.Reserved)
        {
            return 0;
        }

        int errno = _files.Disk.FreeBytes(_files.DirectoryPath, out long free);
        errno = errno == 0 && free < ReserveBytes + _spareBytes ? Errno.NoSpace : errno;
        errno = errno != 0 ? errno : body.File!.Reserve(body.Reserved, ReserveBytes);
        body.Reserved += ReserveBytes;
        return errno;
    }

    /// <summary>Content, then name, then the record: in this order, or a record could name what is not there.</summary>
    private void Finish(PendingBody body)
    {
        int errno = body.Error;
        if (errno == 0)
        {
            errno = body.File!.Truncate(body.Written);
            errno = errno != 0 ? errno : body.File.Flush();
            errno = errno != 0 ? errno : Name(body);
            errno = errno != 0 ? errno : _files.Disk.SyncDirectory(_files.DirectoryPath);
            errno = errno != 0 ? errno : _declareFormat();
            if (errno == 0)
            {
                Close(body);
            }
            else
            {
                Tell(body, errno);
                Drop(body);
            }
        }

        ReleaseSlot(body);
        PendingMessage message = body.TakeFinished(errno);
        message.Outcome = errno switch
        {
            0 => AppendOutcome.Pending,
            Errno.NoSpace => AppendOutcome.NoSpace,
            _ => AppendOutcome.BodyFailed,
        };
        _appender.Append(message);
    }

    /// <summary>From here on the file is whole, and a backup may take it.</summary>
    private int Name(PendingBody body)
    {
        int errno = _files.Disk.Rename(body.Path!, _files.PathOf(body.Id));
        body.Path = errno == 0 ? _files.PathOf(body.Id) : body.Path;
        return errno;
    }

    /// <summary>Also after it was finished: the appender had no room for its record.</summary>
    private void Drop(PendingBody body)
    {
        Close(body);
        if (body.Path is { } path)
        {
            body.Path = null;
            if (path == _files.PathOf(body.Id))
            {
                RemoveUnlessHeld(body.Id);
            }
            else
            {
                RemoveFile(path);
            }
        }

        ReleaseSlot(body);
    }

    private void Close(PendingBody body)
    {
        body.File?.Dispose();
        body.File = null;
        _ = _open.Remove(body);
    }

    /// <summary>Held up by a backup or a verification, it is tried again; the next start would remove it as well.</summary>
    private void RemoveUnlessHeld(ulong id)
    {
        lock (_holds.Gate)
        {
            if (!_holds.IsHeld)
            {
                RemoveFile(_files.PathOf(id));
                return;
            }
        }

        _held.Add(id);
    }

    private void ReleaseSlot(PendingBody body)
    {
        if (body.HasSlot)
        {
            body.HasSlot = false;
            _ = Interlocked.Decrement(ref _slots);
        }
    }

    private void RemoveFile(string path)
    {
        int errno = _files.Disk.Remove(path);
        if (errno != 0)
        {
            _observer.Noticed(
                $"{path} is not needed any more and could not be removed: {Errno.Text(errno)}; the next start tries "
                + "again");
        }
    }

    /// <summary>A full disk is told to the client; anything else an operator wants to know.</summary>
    private void Tell(PendingBody body, int errno)
    {
        if (errno != Errno.NoSpace)
        {
            _observer.Noticed(
                $"{body.Path ?? _files.PathOf(body.Id)} could not be written: {Errno.Text(errno)}; its message is not accepted");
        }
    }
}
