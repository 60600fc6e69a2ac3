using System.Buffers.Binary;
using FastMail.Net;
using FastMail.Server.Queue;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Relay;

/// <summary>Where a mistake of ours may happen on the way of a message.</summary>
internal enum DeliveryStep
{
    /// <summary>A recipient is parted from the others.</summary>
    Splitting,

    /// <summary>A recipient's way is looked for.</summary>
    Routing,

    /// <summary>A connection speaks with its host about the message.</summary>
    Sending,

    /// <summary>It is written down how a recipient ended.</summary>
    Settling,

    /// <summary>A copy for a mailbox of this server is made.</summary>
    Storing,

    /// <summary>A notification is written.</summary>
    Telling,
}

/// <summary>
/// Takes mail that is durable to its next hops, again and again until each recipient has come to an end, and tells the
/// senders. What it knows it can always read anew from the log, so a crash costs attempts and nothing else. Owned by the
/// server; loop thread only, but where it says otherwise.
/// </summary>
internal sealed partial class DeliveryEngine : ILoopWork, IRouteAsker
{
    private const int RoutedPerTurn = 256; // then the sessions get their turn
    private const int RecoveredPerPage = 4096;

    private static readonly TimeSpan LongestSleep = TimeSpan.FromMinutes(1);

    private readonly DeliveryParts _parts;
    private readonly DeliverySchedule _schedule;
    private readonly OutcomeWriter _outcomes;
    private readonly LoopTimer _timer;
    private readonly Dictionary<long, Consignment> _routing = [];
    private HashSet<Destination> _fresh = []; // something became ready for them in this round
    private readonly Action<Consignment> _take;
    private readonly Action<Consignment> _copyHere;
    private readonly List<(Consignment Part, Range Path, bool IsHere)> _split = []; // for the time of a call
    private byte[] _meta = new byte[1024];
    private long _lastQuestion;
    private bool _isPumpPosted;

    public DeliveryEngine(DeliveryParts parts)
    {
        _parts = parts;
        _schedule = new DeliverySchedule(parts.Schedule, parts.Clock, parts.Random);
        _outcomes = new OutcomeWriter(parts.Log, parts.Loop, parts.Logger, parts.Options.MostUndurable / 2);
        _outcomes.Progressed += OutcomesProgressed;
        _timer = new LoopTimer(this);
        _take = Take;
        _copyHere = CopyHere;
    }

    public EventLoop Loop => _parts.Loop;

    public MailLog Log => _parts.Log;

    public Random Random => _parts.Random;

    public InHand InHand => _parts.InHand;

    /// <summary>Stands for a mistake of ours in tests: throws. Sees each step with the number of its message.</summary>
    public Action<DeliveryStep, ulong>? Fault { get; set; }

    /// <summary>
    /// Takes up what the log says is queued; before the first message comes in, on the thread that starts the server.
    /// </summary>
    public void Start()
    {
        List<QueuedRecipient> page = [];
        long wall = Receive.Intake.Micros(_parts.Clock.GetUtcNow());
        ulong from = 0;
        do
        {
            page.Clear();
            from = Log.Queue.ReadPage(from, page, RecoveredPerPage);
            Consignment? last = null;
            foreach (QueuedRecipient queued in page)
            {
                last = Recover(queued, last, wall);
            }
        }
        while (from != 0);

        InHand.BeginMarking();
        if (_schedule.Waiting > 0)
        {
            _parts.Logger.LogInformation("queue: {Count} recipients are waiting", Log.Queue.Recipients);
            Pump();
        }
    }

    /// <summary>A message with these recipients, in the order of their numbers, is durable.</summary>
    /// <param name="seq">Its number in the log.</param>
    /// <param name="paths">Of the recipients; not kept.</param>
    /// <param name="sender">The same for all mail of one sender; of what is held, as <see cref="SubmitterOf"/> says.</param>
    /// <param name="priority">MT-PRIORITY.</param>
    /// <param name="hold">It is not to go before that.</param>
    public void Enter(ulong seq, ForwardPaths paths, uint sender, int priority, TimeSpan hold = default)
    {
        uint number = 0;
        Consignment? last = null;
        for (ForwardPaths.Enumerator path = paths.GetEnumerator(); path.MoveNext();)
        {
            Consignment consignment = _schedule.Make(seq, number++);
            consignment.Sender = sender;
            if (hold > TimeSpan.Zero)
            {
                last = Await(consignment, last, HeldUntil(Micros(hold)), isHeld: true);
                continue;
            }

            consignment.Priority = (sbyte)priority;
            Begin(consignment, path.Current, path.IsHere);
        }

        Pump();
    }

    /// <summary>The same for mail of one sender, for fairness.</summary>
    public static uint SenderOf(ReadOnlySpan<byte> identity)
    {
        uint hash = 2166136261; // FNV-1a; who finds two senders that are alike gains a place in the line of one of them
        foreach (byte octet in identity)
        {
            hash = (hash ^ octet) * 16777619;
        }

        return hash;
    }

