namespace FastMail.Storage;

/// <summary>
/// All maildrops of the store, by mailbox id: a fold over the log. What the newest checkpoint says is in its shards,
/// what has changed since is in memory over them. Owned by the <see cref="MailLog"/>. Changed by the appender alone
/// (by the opening thread before that starts), shards replaced by the checkpointer, both under <see cref="Gate"/>;
/// anyone may take a snapshot.
/// </summary>
internal sealed partial class MaildropTable
{
    /// <summary>Parts of a checkpoint that are written anew or not at all.</summary>
    public const int Shards = 256;

    private readonly Dictionary<ulong, MaildropIndex>?[] _changed = new Dictionary<ulong, MaildropIndex>?[Shards];
    private readonly Shard?[] _stored = new Shard?[Shards];
    private readonly SegmentList _segments;
    private readonly MaildropSnapshot _empty;
    private ulong _uidFloor = 1;
    private ulong _epoch = 1;
    private LogPoint _point;
    private int _count;
    private long _changes;

    public MaildropTable(uint uidValidity, SegmentList segments)
    {
        _segments = segments;
        UidValidity = uidValidity;
        _empty = new MaildropSnapshot([], default, 0, uidValidity);
        Liveness = new Liveness(segments);
        Queue = new QueueTable(segments, Liveness, Bodies);
    }

    /// <summary>Changes before bodies are punched out: who was just opening a maildrop looks again.</summary>
    public int Punches;

    /// <summary>Held for one group's entries, one lookup or one shard's mailboxes: microseconds.</summary>
    public Lock Gate { get; } = new();

    /// <summary>The body files that messages of these maildrops name; guarded by <see cref="Gate"/>.</summary>
    public BodyTable Bodies { get; } = new();

    /// <summary>
    /// What others keep with a checkpoint, captured at the same place of the log; called under <see cref="Gate"/>, so
    /// briefly. Set before the log is in use.
    /// </summary>
    public Func<CheckpointExtra>? CaptureExtra { get; set; }

    /// <summary>What is still needed of each segment; guarded by <see cref="Gate"/>.</summary>
    public Liveness Liveness { get; }

    /// <summary>What waits to be relayed; guarded by <see cref="Gate"/>.</summary>
    public QueueTable Queue { get; }

    /// <summary>What is being copied to a cold segment; guarded by <see cref="Gate"/>.</summary>
    public MoveUnderWay? Moving { get; private set; }

    /// <summary>How often <see cref="Moving"/> has changed; guarded by <see cref="Gate"/>.</summary>
    public int Moves { get; private set; }

    /// <summary>Mailboxes that ever had a message.</summary>
    public int Count
    {
        get
        {
            lock (Gate)
            {
                return _count;
            }
        }
    }

    /// <summary>Changes to maildrops and queue so far.</summary>
    public long Changes => _changes + Queue.Changes;

    /// <summary>What has been applied: everything below this place, nothing above.</summary>
    public LogPoint Point
    {
        get
        {
            lock (Gate)
            {
                return _point;
            }
        }
    }

    /// <summary>The shard of a mailbox. On disk, so it never changes.</summary>
    public static int ShardOf(ulong mailboxId)
    {
        return (int)((mailboxId * 0x9E3779B97F4A7C15) >> 56);
    }

    /// <exception cref="IOException">The checkpoint's part of it cannot be read.</exception>
    public MaildropSnapshot Snapshot(ulong mailboxId)
    {
        MaildropState state;
        lock (Gate)
        {
            if (!TryFind(mailboxId, out state))
            {
                return _empty;
            }

            state.Stored.Shard?.Retain();
        }

        int errno = state.Stored.Read(out MaildropEntry[] stored);
        state.Stored.Shard?.Release();
        Errno.Check(errno, "read the checkpoint of", $"maildrop {mailboxId}");
        return new MaildropSnapshot(stored, state.Recent, state.Octets, UidValidity);
    }

    public uint UidValidity { get; }

    public MaildropSize Measure(ulong mailboxId)
    {
        lock (Gate)
        {
            return TryFind(mailboxId, out MaildropState state)
                ? new MaildropSize(state.Count, state.Octets, state.NextUidAt(_uidFloor))
                : new MaildropSize(0, 0, _uidFloor);
        }
    }

