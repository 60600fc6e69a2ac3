namespace FastMail.Storage;

/// <summary>
/// The messages of one mailbox at one moment: those that a checkpoint holds, and behind them those in memory. A value;
/// immutable as long as its shard is retained.
/// </summary>
internal struct MaildropState
{
    /// <summary>In the checkpoint's shard file.</summary>
    public ShardSlice Stored;

    /// <summary>In memory, later than those.</summary>
    public EntryList Recent;

    public long Octets;

    /// <summary>Next number to be given, as long as the table's floor is <see cref="UidFloor"/>.</summary>
    public ulong NextUid;

    /// <summary>The table's floor when <see cref="NextUid"/> was set: it moves on with it.</summary>
    public ulong UidFloor;

    public readonly int Count => Stored.Count + Recent.Count;

    public readonly ulong NextUidAt(ulong uidFloor)
    {
        return NextUid + (uidFloor - UidFloor);
    }
}

/// <summary>
/// One mailbox that has changed since the checkpoint, or is about to. Owned by the <see cref="MaildropTable"/>, under
/// its lock.
/// </summary>
internal sealed class MaildropIndex
{
    private MaildropState _captured;
    private ulong _capturedEpoch;
    private bool _isCapturedChanged;
    private ulong _lastGivenUid;
    private ulong _givenUids; // by the appender, their records not yet applied
    private int _preparedRemovals;
    private bool _hasRemoved; // since the epoch began: what was captured is not the beginning of what there is

    public MaildropIndex(in MaildropState state)
    {
        State = state;
    }

    public MaildropState State;

    /// <summary>It says something else than the shard of its mailbox.</summary>
    public bool IsChanged { get; private set; }

    /// <summary>The appender has begun something that is not yet applied.</summary>
    public bool IsInUse => _givenUids > 0 || _preparedRemovals > 0;

    /// <summary>The next number, used up even if the group fails: then the log ends with it.</summary>
    public ulong GiveUid(ulong uidFloor, ulong least)
    {
        ulong next = Math.Max(State.NextUidAt(uidFloor), _lastGivenUid + 1);
        _lastGivenUid = Math.Max(next, least);
        _givenUids++;
        return _lastGivenUid;
    }

    public void Add(in MaildropEntry entry, ulong uidFloor, ulong epoch)
    {
        Change(epoch);
        ulong next = State.NextUidAt(uidFloor);
        State.NextUid = Math.Max(next, entry.Uid + 1);
        State.UidFloor = uidFloor;
        State.Octets += entry.Octets;
        State.Recent.Add(entry);
        _givenUids -= Math.Min(_givenUids, 1);
    }

    /// <summary>Brings all entries into memory, for a removal that is sure to follow.</summary>
    public void PrepareRemoval(MaildropEntry[] stored)
    {
        _preparedRemovals++;
        if (State.Stored.Count == 0)
        {
            return;
        }

        EntryList all = default;
        foreach (ref readonly MaildropEntry entry in stored.AsSpan())
        {
            all.Add(entry);
        }

        all.AddRange(State.Recent, 0);
        State.Recent = all;
        State.Stored = default;
    }

    /// <summary>Entries and ranges both ascend, so one pass over both finds the survivors.</summary>
    public void Remove(ReadOnlySpan<UidRange> ranges, BodyTable bodies, ulong epoch, Liveness liveness)
    {
        Change(epoch);
        _preparedRemovals--;
        _hasRemoved = true;
        EntryList survivors = default;
        for (int i = 0; i < State.Recent.Count; i++)
        {
            ref readonly MaildropEntry entry = ref State.Recent[i];
            while (!ranges.IsEmpty && entry.Uid >= ranges[0].First && entry.Uid - ranges[0].First >= ranges[0].Count)
            {
                ranges = ranges[1..];
            }

            if (!ranges.IsEmpty && entry.Uid >= ranges[0].First)
            {
                State.Octets -= entry.Octets;
                if ((entry.Flags & MessageFlags.ExternalBody) != 0)
                {
                    bodies.Release(entry.Lsn);
                }

                liveness.Release(entry.Lsn, entry.RecordBytes, Liveness.IsLarge(entry.WireBytes));
            }
            else
            {
                survivors.Add(entry);
            }
        }

        State.Recent = survivors;
    }

    /// <summary>What was prepared will not come.</summary>
    public void CancelRemoval()
    {
        _preparedRemovals--;
    }

    /// <summary>
    /// Where the message of that unique-id is; null when there is none. A removal is prepared: all is in memory.
    /// </summary>
    public ulong? LsnOf(ulong uid)
    {
        int at = Find(uid);
        return at < State.Recent.Count && State.Recent[at].Uid == uid ? State.Recent[at].Lsn : null;
    }