    /// <summary>One round: what is due is routed, what is ready finds a connection.</summary>
    public void Run()
    {
        _isPumpPosted = false;
        if (IsStopping)
        {
            return;
        }

        int routed = 0;
        while (routed < RoutedPerTurn && _schedule.TakeDue() is { } consignment)
        {
            routed++;
            Guard(consignment, _take);
        }

        GoHome();
        bool isMore = EndWayless();
        Wake();
        if (routed == RoutedPerTurn || isMore)
        {
            Pump();
            return;
        }

        if (_schedule.NextDue is { } due)
        {
            TimeSpan left = TimeSpan.FromMicroseconds(Math.Max(0, due - _schedule.Now));
            Loop.Arm(_timer, left < LongestSleep ? left : LongestSleep);
        }
    }

    /// <summary>The router has decided.</summary>
    public void Found(long number, Route route)
    {
        if (_routing.Remove(number, out Consignment? consignment))
        {
            Guard(consignment, c => Place(c, route));
            Pump();
        }
        else if (_renewing.Remove(number, out Destination? destination))
        {
            TakeRoute(destination, route);
        }
    }

    /// <summary>A round is due, behind what else is ready now.</summary>
    private void Pump()
    {
        if (!_isPumpPosted)
        {
            _isPumpPosted = true;
            Loop.Post(this);
        }
    }

    /// <summary>A new recipient; what goes wrong with it is no matter of who has brought it.</summary>
    private void Begin(Consignment consignment, ReadOnlySpan<byte> path, bool isHere)
    {
        int inHand = InHand.Take(consignment.Seq);
        try
        {
            Route(consignment, path, isHere);
        }
        catch (Exception exception)
        {
            Failed(consignment, exception);
        }
        finally
        {
            InHand.PutDown(inHand);
        }
    }

    private Consignment? Recover(in QueuedRecipient queued, Consignment? last, long wall)
    {
        if (queued.State == QueueState.Held)
        {
            InHand.Forget(queued.Seq);
            return last; // until an operator says otherwise
        }

        Consignment consignment = _schedule.Make(queued.Seq, queued.Recipient);
        consignment.Attempts = (ushort)queued.Attempts;
        consignment.Faults = (byte)Math.Min(InHand.DeathsWith(queued.Seq), MostFaults); // it travels alone, if at all
        consignment.IsDelayTold = queued.IsDelayTold;
        consignment.IsStale = !queued.ForwardPath.IsEmpty;
        long wait = Math.Max(0, queued.DueMicros - wall);
        bool isHeld = queued.IsHeldBySender(wall);
        if (isHeld)
        {
            consignment.Sender = last is { Stage: Stage.Held } && last.Seq == queued.Seq ? last.Sender : ReadSubmitter(queued.Seq);
        }
        else
        {
            wait = Math.Min(wait, Micros(_parts.Schedule.RetryMax * 1.25)); // the wall clock may have been set meanwhile
        }

        return Await(consignment, last, isHeld ? HeldUntil(wait) : _schedule.Now + wait, isHeld);
    }

    /// <summary>It waits until then, together with the last one of its message if that may be. Returns which waits.</summary>
    private Consignment Await(Consignment consignment, Consignment? last, long due, bool isHeld)
    {
        Stage stage = isHeld ? Stage.Held : Stage.Waiting;
        if (last is not null && last.Stage == stage && !last.IsStale && !consignment.IsStale
            && Math.Abs(last.Due - due) < 1_000_000 && last.MayTravelWith(consignment, _parts.Schedule.Recipients))
        {
            _schedule.WaitWith(last, consignment);
            return last;
        }

        _schedule.Wait(consignment, due, isHeld);
        return consignment;
    }

    private static long Micros(TimeSpan time) => time.Ticks / TimeSpan.TicksPerMicrosecond;

    /// <summary>Its time has come: each of its recipients is routed anew, for the world may have changed.</summary>
    private void Take(Consignment consignment)
    {
        bool wasHeld = consignment.Stage == Stage.Held;
        consignment.Stage = Stage.New;
        if (wasHeld && IsStillHeld(consignment))
        {
            return;
        }

        if (consignment.Faults >= MostFaults)
        {
            Hold(consignment, "5.3.0 held: the program has died with it in hand, again and again"u8.ToArray());
            return;
        }

        if (consignment.IsStale)
        {
            TakeRedirected(consignment);
            return;
        }

        if (!Log.TryReadQueuedMeta(consignment.Seq, ref _meta, out int length))
        {
            TakeUnreadable(consignment);
            return;
        }

        ReadOnlySpan<byte> meta = _meta.AsSpan(0, length);
        ReadScheduling(consignment, meta);
        Split(consignment, meta);
        if (consignment.Count == 1)
        {
            Route(consignment, meta[_split[0].Path], _split[0].IsHere);
            return;
        }

        // Here nobody is in two consignments: a mistake before this costs the whole an attempt, one behind it a part.
        _schedule.Free(consignment);
        foreach ((Consignment part, Range path, bool isHere) in _split)
        {
            Begin(part, meta[path], isHere);
        }
    }