    /// <summary>
    /// Gives away the next number of a mailbox. Appender only: the number is used up even if the group fails, because
    /// then the log ends with it.
    /// </summary>
    /// <param name="mailboxId">Whose.</param>
    /// <param name="least">Go on at least there.</param>
    public ulong NextUid(ulong mailboxId, ulong least = 0)
    {
        lock (Gate)
        {
            return Get(mailboxId).GiveUid(_uidFloor, least);
        }
    }

    /// <summary>The caller holds <see cref="Gate"/>.</summary>
    public void Add(ulong mailboxId, in MaildropEntry entry)
    {
        Get(mailboxId).Add(entry, _uidFloor, _epoch);
        _changes++;
    }

    /// <summary>
    /// Reads what a removal will need, without the lock; once before each <see cref="Remove"/>, by the thread that will
    /// do that. Answers an errno.
    /// </summary>
    public int PrepareRemoval(ulong mailboxId)
    {
        ShardSlice slice;
        lock (Gate)
        {
            slice = Get(mailboxId).State.Stored;
            slice.Shard?.Retain();
        }

        while (true)
        {
            int errno = slice.Read(out MaildropEntry[] stored);
            slice.Shard?.Release();
            lock (Gate)
            {
                MaildropIndex maildrop = Get(mailboxId);
                if (errno != 0 || maildrop.State.Stored == slice)
                {
                    if (errno == 0)
                    {
                        maildrop.PrepareRemoval(stored);
                    }

                    return errno;
                }

                slice = maildrop.State.Stored; // a checkpoint came in between
                slice.Shard?.Retain();
            }
        }
    }

    /// <summary>The caller holds <see cref="Gate"/> and has called <see cref="PrepareRemoval"/> before.</summary>
    public void Remove(ulong mailboxId, ReadOnlySpan<UidRange> ranges)
    {
        Get(mailboxId).Remove(ranges, Bodies, _epoch, Liveness);
        _changes++;
    }

    /// <summary>Takes a <see cref="PrepareRemoval"/> back that nothing came of.</summary>
    public void CancelRemoval(ulong mailboxId)
    {
        lock (Gate)
        {
            Get(mailboxId).CancelRemoval();
        }
    }

    /// <summary>Copying begins, or has ended with null.</summary>
    public void SetMoving(MoveUnderWay? moving)
    {
        lock (Gate)
        {
            Moving = moving;
            Moves++;
        }
    }

    /// <summary>
    /// The record at that address is that message of the mailbox, whose removal is prepared. The caller holds
    /// <see cref="Gate"/>.
    /// </summary>
    public bool Holds(ulong mailboxId, ulong uid, ulong lsn)
    {
        return Get(mailboxId).LsnOf(uid) == lsn;
    }

    /// <summary>
    /// Gives messages of a mailbox, whose removal is prepared, the addresses of their copies. What was removed meanwhile
    /// is left out. The caller holds <see cref="Gate"/>.
    /// </summary>
    /// <param name="mailboxId">The mailbox.</param>
    /// <param name="entries">Ascending by unique-id; each names its record.</param>
    /// <param name="records">All that were copied.</param>
    /// <param name="isLive">Set for the records that somebody still has.</param>
    public void Move(
        ulong mailboxId, ReadOnlySpan<MovedEntry> entries, ReadOnlySpan<MovedRecord> records, Span<bool> isLive)
    {
        Get(mailboxId).Move(entries, records, isLive, _epoch);
        _changes++;
    }

    /// <summary>
    /// An EXPUNGE stands there that must outlive its segment if need be. The caller holds <see cref="Gate"/>.
    /// </summary>
    public void NoteColdExpunge(ulong lsn)
    {
        if (_segments.Find(lsn) is { } segment)
        {
            segment.Life.HasAimed = true;
        }
    }

