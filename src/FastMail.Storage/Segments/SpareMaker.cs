namespace FastMail.Storage;

/// <summary>
/// Keeps one zero-filled file ready as the next segment, and makes oversized ones on demand, on its own thread. Owned
/// by the <see cref="MailLog"/>; the appender asks and waits. <see cref="IMailLogObserver.SpaceChanged"/> is called on
/// the maker's thread, or on the opener's before that starts.
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
    private Order _oversized;
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

    /// <summary>
    /// Hands over a file with room for a record of that size, waiting while one is being made; false when the disk
    /// has no room for it. Called by the appender only.
    /// </summary>
    public bool TryTake(long recordBytes, out PreparedFile file)
    {
        while (true)
        {
            lock (_gate)
            {
                bool isOversized = recordBytes > _spare.Bytes / 2;
                ref Order order = ref _spare;
                if (isOversized)
                {
                    order = ref _oversized;
                    if (order.State == OrderState.None)
                    {
                        order = new Order { Bytes = BytesFor(recordBytes), State = OrderState.Working };
                        _ = _asked.Set();
                    }
                }

                if (order.State is OrderState.Ready or OrderState.Failed)
                {
                    bool isReady = order.State == OrderState.Ready;
                    file = order.File;
                    if (isReady || isOversized)
                    {
                        order.State = OrderState.None;
                    }

                    _hasSpare = _spare.State == OrderState.Ready;
                    return isReady;
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

        Release(_spare);
        Release(_oversized);
        _asked.Dispose();
        _answered.Dispose();

        static void Release(in Order order)
        {
            if (order.State == OrderState.Ready)
            {
                order.File.File.Dispose();
            }
        }
    }

    private static long BytesFor(long recordBytes)
    {
        long bytes = SegmentHeader.Bytes + GroupMeta.TotalBytes + recordBytes + GroupWriter.ReserveBytes;
        return (bytes + SegmentHeader.Bytes - 1) & -SegmentHeader.Bytes;
    }

    private void Run()
    {
        while (!_isStopped)
        {
            if (_oversized.State == OrderState.Working)
            {
                Make(ref _oversized, SegmentFiles.OversizedName);
            }
            else if (_spare.State is OrderState.Working or OrderState.Failed)
            {
                if (!MakeSpare())
                {
                    _ = _asked.WaitOne(RetryAfter);
                }
            }
            else
            {
                _ = _asked.WaitOne();
            }
        }
    }

    private bool MakeSpare()
    {
        bool isReady = Make(ref _spare, SegmentFiles.TemporaryName);
        if (_isSpaceLow == isReady && !_isStopped)
        {
            _isSpaceLow = !isReady;
            _observer.SpaceChanged(!isReady);
        }

        return isReady;
    }

    private bool Make(ref Order order, string name)
    {
        long bytes = order.Bytes;
        PreparedFile file = default;
        int errno = Errno.NoSpace;
        // Asking first: filling the disk to the brim every half second would hurt everyone else on it.
        if (_files.HasRoomFor(bytes))
        {
            SetState(ref order, OrderState.Working, default);
            errno = _files.Zero(name, bytes, () => _isStopped, out IDiskFile? zeros);
            if (errno == 0 && name == SegmentFiles.TemporaryName)
            {
                errno = _files.KeepAsSpare();
                name = SegmentFiles.SpareName;
            }

            file = new PreparedFile(zeros!, bytes, name);
        }

        if (errno != 0)
        {
            file.File?.Dispose();
            if (errno != Errno.NoSpace && !_isStopped && order.State != OrderState.Failed)
            {
                _observer.Noticed($"a new segment could not be prepared: {Errno.Text(errno)}; trying again");
            }
        }

        SetState(ref order, errno == 0 ? OrderState.Ready : OrderState.Failed, file);
        return errno == 0;
    }

    private void SetState(ref Order order, OrderState state, in PreparedFile file)
    {
        lock (_gate)
        {
            order.State = state;
            order.File = file;
            _hasSpare = _spare.State == OrderState.Ready;
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