    /// <summary>Each recipient by itself, with the place of its path; one that is alone stays in its consignment.</summary>
    private void Split(Consignment consignment, ReadOnlySpan<byte> meta)
    {
        _split.Clear();
        int position = 0;
        bool isOneOfThem = false; // whom the fields are about
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            int path = position + MetaReader.FieldHeaderBytes + sizeof(uint);
            position += MetaReader.FieldHeaderBytes + reader.Value.Length;
            if (reader.Type is MetaType.Stored or MetaType.Maildrop && isOneOfThem)
            {
                _split[^1] = _split[^1] with { IsHere = true };
            }

            if (reader.Type != MetaType.RelayRecipient)
            {
                continue;
            }

            if (_split.Count == consignment.Count)
            {
                break;
            }

            uint number = BinaryPrimitives.ReadUInt32LittleEndian(reader.Value);
            isOneOfThem = consignment.Contains(number);
            if (isOneOfThem)
            {
                Fault?.Invoke(DeliveryStep.Splitting, consignment.Seq);
                _split.Add((consignment.Count == 1 ? consignment : PartOf(consignment, number), path..position, false));
            }
        }

        if (_split.Count < consignment.Count)
        {
            throw new InvalidOperationException($"message {consignment.Seq} does not name all of its queued recipients");
        }
    }

    /// <summary>One recipient by itself; those of one destination find together again when they are ready.</summary>
    private Consignment PartOf(Consignment consignment, uint recipient)
    {
        Consignment part = _schedule.Make(consignment.Seq, recipient);
        part.Sender = consignment.Sender;
        part.Priority = consignment.Priority;
        part.Attempts = consignment.Attempts;
        part.IsDelayTold = consignment.IsDelayTold;
        part.IsStale = consignment.IsStale;
        part.Faults = consignment.Faults;
        return part;
    }

    private void TakeRedirected(Consignment consignment)
    {
        Delivery delivery = RentDelivery();
        if (!TryLoad(delivery, consignment))
        {
            return;
        }

        try
        {
            consignment.Sender = SenderOf(delivery.AuthIdentity.IsEmpty ? delivery.ReversePath.Span : delivery.AuthIdentity.Span);
            consignment.Priority = (sbyte)delivery.Priority;
            _split.Clear();
            for (int i = 0; i < delivery.Recipients; i++)
            {
                Fault?.Invoke(DeliveryStep.Splitting, consignment.Seq);
                _split.Add((PartOf(consignment, consignment[i]), default, delivery[i].IsHere));
            }

            _schedule.Free(consignment);
            for (int i = 0; i < delivery.Recipients; i++)
            {
                Begin(_split[i].Part, delivery[i].Path.Span, _split[i].IsHere);
            }
        }
        finally
        {
            ReturnDelivery(delivery);
        }
    }

    /// <summary>It has ended meanwhile, or its record has decayed.</summary>
    private void TakeUnreadable(Consignment consignment)
    {
        Delivery delivery = RentDelivery();
        if (TryLoad(delivery, consignment))
        {
            ReturnDelivery(delivery); // it can be read after all
            Defer(consignment);
        }
    }

    private static void ReadScheduling(Consignment consignment, ReadOnlySpan<byte> meta)
    {
        ReadOnlySpan<byte> identity = default;
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            if (reader.Type == MetaType.Priority)
            {
                consignment.Priority = (sbyte)reader.Value[0];
            }
            else if (reader.Type == MetaType.AuthIdentity || (reader.Type == MetaType.ReversePath && identity.IsEmpty))
            {
                identity = reader.Value;
            }
        }

        consignment.Sender = SenderOf(identity);
    }

    private void Route(Consignment consignment, ReadOnlySpan<byte> path, bool isHere)
    {
        consignment.Stage = Stage.Routing;
        Fault?.Invoke(DeliveryStep.Routing, consignment.Seq);
        if (isHere)
        {
            DeliverHere(consignment); // whatever its address would lead to
        }
        else if (_parts.Router.Find(path, this, ++_lastQuestion) is { } route)
        {
            Place(consignment, route);
        }
        else
        {
            _routing.Add(_lastQuestion, consignment);
        }
    }

    private void Place(Consignment consignment, Route route)
    {
        switch (route.Kind)
        {
            case RouteKind.Remote:
                Destination destination = _schedule.Find(route.Destination);
                destination.Route = route;
                _schedule.MakeReady(consignment, destination); // those of one message meet there, also when it is closed
                (destination.IsClosed ? _closed : _fresh).Add(destination);
                break;
            case RouteKind.Local:
                DeliverHere(consignment);
                break;
            default:
                Gather(consignment, route);
                break;
        }
    }
}
