namespace FastMail.Server.Relay.Scheduling;

/// <summary>What becomes of a consignment next.</summary>
internal enum Stage : byte
{
    /// <summary>Made, and in nobody's list.</summary>
    New,

    /// <summary>In the due-index.</summary>
    Waiting,

    /// <summary>The same, and it may not go before: its sender holds it back until then.</summary>
    Held,

    /// <summary>Its destination is being looked for.</summary>
    Routing,

    /// <summary>In a ready queue of its destination.</summary>
    Ready,

    /// <summary>Lent to a connection.</summary>
    Sending,

    /// <summary>Its end is being written to the log.</summary>
    Ending,

    /// <summary>Nobody's: all of its recipients have ended, or others speak for them.</summary>
    Free,
}

/// <summary>
/// Recipients of one message that travel together: to one destination, due at one time. This is all the engine keeps of
/// them; envelope and content stay in the log. Pooled by <see cref="DeliverySchedule"/>, which owns it but for the time
/// that it is lent to a connection; loop thread only.
/// </summary>
/// <remarks>88 octets with its header, and 8 in the due-index: a million of them are 96 MB.</remarks>
internal sealed class Consignment
{
    private uint _first;
    private uint[]? _all; // when there are several

    /// <summary>The message's number in the log.</summary>
    public ulong Seq { get; set; }

    /// <summary>When it is due, microseconds of the schedule's clock.</summary>
    public long Due { get; set; }

    public Destination? Destination { get; set; }

    /// <summary>The one behind it in its ready queue.</summary>
    public Consignment? Next { get; set; }

    /// <summary>Place in the due-index.</summary>
    public int Place { get; set; }

    public int Count { get; private set; }

    /// <summary>Whose mail it is, for fairness: a hash of who sent it.</summary>
    public uint Sender { get; set; }

    /// <summary>Attempts that have failed.</summary>
    public ushort Attempts { get; set; }

    /// <summary>MT-PRIORITY, -9 to 9.</summary>
    public sbyte Priority { get; set; }

    public Stage Stage { get; set; }

    /// <summary>The sender has been told of the delay.</summary>
    public bool IsDelayTold { get; set; }

    /// <summary>It waits because its destination does not answer, and goes when that does.</summary>
    public bool IsParked { get; set; }

    /// <summary>Attempts that ended with a mistake of ours.</summary>
    public byte Faults { get; set; }

    /// <summary>An operator has changed one of its recipients meanwhile: look into the log before it is sent or deferred.</summary>
    public bool IsStale { get; set; }

    public uint this[int index] => _all is null ? _first : _all[index];

    public void Begin(ulong seq, uint recipient)
    {
        Seq = seq;
        _first = recipient;
        _all = null;
        Count = 1;
        Due = 0;
        Destination = null;
        Next = null;
        Sender = 0;
        Attempts = 0;
        Priority = 0;
        Stage = Stage.New;
        IsDelayTold = false;
        IsParked = false;
        IsStale = false;
        Faults = 0;
    }

    /// <summary>Takes the recipients of another consignment of the same message in; they stay in ascending order.</summary>
    public void Add(Consignment other)
    {
        if (_all is null || Count + other.Count > _all.Length)
        {
            var all = new uint[Math.Max(4, (Count + other.Count) * 2)];
            for (int i = 0; i < Count; i++)
            {
                all[i] = this[i];
            }

            _all = all;
        }

        IsStale |= other.IsStale;
        bool isInOrder = this[Count - 1] < other[0];
        for (int i = 0; i < other.Count; i++)
        {
            _all[Count++] = other[i];
        }

        if (!isInOrder)
        {
            Array.Sort(_all, 0, Count); // they were due in another order
        }
    }

    /// <summary>Keeps only those recipients whose place is marked, in their order.</summary>
    public void Keep(ReadOnlySpan<bool> isKept)
    {
        int kept = 0;
        for (int i = 0; i < Count; i++)
        {
            if (!isKept[i])
            {
                continue;
            }

            if (_all is not null)
            {
                _all[kept] = _all[i];
            }

            kept++;
        }

        Count = kept;
    }

    /// <summary>Keeps only the first ones.</summary>
    public void Cut(int count) => Count = count;

    public bool Contains(uint recipient) => PlaceOf(recipient) >= 0;

    /// <summary>Where a recipient is among these; negative when it is none of them.</summary>
    public int PlaceOf(uint recipient) =>
        _all is not null ? Array.BinarySearch(_all, 0, Count, recipient)
        : Count > 0 && _first == recipient ? 0
        : -1;

    public bool MayTravelWith(Consignment other, int mostRecipients) =>
        other.Seq == Seq && other.Attempts == Attempts && other.Faults == Faults && other.Priority == Priority
        && other.IsDelayTold == IsDelayTold && other.Count + Count <= mostRecipients;
}