    /// <summary>
    /// Gives entries the addresses of copies. A removal is prepared, and stays so. Both lists ascend: one pass.
    /// </summary>
    public void Move(
        ReadOnlySpan<MovedEntry> moves, ReadOnlySpan<MovedRecord> records, Span<bool> isLive, ulong epoch)
    {
        Change(epoch);
        _hasRemoved = true;
        EntryList all = default;
        for (int i = 0; i < State.Recent.Count; i++)
        {
            MaildropEntry entry = State.Recent[i];
            while (!moves.IsEmpty && moves[0].Uid < entry.Uid)
            {
                moves = moves[1..];
            }

            if (!moves.IsEmpty && moves[0].Uid == entry.Uid && records[moves[0].Record].From == entry.Lsn)
            {
                isLive[moves[0].Record] = true;
                entry = entry.At(records[moves[0].Record].To, records[moves[0].Record].HeaderCrc);
            }

            all.Add(entry);
        }

        State.Recent = all;
    }

    /// <summary>
    /// Adds an entry in its place; false when there is one of that unique-id. Only while the log is opened without a
    /// checkpoint: what stands in a cold segment is seen before the log.
    /// </summary>
    public bool TryInsert(in MaildropEntry entry, ulong uidFloor, ulong epoch)
    {
        int count = State.Recent.Count;
        if (count == 0 || State.Recent[count - 1].Uid < entry.Uid)
        {
            Add(entry, uidFloor, epoch);
            return true;
        }

        int at = Find(entry.Uid);
        if (State.Recent[at].Uid == entry.Uid)
        {
            return false;
        }

        MaildropEntry last = State.Recent[count - 1];
        Add(last, uidFloor, epoch); // one longer; what is behind the place moves up
        State.Octets += (long)entry.Octets - last.Octets;
        for (int i = count - 1; i > at; i--)
        {
            State.Recent.Set(i, State.Recent[i - 1]);
        }

        State.Recent.Set(at, entry);
        return true;
    }

    /// <summary>
    /// Adds an entry, or replaces the one of that unique-id and answers where that was. While the log is opened.
    /// </summary>
    public ulong? Put(in MaildropEntry entry, ulong uidFloor, ulong epoch)
    {
        if (State.Stored.Count > 0)
        {
            Add(entry, uidFloor, epoch); // behind a checkpoint everything is new
            return null;
        }

        if (TryInsert(entry, uidFloor, epoch))
        {
            return null;
        }

        int at = Find(entry.Uid);
        ulong replaced = State.Recent[at].Lsn;
        State.Recent.Set(at, entry);
        return replaced;
    }

    /// <summary>The message of that unique-id is at this copy. While the log is opened.</summary>
    public void Replace(ulong uid, in RecordHeader header, ulong epoch)
    {
        Change(epoch);
        int at = Find(uid);
        State.Recent.Set(at, State.Recent[at].At(header.Lsn, header.HeaderCrc));
    }

    private int Find(ulong uid)
    {
        int low = 0;
        int high = State.Recent.Count;
        while (low < high)
        {
            int middle = (low + high) >>> 1;
            (low, high) = State.Recent[middle].Uid < uid ? (middle + 1, high) : (low, middle);
        }

        return low;
    }

    /// <summary>
    /// The state at the moment the epoch began; false when that is what the shard says. It does not matter how much
    /// later this is asked: the first change of an epoch keeps what was there.
    /// </summary>
    public bool TryCapture(ulong epoch, out MaildropState state)
    {
        bool hasMoved = _capturedEpoch == epoch;
        state = hasMoved ? _captured : State;
        return hasMoved ? _isCapturedChanged : IsChanged;
    }

    /// <summary>
    /// The state of the epoch's beginning is in a shard now. Goes on from there; false when nothing is left to say that
    /// the shard does not.
    /// </summary>
    public bool Rebase(in ShardSlice stored, ulong epoch)
    {
        bool hasMoved = _capturedEpoch == epoch;
        int capturedCount = hasMoved ? _captured.Count : State.Count;
        _captured = default; // lets go of what only the capture held
        IsChanged = hasMoved;
        if (_preparedRemovals > 0 || (hasMoved && _hasRemoved))
        {
            return true; // all of it is in memory, and needs no shard
        }

        EntryList recent = default;
        recent.AddRange(State.Recent, capturedCount - State.Stored.Count);
        State.Stored = stored;
        State.Recent = recent;
        return hasMoved || IsInUse;
    }

    private void Change(ulong epoch)
    {
        if (_capturedEpoch != epoch)
        {
            _captured = State;
            _isCapturedChanged = IsChanged;
            _capturedEpoch = epoch;
            _hasRemoved = false;
        }

        IsChanged = true;
    }
}
