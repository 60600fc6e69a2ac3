namespace FastMail.Storage;

/// <summary>
/// Keeps one zero-filled file ready as the next segment, and a small one in reserve for when the disk has no room for
/// that, on its own thread. Looks how much of the disk is free. Owned by the <see cref="MailLog"/>; the appender asks
/// and waits. <see cref="IMailLogObserver.SpaceChanged"/> is called on the maker's thread.
/// </summary>
internal sealed class SpareMaker : IDisposable
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(250);

    private readonly SegmentFiles _files;
    private readonly MailLogOptions _options;
    private readonly IMailLogObserver _observer;
    private readonly Lock _gate = new();
    private readonly AutoResetEvent _asked = new(false);
    private readonly AutoResetEvent _answered = new(false);
    private readonly Thread _thread;

    private Order _spare;
    private Order _reserve;
    private volatile bool _isStopped;
    private volatile bool _isSpaceLow;
    private volatile bool _hasSpare;
    private volatile bool _isExhausted;
    private bool _isScarce; // of the maker's thread: less is free than should be

    public SpareMaker(SegmentFiles files, MailLogOptions options, IMailLogObserver observer)
    {
        _files = files;
        _options = options;
        _observer = observer;
        _thread = new Thread(Run) { Name = "fastmail spare segment", IsBackground = true };
    }

    /// <summary>
    /// The last attempt to get a spare failed, the disk has no room to try again, or less of it is free than should be.
    /// </summary>
    public bool IsSpaceLow => _isSpaceLow;

    /// <summary>A spare is ready: the current segment may be filled to its end.</summary>
    public bool HasSpare => _hasSpare;

    /// <summary>
    /// No room for a spare, and the reserve is used up: the rest of the current segment is for what leads to space.
    /// </summary>
    public bool IsExhausted => _isExhausted;

    /// <summary>Called on the maker's thread when space becomes low: only ring a bell.</summary>
    public Action? BecameLow { get; set; }

    /// <summary>Nothing is being made but what failed before.</summary>
    public bool IsAtRest
    {
        get
        {
            lock (_gate)
            {
                return _spare.IsSettled && _reserve.IsSettled;
            }
        }
    }

    /// <summary>Begins with what an earlier run left behind, or by making it.</summary>
    public void Start(long spareBytes)
    {
        _spare = Found(SegmentFiles.SpareName, spareBytes, _options.FirstSegmentBytes);
        _reserve = Found(SegmentFiles.ReserveName, _options.ReserveBytes, MailLogOptions.MinSegmentBytes);
        if (_reserve.State == OrderState.Ready && _reserve.File.Bytes < _options.ReserveBytes
            && _files.HasRoomFor(_options.ReserveBytes + _options.MinFreeBytes))
        {
            _reserve.File.File.Dispose(); // its name stays until the larger one takes it
            _reserve = new Order { Bytes = _options.ReserveBytes, State = OrderState.Working };
        }

        if (_spare.State != OrderState.Ready && Affordable(spareBytes) == 0)
        {
            _spare.State = OrderState.Failed; // known before the first record comes
        }

        Judge();
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
    /// Hands over a file with room for a record of that size, waiting while one is being made, and having a larger one
    /// made when the record is a removal longer than usual; false when the disk has no room for it, or when no segment
    /// is ever that large. Called by the appender only.
    /// </summary>
    public bool TryTake(long recordBytes, out PreparedFile file)
    {
        while (true)
        {
            lock (_gate)
            {
                file = _spare.File;
                if (_spare.State == OrderState.Failed)
                {
                    return false;
                }

                if (_spare.State == OrderState.Ready)
                {
                    if (recordBytes <= GroupWriter.RoomIn(file.Bytes))
                    {
                        _spare.State = OrderState.None;
                        Judge();
                        return true;
                    }

                    if (!TryEnlarge(recordBytes))
                    {
                        return false;
                    }
                }
            }

            _ = _answered.WaitOne();
        }
    }

    /// <summary>
    /// Hands over the reserve, for a record that leads to space; false when it has been used up or is too small. Called
    /// by the appender only, when there is no spare.
    /// </summary>
    public bool TryTakeReserve(long recordBytes, out PreparedFile file)
    {
        lock (_gate)
        {
            file = _reserve.File;
            if (_reserve.State != OrderState.Ready || recordBytes > GroupWriter.RoomIn(file.Bytes))
            {
                return false;
            }

            _reserve = new Order { Bytes = _options.ReserveBytes, State = OrderState.Working };
            Judge();
            return true;
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

        Close(_spare);
        Close(_reserve);
        _asked.Dispose();
        _answered.Dispose();

        static void Close(in Order order)
        {
            if (order.State == OrderState.Ready)
            {
                order.File.File.Dispose();
            }
        }
    }

    private void Run()
    {
        while (!_isStopped)
        {
            // The spare first: with it mail is taken again, and while there is no reserve the next segment is one.
            bool hasSpare = TryMake(ref _spare, SegmentFiles.TemporaryName, SegmentFiles.SpareName);
            bool hasReserve = TryMake(ref _reserve, SegmentFiles.ReserveTemporaryName, SegmentFiles.ReserveName);
            _isScarce = !_files.HasRoomFor(_options.MinFreeBytes + (_isScarce ? _options.MinFreeBytes / 3 : 0));
            TellSpace(!hasSpare || _isScarce);
            bool mustLook = _options.MinFreeBytes > 0;
            _ = _asked.WaitOne(!hasSpare || !hasReserve ? RetryAfter : mustLook ? LookEvery : Timeout.InfiniteTimeSpan);
        }
    }

    private void TellSpace(bool isLow)
    {
        if (_isSpaceLow == isLow || _isStopped)
        {
            return;
        }

        _isSpaceLow = isLow;
        _observer.SpaceChanged(isLow);
        if (isLow)
        {
            BecameLow?.Invoke();
        }
    }

    /// <summary>True when the order was fulfilled, now or before.</summary>
    private bool TryMake(ref Order order, string temporaryName, string name)
    {
        lock (_gate)
        {
            if (order.State is OrderState.None or OrderState.Ready)
            {
                return true;
            }
        }

        // Asking first: filling the disk to the brim every half second would hurt everyone else on it.
        bool isReserve = name == SegmentFiles.ReserveName;
        long bytes = isReserve && _files.HasRoomFor(order.Bytes) ? order.Bytes : 0;
        bytes = isReserve ? bytes : Affordable(order.Bytes);
        IDiskFile? zeros = null;
        int errno = Errno.NoSpace;
        if (bytes > 0)
        {
            SetState(ref order, OrderState.Working, default);
            errno = _files.Zero(temporaryName, bytes, () => _isStopped, out zeros);
            errno = errno != 0 ? errno : _files.Keep(temporaryName, name);
        }

        if (errno != 0)
        {
            zeros?.Dispose();
            if (errno != Errno.NoSpace && !_isStopped && !order.HasFailed)
            {
                _observer.Noticed($"a new segment could not be prepared: {Errno.Text(errno)}; trying again");
            }

            SetState(ref order, OrderState.Failed, default);
            return false;
        }

        SetState(ref order, OrderState.Ready, new PreparedFile(zeros!, bytes, name));
        return true;
    }

    /// <summary>The length of the segment that the disk has room for, at most what is wanted; 0 when for none.</summary>
    private long Affordable(long wantedBytes)
    {
        long least = Math.Min(wantedBytes, _options.FirstSegmentBytes);
        return _files.HasRoomFor(wantedBytes + _options.MinFreeBytes) ? wantedBytes
            : _files.HasRoomFor(least + _options.MinFreeBytes) ? least
            : 0;
    }

    private Order Found(string name, long wantedBytes, long leastBytes)
    {
        return _files.Find(name, leastBytes) is { } file
            ? new Order { Bytes = file.Bytes, State = OrderState.Ready, File = file }
            : new Order { Bytes = wantedBytes, State = OrderState.Working };
    }

    /// <summary>
    /// Replaces a spare by the order of one that takes such a record; false when that was tried, or is never possible.
    /// The caller holds the gate.
    /// </summary>
    private bool TryEnlarge(long recordBytes)
    {
        long bytes = GroupWriter.SegmentFor(recordBytes);
        if (bytes <= _spare.Bytes || bytes > MailLogOptions.MaxSegmentBytes)
        {
            return false; // a smaller one than was ordered is all that the disk has room for
        }

        _spare.File.File.Dispose();
        _files.RemoveSpare();
        _spare = new Order { Bytes = bytes, State = OrderState.Working };
        Judge();
        _ = _asked.Set();
        return true;
    }

    private void SetState(ref Order order, OrderState state, in PreparedFile file)
    {
        lock (_gate)
        {
            order.State = state;
            order.File = file;
            order.HasFailed = state == OrderState.Failed || (order.HasFailed && state == OrderState.Working);
            Judge();
        }

        _ = _answered.Set();
    }

    /// <summary>What the appender looks at without the gate; the caller holds it, or is alone.</summary>
    private void Judge()
    {
        _hasSpare = _spare.State == OrderState.Ready;
        bool hasReserve = _reserve.State == OrderState.Ready;
        // What is being tried once more is not there yet.
        _isExhausted = !_hasSpare && !hasReserve && (_spare.State == OrderState.Failed || _isExhausted);
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
        public bool HasFailed; // the last attempt did
        public PreparedFile File;

        public readonly bool IsSettled => State == OrderState.Ready || HasFailed;
    }
}
