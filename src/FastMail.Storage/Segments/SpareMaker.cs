namespace FastMail.Storage;

/// <summary>
/// Keeps one zero-filled file ready as the next segment, on its own thread. Owned by the <see cref="MailLog"/>; the
/// appender asks and waits. <see cref="IMailLogObserver.SpaceChanged"/> is called on the maker's thread.
/// </summary>
internal sealed class SpareMaker : IDisposable
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromMilliseconds(500);

    private readonly SegmentFiles _files;
    private readonly IMailLogObserver _observer;
    private readonly Lock _gate = new();
    private readonly AutoResetEvent _asked = new(false);
    private readonly AutoResetEvent _answered = new(false);
    private readonly Thread _thread;

    private Order _spare;
    private volatile bool _isStopped;
    private volatile bool _isSpaceLow;
    private volatile bool _hasSpare;

    public SpareMaker(SegmentFiles files, IMailLogObserver observer)
    {
        _files = files;
        _observer = observer;
        _thread = new Thread(Run) { Name = "fastmail spare segment", IsBackground = true };
    }

    /// <summary>The last attempt to get a spare failed, or the disk has no room to try again.</summary>
    public bool IsSpaceLow => _isSpaceLow;

    /// <summary>A spare is ready: the current segment may be filled to its end.</summary>
    public bool HasSpare => _hasSpare;

    /// <summary>Begins with a spare that was found, or by making one of that size.</summary>
    public void Start(PreparedFile? found, long spareBytes)
    {
        _spare = new Order { Bytes = spareBytes, State = OrderState.Working };
        if (found is { } file)
        {
            _spare = new Order { Bytes = file.Bytes, State = OrderState.Ready, File = file };
            _hasSpare = true;
        }

        _thread.Start();
    }

    /// <summary>Asks for the spare after the one that was taken.</summary>
    public void Want(long spareBytes)
    {
        lock (_gate)
        {
            if (_spare.State == OrderState.None)
            {
                _spare = new Order { Bytes = spareBytes, State = OrderState.Working };
            }
        }

        _ = _asked.Set();
    }

    /// <summary>Space has come back: what failed is tried again at once.</summary>
    public void SpaceFreed()
    {
        _ = _asked.Set();
    }

    /// <summary>
    /// Hands over a file with room for a record of that size, waiting while one is being made; false when the disk
    /// has no room for it, or when no segment is ever that large. Called by the appender only.
    /// </summary>
    public bool TryTake(long recordBytes, out PreparedFile file)
    {
        while (true)
        {
            lock (_gate)
            {
                file = _spare.File;
                if (_spare.State == OrderState.Failed || recordBytes > GroupWriter.RoomIn(_spare.Bytes))
                {
                    return false;
                }

                if (_spare.State == OrderState.Ready)
                {
                    _spare.State = OrderState.None;
                    _hasSpare = false;
                    return true;
                }
            }

            _ = _answered.WaitOne();
        }
    }

    /// <summary>Stops the thread; the appender has ended before.</summary>
    public void Dispose()
    {
        _isStopped = true;
        _ = _asked.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        if (_spare.State == OrderState.Ready)
        {
            _spare.File.File.Dispose();
        }

        _asked.Dispose();
        _answered.Dispose();
    }

    private void Run()
    {
        while (!_isStopped)
        {
            if (_spare.State is not (OrderState.Working or OrderState.Failed))
            {
                _ = _asked.WaitOne();
            }
            else if (!MakeSpare())
            {
                _ = _asked.WaitOne(RetryAfter);
            }
        }
    }

    private bool MakeSpare()
    {
        bool isReady = Make();
        if (_isSpaceLow == isReady && !_isStopped)
        {
            _isSpaceLow = !isReady;
            _observer.SpaceChanged(!isReady);
        }

        return isReady;
    }

    private bool Make()
    {
        long bytes = _spare.Bytes;
        IDiskFile? zeros = null;
        int errno = Errno.NoSpace;
        // Asking first: filling the disk to the brim every half second would hurt everyone else on it.
        if (_files.HasRoomFor(bytes))
        {
            SetState(OrderState.Working, default);
            errno = _files.Zero(SegmentFiles.TemporaryName, bytes, () => _isStopped, out zeros);
            errno = errno != 0 ? errno : _files.KeepAsSpare();
        }

        if (errno != 0)
        {
            zeros?.Dispose();
            if (errno != Errno.NoSpace && !_isStopped && _spare.State != OrderState.Failed)
            {
                _observer.Noticed($"a new segment could not be prepared: {Errno.Text(errno)}; trying again");
            }

            SetState(OrderState.Failed, default);
            return false;
        }

        SetState(OrderState.Ready, new PreparedFile(zeros!, bytes, SegmentFiles.SpareName));
        return true;
    }

    private void SetState(OrderState state, in PreparedFile file)
    {
        lock (_gate)
        {
            _spare.State = state;
            _spare.File = file;
            _hasSpare = state == OrderState.Ready;
        }

        _ = _answered.Set();
    }

    private enum OrderState
    {
        None,
        Working,
        Ready,
        Failed,
    }

    private struct Order
    {
        public long Bytes;
        public OrderState State;
        public PreparedFile File;
    }
}
