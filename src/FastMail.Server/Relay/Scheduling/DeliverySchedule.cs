using System.Diagnostics.CodeAnalysis;

namespace FastMail.Server.Relay.Scheduling;

/// <summary>
/// When which mail goes where: the due-index, the destinations with their ready queues, and who may open a connection.
/// Knows no socket, log or name server; time and chance are handed in. Owned by the <see cref="DeliveryEngine"/>; loop
/// thread only.
/// </summary>
internal sealed class DeliverySchedule
{
    private const int KeptFree = 4096;
    private const int QuietDestinations = 256; // so many unused ones are kept without a look
    private const long UnusedMicros = 600_000_000;
    private const long AgainMicros = 1_000_000;

    private readonly ScheduleOptions _options;
    private readonly TimeProvider _clock;
    private readonly Random _random;
    private readonly long _started;
    private readonly int _leastAttempts;
    private readonly DueIndex _due = new();
    private readonly Dictionary<string, Destination> _destinations = new(StringComparer.Ordinal);
    private readonly Queue<Destination> _line = new(); // those that want one more connection
    private readonly PriorityQueue<Destination, long> _wakes = new(); // closed or rate-limited until then
    private readonly Stack<Consignment> _free = new();
    private readonly Dictionary<uint, int> _held = []; // recipients by sender
    private readonly List<Consignment> _found = [];
    private long _sweepAt;

    public DeliverySchedule(ScheduleOptions options, TimeProvider clock, Random random)
    {
        _options = options;
        _clock = clock;
        _random = random;
        _started = clock.GetTimestamp();
        _leastAttempts = options.LeastAttempts;
    }

    public ScheduleOptions Options => _options;

    /// <summary>Microseconds since the schedule was made, monotonic.</summary>
    public long Now => (long)(_clock.GetElapsedTime(_started).Ticks / TimeSpan.TicksPerMicrosecond);

    /// <summary>Connections that are open or being opened, to all destinations.</summary>
    public int Connections { get; private set; }

    /// <summary>Consignments in the due-index.</summary>
    public int Waiting => _due.Count;

    /// <summary>How often all that waits was looked at because something of it was to be due.</summary>
    public long Walks { get; private set; }

    public IReadOnlyCollection<Destination> Destinations => _destinations.Values;

    /// <summary>Some destination would open a connection, and there are too many already.</summary>
    public bool IsShort => _line.Count > 0 && Connections >= _options.Connections;

    /// <summary>Some destination would open a connection, and may.</summary>
    public bool MayOpen => _line.Count > 0 && Connections < _options.Connections;

    /// <summary>When something becomes due, microseconds; null when nothing ever will.</summary>
    public long? NextDue
    {
        get
        {
            long next = _due.First?.Due ?? long.MaxValue;
            if (_wakes.TryPeek(out _, out long wake))
            {
                next = Math.Min(next, wake);
            }

            return next == long.MaxValue ? null : next;
        }
    }

    public Consignment Make(ulong seq, uint recipient)
    {
        Consignment consignment = _free.TryPop(out Consignment? free) ? free : new Consignment();
        consignment.Begin(seq, recipient);
        return consignment;
    }

    /// <summary>Nobody needs it any more.</summary>
    public void Free(Consignment consignment)
    {
        consignment.Begin(0, 0);
        consignment.Stage = Stage.Free;
        if (_free.Count < KeptFree)
        {
            _free.Push(consignment);
        }
    }

    /// <summary>It is due at that time, microseconds of <see cref="Now"/>.</summary>
    /// <param name="consignment">In nobody's list.</param>
    /// <param name="due">When.</param>
    /// <param name="isHeld">Nothing but its time or an operator makes it due: its sender holds it back.</param>
    public void Wait(Consignment consignment, long due, bool isHeld = false)
    {
        consignment.Due = due;
        consignment.Stage = isHeld ? Stage.Held : Stage.Waiting;
        _due.Add(consignment);
        CountHeld(consignment, consignment.Count);
    }

