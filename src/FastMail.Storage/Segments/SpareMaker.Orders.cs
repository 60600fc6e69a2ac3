namespace FastMail.Storage;

/// <content>What is to be made, tried until it is there: files of zeros.</content>
internal sealed partial class SpareMaker
{
    /// <summary>True when the spare that must be there is, or when nobody has asked for it yet.</summary>
    private bool TryMakeSpare()
    {
        long ordered;
        lock (_gate)
        {
            if (_spare.State == OrderState.None)
            {
                return true;
            }

            ordered = _spare.Bytes;
        }

        // Asking first: filling the disk to the brim every half second would hurt everyone else on it.
        long bytes = Affordable(ordered);
        return TryMake(ref _spare, bytes, SegmentFiles.TemporaryName);
    }

    private bool TryMakeReserve()
    {
        lock (_gate)
        {
            if (_reserve.State == OrderState.Ready || _taken == SegmentFiles.ReserveName)
            {
                return _taken is null; // one that was taken has its old name still
            }
        }

        long bytes = _files.HasRoomFor(_reserve.Bytes) ? Affordable(_reserve.Bytes) : 0;
        return TryMake(ref _reserve, bytes, SegmentFiles.ReserveTemporaryName);
    }

    /// <summary>
    /// One more than must be there. False when all that are wanted are, or when there is no room to spare; true also
    /// when another must be there by now.
    /// </summary>
    private bool TryMakeExtra(bool mayHaveMore)
    {
        bool isWanted;
        lock (_gate)
        {
            isWanted = mayHaveMore && _stock.Count + _stock.Promised < Wanted;
            _hasAllExtras = !isWanted;
        }

        _extra.Bytes = _options.SegmentBytes;
        _extra.State = OrderState.Working;
        bool isMade = isWanted && _files.HasRoomFor(RoomForExtra)
            && TryMake(ref _extra, _extra.Bytes, SegmentFiles.TemporaryName);
        lock (_gate)
        {
            bool isNeeded = _spare.State == OrderState.Working; // the last was taken meanwhile
            _hasAllExtras |= !isMade && !isNeeded;
            return isMade || isNeeded;
        }
    }

    /// <summary>True when the order was fulfilled, also by somebody else.</summary>
    private bool TryMake(ref Order order, long bytes, string temporaryName)
    {
        IDiskFile? zeros = null;
        bool isSpare = temporaryName == SegmentFiles.TemporaryName;
        string name = SegmentFiles.ReserveName;
        long ordered = order.Bytes; // meanwhile another may be ordered
        int errno = Errno.NoSpace;
        if (bytes > 0)
        {
            if (!TryBegin(ref order))
            {
                return true;
            }

            errno = _files.Zero(temporaryName, bytes, offset => MayGoOn(offset, isSpare), out zeros);
            name = isSpare && errno == 0 ? PromiseName() : name;
            errno = errno != 0 ? errno : _files.Keep(temporaryName, name);
            if (isSpare && zeros is not null && errno != 0)
            {
                Withdraw(name);
            }
        }

        if (errno == 0)
        {
            PreparedFile made = new(zeros!, bytes, name);
            if (isSpare)
            {
                Keep(made, ordered);
            }
            else
            {
                SetState(ref order, OrderState.Ready, made);
            }

            return true;
        }

        zeros?.Dispose();
        if (errno is not Errno.NoSpace and not Errno.Interrupted && !_isStopped && !order.HasFailed)
        {
            _observer.Noticed($"a new segment could not be prepared: {Errno.Text(errno)}; trying again");
        }

        return errno == Errno.Interrupted ? IsGivenUp(ref order) : Fail(ref order);
    }

    /// <summary>False when somebody else has fulfilled the order.</summary>
    private bool TryBegin(ref Order order)
    {
        lock (_gate)
        {
            bool isOpen = order.State != OrderState.None;
            order.State = isOpen ? OrderState.Working : OrderState.None;
            return isOpen;
        }
    }

    /// <summary>True when the reclaimer has brought one while it was tried.</summary>
    private bool Fail(ref Order order)
    {
        lock (_gate)
        {
            if (order.State == OrderState.None)
            {
                return true; // what is no order any more must not fail: nobody would ever fulfil it
            }

            SetState(ref order, OrderState.Failed, default);
            return false;
        }
    }

    /// <summary>True when it was because the reclaimer brought one.</summary>
    private bool IsGivenUp(ref Order order)
    {
        lock (_gate)
        {
            bool isFulfilled = order.State == OrderState.None;
            order = default;
            Judge();
            return isFulfilled;
        }
    }

    private string PromiseName()
    {
        lock (_gate)
        {
            return _stock.PromiseName();
        }
    }

    /// <summary>Asked before each piece of zeros; takes its time while the appender is busy and nobody waits.</summary>
    private bool MayGoOn(long offset, bool isSpare)
    {
        if (_isStopped)
        {
            return false;
        }

        if (!isSpare || offset == 0)
        {
            return true;
        }

        if (!_pace.IsUrgent)
        {
            _pace.Rest();
            if (TimeProvider.System.GetElapsedTime(_lookedAt) > LookEvery && _options.MinFreeBytes > 0)
            {
                LookAtSpace(hasSpare: true);
            }
        }

        lock (_gate)
        {
            bool isNeeded = _spare.State == OrderState.Working;
            return !_isStopped && (isNeeded || (_stock.Count + _stock.Promised < Wanted && !_isScarce));
        }
    }

    /// <summary>The length of the segment that the disk has room for, at most what is wanted; 0 when for none.</summary>
    private long Affordable(long wantedBytes)
    {
        long least = Math.Min(wantedBytes, _options.FirstSegmentBytes);
        return _files.HasRoomFor(wantedBytes + _options.MinFreeBytes) ? wantedBytes
            : _files.HasRoomFor(least + _options.MinFreeBytes) ? least
            : 0;
    }

    private enum OrderState
    {
        None,
        Working,
        Ready, // of the reserve; a spare that is ready is in the stock
        Failed,
    }

    private struct Order
    {
        public long Bytes;
        public OrderState State;
        public bool HasFailed; // the last attempt did
        public PreparedFile File;

        public readonly bool IsSettled => State is OrderState.None or OrderState.Ready || HasFailed;
    }
}
