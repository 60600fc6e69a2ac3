namespace FastMail.Storage;

/// <summary>
/// Keeps files ready as the next segments, and a small one in reserve for when the disk has no room for that: fills
/// them with zeros on its own thread, and takes retired segments that the reclaimer offers. Looks how much of the disk
/// is free. Owned by the <see cref="MailLog"/>; the appender asks and waits.
/// <see cref="IMailLogObserver.SpaceChanged"/> is called on the maker's thread.
/// </summary>
internal sealed partial class SpareMaker : IDisposable
{
    private static readonly TimeSpan RetryAfter = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan LookEvery = TimeSpan.FromMilliseconds(250);

    private readonly SegmentFiles _files;
    private readonly MailLogOptions _options;
    private readonly IMailLogObserver _observer;
    private readonly Lock _gate = new();
    private readonly AutoResetEvent _asked = new(false);
    private readonly AutoResetEvent _answered = new(false);
    private readonly SpareStock _stock = new();
    private readonly SparePace _pace = new();
    private readonly Thread _thread;

    private Order _spare; // the one that must be there; those beyond it are made when there is time
    private Order _extra; // one of those
    private Order _reserve;
    private string? _taken; // by the appender, which has not given the file its name yet
    private long _currentBytes; // length of the segment that is written to
    private bool _hasAllExtras; // or cannot have them now
    private volatile bool _isStopped;
    private volatile bool _isSpaceLow;
    private volatile bool _hasSpare;
    private volatile bool _isExhausted;
    private bool _isScarce; // of the maker's thread: less is free than should be
    private long _lookedAt; // likewise

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

    /// <summary>Tells how many octets the appender has written, on the maker's thread; before the start.</summary>
    public Func<long> Appended
    {
        set => _pace.Appended = value;
    }

    /// <summary>Nothing is being made but what failed before.</summary>
    public bool IsAtRest
    {
        get
        {
            lock (_gate)
            {
                return _taken is null && _spare.IsSettled && _reserve.IsSettled && (_hasAllExtras || _spare.HasFailed);
            }
        }
    }

    // A store that is still small does without more than one: it would take many times its own size.
    private int Wanted => _currentBytes >= _options.SegmentBytes ? _options.Spares : 1;

    // One that was a segment before is taken beyond that: else what was filled with zeros while nothing was to be done
    // would have the next dropped segment removed, and zeros would be due again.
    private int MostKept => Wanted + 1;

    /// <summary>Begins with what an earlier run left behind, or by making it.</summary>
    /// <param name="currentBytes">Length of the segment that is written to.</param>
    public void Start(long currentBytes)
    {
        _currentBytes = currentBytes;
        FindSpares();
        PreparedFile? reserve = _files.Find(SegmentFiles.ReserveName, MailLogOptions.MinSegmentBytes);
        _reserve = reserve is { } found
            ? new Order { Bytes = found.Bytes, State = OrderState.Ready, File = found }
            : new Order { Bytes = _options.ReserveBytes, State = OrderState.Working };
        if (_reserve.State == OrderState.Ready && _reserve.File.Bytes < _options.ReserveBytes
            && _files.HasRoomFor(_options.ReserveBytes + _options.MinFreeBytes))
        {
            _reserve.File.File.Dispose(); // its name stays until the larger one takes it
            _reserve = new Order { Bytes = _options.ReserveBytes, State = OrderState.Working };
        }

        if (_stock.Count == 0)
        {
            _spare = new Order { Bytes = _options.SpareBytesAfter(currentBytes), State = OrderState.Working };
            _spare.State = Affordable(_spare.Bytes) == 0 ? OrderState.Failed : OrderState.Working; // known beforehand
        }

        Judge();
        _thread.Start();
    }