    /// <summary>One that is new waits together with another of its message.</summary>
    public void WaitWith(Consignment waiting, Consignment other)
    {
        waiting.Add(other);
        CountHeld(waiting, other.Count);
        Free(other);
    }

    /// <summary>Recipients whose mail that sender has held back.</summary>
    public int HeldOf(uint sender) => _held.GetValueOrDefault(sender);

    /// <summary>
    /// Its attempt has failed for now: it waits, longer each time. Returns how long, so that the log can be told.
    /// </summary>
    /// <param name="consignment">In nobody's list.</param>
    /// <param name="most">It must be looked at again by then; microseconds.</param>
    public TimeSpan Defer(Consignment consignment, long most = long.MaxValue)
    {
        consignment.Attempts = (ushort)Math.Min(consignment.Attempts + 1, ushort.MaxValue);
        TimeSpan delay = _options.DelayAfter(consignment.Attempts) * (0.75 + (_random.NextDouble() / 2));
        long now = Now;
        long due = Math.Min(now + (delay.Ticks / TimeSpan.TicksPerMicrosecond), Math.Max(most, now));
        Wait(consignment, due);
        return TimeSpan.FromMicroseconds(due - now);
    }

    /// <summary>The same for one whose destination is closed: it goes as soon as that answers again.</summary>
    public TimeSpan Park(Consignment consignment, Destination destination, long most = long.MaxValue)
    {
        consignment.Destination = destination;
        consignment.IsParked = true;
        destination.Parked++;
        destination.IsParkedAsleep = true;
        return Defer(consignment, most);
    }

    /// <summary>
    /// Mail of that age has had its time. The number of attempts counts too: the wall clock may have jumped.
    /// </summary>
    public bool IsOver(TimeSpan age, int attempts) => age >= _options.Lifetime && attempts >= _leastAttempts;

    /// <summary>
    /// The next one that is due, out of the index; null when there is none. Its stage says whether its sender held it back.
    /// </summary>
    public Consignment? TakeDue()
    {
        if (_due.First is not { } first || first.Due > Now)
        {
            return null;
        }

        bool wasHeld = first.Stage == Stage.Held;
        Remove(first);
        first.Stage = wasHeld ? Stage.Held : Stage.New;
        return first;
    }

    /// <summary>Takes one that waits out of the index.</summary>
    public void Remove(Consignment consignment)
    {
        _due.Remove(consignment);
        CountHeld(consignment, -consignment.Count);
        consignment.Stage = Stage.New;
        if (consignment.IsParked)
        {
            consignment.IsParked = false;
            consignment.Destination!.Parked--;
            consignment.Destination = null;
        }
    }

    /// <summary>All that wait and are chosen become due now; never what a sender holds back.</summary>
    public int Hasten(Func<Consignment, bool> isChosen)
    {
        long now = Now;
        Walks++;
        _found.Clear();
        foreach (Consignment consignment in _due.All)
        {
            if (consignment.Due > now && consignment.Stage != Stage.Held && isChosen(consignment))
            {
                _found.Add(consignment);
            }
        }

        foreach (Consignment consignment in _found)
        {
            consignment.Due = now;
            _due.Move(consignment);
        }

        int count = _found.Count;
        _found.Clear();
        return count;
    }

    /// <summary>
    /// Somebody says that a destination is there again. If it did not answer, one connection is tried now, and what was
    /// parked for it goes when that is open; otherwise all that waits for it is due. Returns how many wait.
    /// </summary>
    /// <param name="key">Its own.</param>
    /// <param name="leadsThere">Asked about what waits and has found no destination yet.</param>
    public int TryNow(string key, Func<Consignment, bool> leadsThere)
    {
        if (!TryFind(key, out Destination? destination) || !destination.IsClosed)
        {
            return Hasten(consignment =>
                consignment.Destination is { } known ? known.Key == key : leadsThere(consignment));
        }

        destination.EndRest(Now);
        _wakes.Enqueue(destination, destination.ClosedUntil);
        return destination.Parked + destination.Ready.Consignments;
    }

