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
    public void Remove(ReadOnlySpan<UidRange> ranges, BodyTable bodies, ulong epoch)
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
            }
            else
            {
                survivors.Add(entry);
            }
        }

        State.Recent = survivors;
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