    /// <summary>
    /// The spare that was taken has become the segment that is written to, of that length: asks for the one after it.
    /// </summary>
    public void Want(long currentBytes)
    {
        lock (_gate)
        {
            _stock.GiveBack(_taken!);
            _taken = null;
            _currentBytes = currentBytes;
            _hasAllExtras = false;
            if (_stock.Count == 0 && _spare.State == OrderState.None)
            {
                _spare = new Order { Bytes = _options.SpareBytesAfter(currentBytes), State = OrderState.Working };
            }

            Judge();
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
    /// is ever that large. Called by the appender only, which tells by <see cref="Want"/> when the file has its name.
    /// </summary>
    public bool TryTake(long recordBytes, out PreparedFile file)
    {
        while (true)
        {
            lock (_gate)
            {
                _pace.IsAwaited = false;
                if (_stock.TryTake(recordBytes, out file))
                {
                    _taken = file.FileName;
                    Judge();
                    return true;
                }

                if (_spare.State == OrderState.Failed
                    || (_spare.State == OrderState.None && !TryEnlarge(recordBytes)))
                {
                    return false;
                }

                _pace.IsAwaited = true;
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
            _taken = file.FileName;
            Judge();
            return true;
        }
    }

    /// <summary>
    /// A file of that length could be a spare at once. If one is wanted it is promised a name, and is handed over under
    /// it (<see cref="Keep"/>), or not (<see cref="Withdraw"/>). The reclaimer's thread.
    /// </summary>
    public bool TryPromise(long bytes, out string name)
    {
        name = "";
        // As if its space had come back first: a spare that must be there leaves what has to be free, others far more.
        long before = _hasSpare ? RoomForExtra - bytes : _options.MinFreeBytes;
        if (_isStopped || bytes != _options.SegmentBytes || !_files.HasRoomFor(before))
        {
            return false;
        }

        lock (_gate)
        {
            bool isWanted = _currentBytes == bytes && _stock.Count + _stock.Promised < MostKept;
            name = isWanted ? _stock.PromiseName() : "";
            return isWanted;
        }
    }

    /// <summary>The file under a promised name is ready; one that is being made in its place is given up.</summary>
    public void Keep(in PreparedFile file)
    {
        Keep(file, file.Bytes);
        _ = _asked.Set();
    }

    /// <summary>Nothing came of a promised name.</summary>
    public void Withdraw(string name)
    {
        lock (_gate)
        {
            _stock.Withdraw(name);
        }
    }

    /// <summary>Stops the thread; the appender has ended before.</summary>
    public void Dispose()
    {
        _isStopped = true;
        _pace.Stop();
        _ = _asked.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _stock.Dispose();
        if (_reserve.State == OrderState.Ready)
        {
            _reserve.File.File.Dispose();
        }

        _asked.Dispose();
        _answered.Dispose();
        _pace.Dispose();
    }

    private void FindSpares()
    {
        foreach (string name in _files.FindSpares().ToArray())
        {
            if (_stock.Count < MostKept && _files.Find(name, _options.FirstSegmentBytes) is { } file)
            {
                _stock.AddFound(file);
            }
            else
            {
                _files.RemoveSpare(name); // too small, or more than are wanted now
            }
        }
    }

    private void Run()
    {
        while (!_isStopped)
        {
            GiveUpExtras();
            // The spare first: with it mail is taken again, and while there is no reserve the next segment is one.
            bool hasSpare = TryMakeSpare();
            bool hasReserve = TryMakeReserve();
            LookAtSpace(hasSpare);
            if (!TryMakeExtra(mayHaveMore: hasSpare && hasReserve && !_isScarce))
            {
                bool mustLook = _options.MinFreeBytes > 0;
                _ = _asked.WaitOne(
                    !hasSpare || !hasReserve ? RetryAfter : mustLook ? LookEvery : Timeout.InfiniteTimeSpan);
            }
        }
    }

    private void LookAtSpace(bool hasSpare)
    {
        _lookedAt = TimeProvider.System.GetTimestamp();
        _isScarce = !_files.HasRoomFor(_options.MinFreeBytes + (_isScarce ? _options.MinFreeBytes / 3 : 0));
        bool isLow = !hasSpare || _isScarce;
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

    /// <summary>What must be free for one more than must be there: it takes a fourth of what nobody needs.</summary>
    private long RoomForExtra => (4 * _options.SegmentBytes) + (2 * _options.MinFreeBytes);

    /// <summary>Before space becomes low: a spare that may have to be made must find room.</summary>
    private void GiveUpExtras()
    {
        while (!_isStopped)
        {
            PreparedFile extra;
            lock (_gate)
            {
                if (_stock.Count < 2)
                {
                    return;
                }
            }

            if (_files.HasRoomFor(_options.SegmentBytes + _options.MinFreeBytes + (_options.MinFreeBytes / 3)))
            {
                return;
            }

            lock (_gate)
            {
                if (!_stock.TryTakeExtra(out extra))
                {
                    return;
                }
            }

            extra.File.Dispose();
            _files.RemoveSpare(extra.FileName);
            lock (_gate)
            {
                _stock.GiveBack(extra.FileName);
            }
        }
    }

    /// <summary>
    /// Replaces a spare by the order of one that takes such a record; false when that was tried, or is never possible.
    /// The caller holds the gate, and nothing is being made that must be there.
    /// </summary>
    private bool TryEnlarge(long recordBytes)
    {
        long bytes = GroupWriter.SegmentFor(recordBytes);
        if (bytes > MailLogOptions.MaxSegmentBytes || _stock.WasTried(bytes))
        {
            return false; // a smaller one than was ordered is all that the disk has room for
        }

        if (_stock.TryTake(0, out PreparedFile small))
        {
            small.File.Dispose();
            _files.RemoveSpare(small.FileName);
            _stock.GiveBack(small.FileName);
        }

        _spare = new Order { Bytes = bytes, State = OrderState.Working };
        Judge();
        _ = _asked.Set();
        return true;
    }

    /// <summary>Into the stock; an order that it fulfils is none any more.</summary>
    private void Keep(in PreparedFile file, long orderedBytes)
    {
        lock (_gate)
        {
            _stock.Add(file, orderedBytes);
            _extra = default;
            _spare = orderedBytes >= _spare.Bytes ? default : _spare;
            Judge();
        }

        _ = _answered.Set();
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
        _hasSpare = _stock.Count > 0;
        _pace.HasSpare = _hasSpare;
        bool hasReserve = _reserve.State == OrderState.Ready;
        // What is being tried once more is not there yet.
        _isExhausted = !_hasSpare && !hasReserve && (_spare.State == OrderState.Failed || _isExhausted);
    }
}