    /// <summary>Those that wait and are chosen; a copy.</summary>
    public void FindWaiting(Func<Consignment, bool> isChosen, List<Consignment> found)
    {
        foreach (Consignment consignment in _due.All)
        {
            if (isChosen(consignment))
            {
                found.Add(consignment);
            }
        }
    }

    public Destination Find(string key)
    {
        if (!_destinations.TryGetValue(key, out Destination? destination))
        {
            destination = new Destination(key, _options, Now);
            _destinations.Add(key, destination);
            Sweep();
        }

        return destination;
    }

    public bool TryFind(string key, [NotNullWhen(true)] out Destination? destination) =>
        _destinations.TryGetValue(key, out destination);

    /// <summary>
    /// Its destination is known: it waits for a connection. The caller takes it out again and parks it when that is closed.
    /// </summary>
    public void MakeReady(Consignment consignment, Destination destination)
    {
        consignment.Destination = destination;
        consignment.Stage = Stage.Ready;
        destination.UsedAt = Now;
        if (destination.Ready.Add(consignment, _options.Recipients))
        {
            Free(consignment);
        }

        StandInLine(destination);
    }

    /// <summary>It was taken and could not go yet; now it can, and is the next. The destination is not closed.</summary>
    public void PutBack(Consignment consignment, Destination destination)
    {
        consignment.Stage = Stage.Ready;
        destination.UsedAt = Now;
        destination.Ready.PutBack(consignment);
        StandInLine(destination);
    }

    /// <summary>
    /// The next work for a connection to that destination; null when there is none or its rate is used up. The caller
    /// brings it back by <see cref="Free"/>, <see cref="Defer"/>, <see cref="PutBack"/> or <see cref="MakeReady"/>.
    /// </summary>
    public Consignment? Take(Destination destination)
    {
        if (destination.Ready.Consignments == 0)
        {
            return null;
        }

        // What was put back has had its token, and was not sent with it.
        if (!destination.Ready.IsNextPutBack && !destination.TryTakeToken(Now))
        {
            AwaitToken(destination);
            return null;
        }

        Consignment consignment = destination.Ready.Take()!;
        consignment.Stage = Stage.Sending;
        return consignment;
    }

    /// <summary>A connection should give way to a destination that has none.</summary>
    public bool MustYield(Destination destination) =>
        IsShort && destination.Connections > 1 && _line.Peek().Connections < destination.Connections;

    /// <summary>The next destination to open a connection to; it is counted from now on.</summary>
    public Destination? TakeOpening()
    {
        while (Connections < _options.Connections && _line.TryDequeue(out Destination? destination))
        {
            destination.IsInLine = false;
            if (!MayUseAnother(destination))
            {
                continue;
            }

            BeginOpening(destination);
            StandInLine(destination); // behind the others
            return destination;
        }

        return null;
    }

    /// <summary>The next destination whose time of silence is over; null when there is none.</summary>
    /// <param name="isProbe">
    /// It did not answer, and one connection is to be tried, which is counted from now on. Otherwise its rate allows more:
    /// a connection that rests may go on.
    /// </param>
    public Destination? TakeAwake(out bool isProbe)
    {
        isProbe = false;
        long now = Now;
        while (_wakes.TryPeek(out Destination? destination, out long wake) && wake <= now)
        {
            _wakes.Dequeue();
            destination.AwaitsToken &= wake != destination.TokenAt;
            if (destination.IsClosed && destination.ClosedUntil > now)
            {
                continue; // it was closed again meanwhile, and stands further behind too
            }

            if (!destination.IsClosed || destination.Connections > 0 || destination.Parked == 0)
            {
                destination.Answers(); // nobody waits for it: the next mail will see
                StandInLine(destination);
                return destination;
            }

            if (Connections >= _options.Connections)
            {
                _wakes.Enqueue(destination, now + AgainMicros);
                continue;
            }

            isProbe = true;
            BeginOpening(destination);
            return destination;
        }

        return null;
    }

    /// <summary>A connection is open, and answers as it should. What was parked for the destination is due.</summary>
    public void Opened(Destination destination)
    {
        destination.Opening--;
        Answers(destination);
    }