    /// <summary>
    /// The cold segments in which copies of these messages lie, or will lie when what is under way ends: as long as one
    /// of them exists, a removal of the messages must be kept. The caller holds <see cref="Gate"/>.
    /// </summary>
    /// <param name="maildrop">As it is, but for what was added or removed; null when it cannot be read.</param>
    /// <param name="ranges">What is removed, ascending.</param>
    public ColdRange Aim(MaildropSnapshot? maildrop, ReadOnlySpan<UidRange> ranges)
    {
        ColdRange aim = default;
        if (maildrop is null)
        {
            foreach (Segment segment in _segments.Cold)
            {
                aim = aim.With(segment.BaseLsn);
            }

            return Moving is null ? aim : aim.With(Moving.ColdLsn);
        }

        for (int i = 0; i < maildrop.Count && !ranges.IsEmpty; i++)
        {
            ref readonly MaildropEntry entry = ref maildrop[i];
            while (!ranges.IsEmpty && entry.Uid >= ranges[0].First && entry.Uid - ranges[0].First >= ranges[0].Count)
            {
                ranges = ranges[1..];
            }

            if (ranges.IsEmpty || entry.Uid < ranges[0].First)
            {
                continue;
            }

            aim = entry.Lsn >= SegmentList.ColdLsn ? aim.With(_segments.Find(entry.Lsn)?.BaseLsn ?? entry.Lsn) : aim;
            aim = Moving is not null && Moving.Includes(entry.Lsn) ? aim.With(Moving.ColdLsn) : aim;
        }

        return aim;
    }

    /// <summary>All below that place has been applied. The caller holds <see cref="Gate"/>.</summary>
    public void Reached(in LogPoint point)
    {
        _point = point;
    }

    /// <summary>Lets go of the shards; the log is being closed. Snapshots have what they need.</summary>
    public void Dispose()
    {
        lock (Gate)
        {
            foreach (ref Shard? shard in _stored.AsSpan())
            {
                shard?.Release();
                shard = null;
            }

            Array.Clear(_changed); // what is in memory continues what was in the shards
        }
    }

    private bool TryFind(ulong mailboxId, out MaildropState state)
    {
        int number = ShardOf(mailboxId);
        if (_changed[number] is { } changed && changed.TryGetValue(mailboxId, out MaildropIndex? maildrop))
        {
            state = maildrop.State;
            return true;
        }

        int at = _stored[number]?.Find(mailboxId) ?? -1;
        state = at < 0 ? default : _stored[number]!.StateOf(at);
        return at >= 0;
    }

    private MaildropIndex Get(ulong mailboxId)
    {
        int number = ShardOf(mailboxId);
        Dictionary<ulong, MaildropIndex> changed = _changed[number] ??= [];
        if (changed.TryGetValue(mailboxId, out MaildropIndex? maildrop))
        {
            return maildrop;
        }

        if (!TryFind(mailboxId, out MaildropState state))
        {
            // A mailbox never seen begins at the floor; 1 when nothing was ever lost.
            state = new MaildropState { NextUid = _uidFloor, UidFloor = _uidFloor };
            _count++;
        }

        maildrop = new MaildropIndex(state);
        changed.Add(mailboxId, maildrop);
        return maildrop;
    }
}

/// <summary>The moment of a checkpoint. A value.</summary>
/// <param name="Epoch">Changes made from this epoch on are not in it.</param>
/// <param name="Point">Its place in the log.</param>
/// <param name="UidFloor">First unique-id of mailboxes not seen before.</param>
/// <param name="Changes">Changes up to it.</param>
/// <param name="Bodies">The table of body files.</param>
/// <param name="Queue">The queue.</param>
/// <param name="Extra">What others keep with it.</param>
internal readonly record struct TableCapture(
    ulong Epoch, LogPoint Point, ulong UidFloor, long Changes, ReadOnlyMemory<byte> Bodies, QueueCapture Queue,
    CheckpointExtra Extra);

/// <summary>A mailbox as a checkpoint will say. A value.</summary>
internal readonly record struct CapturedMaildrop(ulong MailboxId, MaildropState State);

/// <summary>A section of the manifest that the checkpoint carries for others. A value.</summary>
/// <param name="Version">Of their format; 0 for nothing.</param>
/// <param name="Bytes">Theirs.</param>
internal readonly record struct CheckpointExtra(uint Version, ReadOnlyMemory<byte> Bytes);