    /// <summary>An open connection is no more.</summary>
    public void Closed(Destination destination)
    {
        destination.Connections--;
        Connections--;
        destination.UsedAt = Now;
        StandInLine(destination);
    }

    /// <summary>An attempt to open one has ended without. True when the destination is closed from now on.</summary>
    public bool OpeningFailed(Destination destination, int epoch, string why)
    {
        destination.Opening--;
        Closed(destination);
        return Fails(destination, epoch, why);
    }

    /// <summary>
    /// It did not do what a working host does. True when it is closed from now on: then the caller takes what is ready
    /// for it and parks it.
    /// </summary>
    public bool Fails(Destination destination, int epoch, string why)
    {
        destination.LastFailure = why;
        bool isAnswering = destination.Connections - destination.Opening > 0;
        bool isClosed = destination.Fails(epoch, isAnswering, Now, 0.5 + (_random.NextDouble() / 2));
        if (isClosed)
        {
            _wakes.Enqueue(destination, destination.ClosedUntil);
        }

        return isClosed;
    }

    /// <summary>A host took or refused a message as a working one does.</summary>
    /// <param name="destination">Where that was.</param>
    /// <param name="isForGood">Of at least one recipient, and not only for now.</param>
    public void Works(Destination destination, bool isForGood)
    {
        destination.Works(isForGood);
        if (destination.IsClosed || destination.IsParkedAsleep)
        {
            Answers(destination);
        }
        else
        {
            StandInLine(destination);
        }
    }

    /// <summary>What is ready for a destination that is closed; null when nothing is left.</summary>
    public Consignment? TakeFromClosed(Destination destination)
    {
        Consignment? consignment = destination.Ready.Take();
        if (consignment is not null)
        {
            consignment.Stage = Stage.New;
        }

        return consignment;
    }

    private void CountHeld(Consignment consignment, int recipients)
    {
        if (consignment.Stage != Stage.Held)
        {
            return;
        }

        int held = HeldOf(consignment.Sender) + recipients;
        if (held > 0)
        {
            _held[consignment.Sender] = held;
        }
        else
        {
            _held.Remove(consignment.Sender);
        }
    }

    private void Answers(Destination destination)
    {
        destination.Answers();
        if (destination.IsParkedAsleep)
        {
            destination.IsParkedAsleep = false;
            Hasten(consignment => consignment.IsParked && ReferenceEquals(consignment.Destination, destination));
        }

        StandInLine(destination);
    }

    private void BeginOpening(Destination destination)
    {
        destination.Connections++;
        destination.Opening++;
        Connections++;
    }

    private void StandInLine(Destination destination)
    {
        if (!destination.IsInLine && MayUseAnother(destination))
        {
            destination.IsInLine = true;
            _line.Enqueue(destination);
        }
    }

    /// <summary>One more connection would have something to do now; when only the rate forbids it, that wakes it later.</summary>
    private bool MayUseAnother(Destination destination)
    {
        if (!destination.WantsConnection)
        {
            return false;
        }

        bool isAllowed = !destination.HasRate || destination.MayGo(Now) > destination.Idle + destination.Opening;
        if (!isAllowed && destination.MayGo(Now) == 0)
        {
            AwaitToken(destination);
        }

        return isAllowed;
    }

    /// <summary>It is asked again when its rate allows more; it waits for that in one place.</summary>
    private void AwaitToken(Destination destination)
    {
        if (!destination.AwaitsToken)
        {
            destination.AwaitsToken = true;
            destination.TokenAt = destination.NextToken(Now);
            _wakes.Enqueue(destination, destination.TokenAt);
        }
    }

    /// <summary>Forgets destinations that nobody has used for long; at most once a minute.</summary>
    private void Sweep()
    {
        long now = Now;
        if (_destinations.Count < QuietDestinations || now < _sweepAt)
        {
            return;
        }

        _sweepAt = now + (UnusedMicros / 10);
        foreach (Destination destination in _destinations.Values)
        {
            if (destination.IsUnused && destination.UsedAt + UnusedMicros < now)
            {
                _destinations.Remove(destination.Key); // allowed while enumerating since .NET Core 3
            }
        }
    }
}
