using FastMail.Server.Queue;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <content>What an operator does with the queue. The public methods come from any thread and work on the loop.</content>
internal sealed partial class DeliveryEngine : IQueueControl
{
    private readonly List<QueuedRecipient> _known = []; // for the time of a call
    private readonly List<Consignment> _found = [];
    private List<Task>? _words; // for the time of a call: notifications that it leads to

    public async Task<QueueActionResult> ApplyAsync(
        QueueAction action, IReadOnlyList<(ulong Seq, uint Recipient)> recipients, QueueActionOptions options, CancellationToken token)
    {
        token.ThrowIfCancellationRequested(); // and not later: what was taken out must find its way back
        List<Consignment> again = [];
        List<Consignment> held = [];
        (QueueActionResult result, Task durable) = await OnLoopAsync(() => Apply(action, recipients, options, again, held));
        try
        {
            await durable;
        }
        catch (IOException)
        {
            await OnLoopAsync(() => PutBack(again, held));
            throw;
        }

        if (again.Count > 0)
        {
            await OnLoopAsync(() => Wait(again)); // only now: where they go is read from the log
        }

        return result;
    }

    public Task<IReadOnlyList<QueueDestination>> ReadDestinationsAsync(CancellationToken token) =>
        OnLoopAsync<IReadOnlyList<QueueDestination>>(() => [.. _schedule.Destinations.Where(d => !d.IsUnused).Select(Show)])
            .WaitAsync(token);

    public Task<QueueTotals?> ReadTotalsAsync(CancellationToken token) =>
        OnLoopAsync<QueueTotals?>(() => new(_delivered, _deferred, _failed, _inDoubt, _noticesSent)).WaitAsync(token);

    public Task<QueuePlace?> FindPlaceAsync(ulong seq, uint recipient, CancellationToken token) =>
        OnLoopAsync(() => PlaceOf(seq, recipient)).WaitAsync(token);

    public Task EnterAsync(ulong seq, CancellationToken token) => OnLoopAsync(
        () =>
        {
            _ = Log.Queue.TryFind(seq, out _, _known);
            List<Consignment> entered = _known.ConvertAll(known => _schedule.Make(seq, known.Recipient));
            _known.Clear();
            return Wait(entered);
        });

    private Task<T> OnLoopAsync<T>(Func<T> work)
    {
        var done = new TaskCompletionSource<T>(TaskCreationOptions.RunContinuationsAsynchronously);
        Loop.Post(new Step(() =>
        {
            try
            {
                done.SetResult(work());
            }
            catch (Exception exception)
            {
                done.SetException(exception); // to whoever asked: the loop goes on
            }
        }));
        return done.Task;
    }

    /// <summary>They are due, now or when their senders want them to be.</summary>
    private bool Wait(List<Consignment> consignments)
    {
        foreach (Consignment consignment in consignments)
        {
            bool isHeld = consignment.Stage == Stage.Held;
            _schedule.Wait(consignment, isHeld ? consignment.Due : _schedule.Now, isHeld);
        }

        Pump();
        return true;
    }

    /// <summary>The log has not taken the change: they wait as they did before.</summary>
    private bool PutBack(List<Consignment> again, List<Consignment> held)
    {
        long wall = Receive.Intake.Micros(Now);
        foreach (Consignment consignment in again.Concat(held))
        {
            _ = Log.Queue.TryFind(consignment.Seq, out _, _known);
            QueuedRecipient known = _known.Find(k => k.Recipient == consignment[0]);
            bool isHeld = known.IsHeldBySender(wall);
            long due = isHeld ? HeldUntil(known.DueMicros - wall) : Math.Max(consignment.Due, _schedule.Now);
            _schedule.Wait(consignment, due, isHeld);
        }

        _known.Clear();
        Pump();
        return true;
    }

    private (QueueActionResult Result, Task Durable) Apply(
        QueueAction action,
        IReadOnlyList<(ulong Seq, uint Recipient)> recipients,
        QueueActionOptions options,
        List<Consignment> again,
        List<Consignment> held)
    {
        QueueActionResult result = QueueActionResult.None;
        var wanted = new Dictionary<ulong, HashSet<uint>>();
        foreach ((ulong seq, uint recipient) in recipients)
        {
            if (!wanted.TryGetValue(seq, out HashSet<uint>? numbers))
            {
                wanted.Add(seq, numbers = []);
            }

            numbers.Add(recipient);
        }

        long wall = Receive.Intake.Micros(Now);
        Dictionary<(ulong, uint), Consignment> parts = TakeOut(Treatable(action, wanted, wall));
        List<Task> durable = [];
        _words = durable;
        try
        {
            foreach ((ulong seq, HashSet<uint> numbers) in wanted)
            {
                _ = Log.Queue.TryFind(seq, out _, _known);
                foreach (uint number in numbers)
                {
                    parts.Remove((seq, number), out Consignment? part);
                    result += Treat(action, number < _known.Count ? _known[(int)number] : null, part, options, again, held, wall);
                }
            }
        }
        finally
        {
            _words = null;
        }

        _known.Clear();
        Pump();
        durable.Add(_outcomes.WhenDurable());
        return (result, Task.WhenAll(durable));
    }

    /// <param name="action">What is to be done.</param>
    /// <param name="known">What the log says of the recipient; null when the message is not in the queue any more.</param>
    /// <param name="part">The recipient alone, in nobody's list; null when the engine does not have it to give.</param>
    /// <param name="options">How it is meant.</param>
    /// <param name="again">Gets what is to be tried once the changes are durable.</param>
    /// <param name="held">Gets what nobody has to know any more once they are, and what goes on as before otherwise.</param>
    /// <param name="wall">Microseconds since 1970 UTC.</param>
    private QueueActionResult Treat(
        QueueAction action,
        QueuedRecipient? known,
        Consignment? part,
        QueueActionOptions options,
        List<Consignment> again,
        List<Consignment> held,
        long wall)
    {
        if (known is not { } recipient || recipient.State.IsEnd())
        {
            return new QueueActionResult(0, 0, 1, 0);
        }

        bool isHeld = recipient.State == QueueState.Held;
        if (part is null && !isHeld && !(action == QueueAction.Retry && recipient.IsHeldBySender(wall)))
        {
            // Being sent, or its end is on its way into the log.
            return action == QueueAction.Release ? new QueueActionResult(0, 0, 0, 1) : new QueueActionResult(0, 1, 0, 0);
        }

        if (QueueActions.ChangeOf(action, recipient, options, wall) is not { } change)
        {
            return new QueueActionResult(0, 0, 0, 1); // only what is held is refused, and of that there is no part
        }

        if (options.Notifies)
        {
            return EndByOperator(part ?? Revive(recipient));
        }

        _outcomes.Add(change with { Attempts = part?.Attempts ?? recipient.Attempts, IsDelayTold = part?.IsDelayTold ?? recipient.IsDelayTold });
        if (change.State is QueueState.Ready or QueueState.Deferred)
        {
            part ??= Revive(recipient);
            part.IsStale = true; // an operator's forward-path, this one or one of before
            if (change.State == QueueState.Deferred)
            {
                part.Stage = Stage.Held;
                part.Sender = ReadSubmitter(part.Seq);
                part.Due = HeldUntil(change.DueMicros - wall);
            }

            again.Add(part);
        }
        else if (part is not null && !change.State.IsEnd())
        {
            held.Add(part);
        }
        else if (part is not null)
        {
            _schedule.Free(part); // its end is said again until the log takes it
        }

        return new QueueActionResult(1, 0, 0, 0);
    }

    /// <summary>
    /// Those of the wanted ones that have to be taken out of where they wait: a release is about held ones alone, and a
    /// retry about none that its sender holds back.
    /// </summary>
    private Dictionary<ulong, HashSet<uint>> Treatable(QueueAction action, Dictionary<ulong, HashSet<uint>> wanted, long wall)
    {
        if (action is not (QueueAction.Release or QueueAction.Retry))
        {
            return wanted;
        }

        var treatable = new Dictionary<ulong, HashSet<uint>>();
        foreach ((ulong seq, HashSet<uint> numbers) in wanted)
        {
            _ = Log.Queue.TryFind(seq, out _, _known);
            HashSet<uint> taken = [.. numbers.Where(
                n => n < _known.Count && _known[(int)n].IsHeldBySender(wall) == (action == QueueAction.Release))];
            if (taken.Count > 0)
            {
                treatable.Add(seq, taken);
            }
        }

        return treatable;
    }

    private Consignment Revive(in QueuedRecipient recipient)
    {
        Consignment consignment = _schedule.Make(recipient.Seq, recipient.Recipient);
        consignment.Attempts = (ushort)recipient.Attempts;
        consignment.IsDelayTold = recipient.IsDelayTold;
        consignment.IsStale = true;
        return consignment;
    }

    /// <summary>The sender hears of it as of any failure.</summary>
    private QueueActionResult EndByOperator(Consignment consignment)
    {
        Delivery delivery = RentDelivery();
        if (!TryLoad(delivery, consignment, out ReadStatus status))
        {
            // In a maildrop, or not in the queue any more, it had ended. Damaged it is held; not readable now, it waits.
            return status is ReadStatus.Ok or ReadStatus.External or ReadStatus.NotFound
                ? new QueueActionResult(0, 0, 1, 0)
                : new QueueActionResult(0, 0, 0, 1);
        }

        delivery.AnswerUntried(RouteFailure.Permanent(554, "5.7.0", "cancelled by the operator of this host"));
        Complete(delivery, null);
        return new QueueActionResult(1, 0, 0, 0);
    }

    /// <summary>Takes recipients out of wherever they wait, each by itself; what is being sent stays where it is.</summary>
    private Dictionary<(ulong, uint), Consignment> TakeOut(Dictionary<ulong, HashSet<uint>> wanted)
    {
        var parts = new Dictionary<(ulong, uint), Consignment>();
        _found.Clear();
        _schedule.FindWaiting(consignment => wanted.ContainsKey(consignment.Seq), _found);
        foreach (Consignment consignment in _found)
        {
            Destination? destination = consignment.IsParked ? consignment.Destination : null;
            bool isHeld = consignment.Stage == Stage.Held;
            _schedule.Remove(consignment);
            destination?.Answers(); // the operator knows better: it is tried once more
            if (TakeOut(consignment, wanted[consignment.Seq], parts))
            {
                _schedule.Wait(consignment, destination is null ? consignment.Due : _schedule.Now, isHeld);
            }
        }

        foreach ((long question, Consignment consignment) in _routing.Where(asked => wanted.ContainsKey(asked.Value.Seq)).ToArray())
        {
            _routing.Remove(question); // its answer comes to nobody
            if (TakeOut(consignment, wanted[consignment.Seq], parts))
            {
                _schedule.Wait(consignment, _schedule.Now);
            }
        }

        foreach (Destination destination in _schedule.Destinations)
        {
            TakeOutReady(destination, wanted, parts);
        }

        _found.Clear();
        return parts;
    }

    private void TakeOutReady(Destination destination, Dictionary<ulong, HashSet<uint>> wanted, Dictionary<(ulong, uint), Consignment> parts)
    {
        _found.Clear();
        destination.Ready.CopyTo(_found);
        if (!_found.Exists(consignment => wanted.ContainsKey(consignment.Seq)))
        {
            return;
        }

        _found.Clear();
        while (_schedule.TakeFromClosed(destination) is { } consignment)
        {
            _found.Add(consignment);
        }

        foreach (Consignment consignment in _found)
        {
            if (!wanted.TryGetValue(consignment.Seq, out HashSet<uint>? numbers) || TakeOut(consignment, numbers, parts))
            {
                _schedule.MakeReady(consignment, destination);
            }
        }

        _fresh.Add(destination);
    }

    /// <summary>False when nothing is left of the consignment, which is free then.</summary>
    private bool TakeOut(Consignment consignment, HashSet<uint> numbers, Dictionary<(ulong, uint), Consignment> parts)
    {
        bool[] isKept = new bool[consignment.Count];
        for (int i = 0; i < isKept.Length; i++)
        {
            isKept[i] = !numbers.Contains(consignment[i]);
            if (!isKept[i])
            {
                Consignment part = PartOf(consignment, consignment[i]);
                part.Due = consignment.Due;
                parts.Add((consignment.Seq, consignment[i]), part);
            }
        }

        consignment.Keep(isKept);
        if (consignment.Count == 0)
        {
            _schedule.Free(consignment);
            return false;
        }

        return true;
    }

    private QueueDestination Show(Destination destination) => new(
        destination.Key,
        destination.Ready.Recipients,
        destination.UnderWay,
        destination.Connections,
        destination.ConnectionLimit,
        destination.IsClosed ? Now.AddMicroseconds(destination.ClosedUntil - _schedule.Now) : null,
        destination.LastFailure.Length == 0 ? null : destination.LastFailure);

    private QueuePlace? PlaceOf(ulong seq, uint recipient)
    {
        bool IsIt(Consignment consignment) => consignment.Seq == seq && consignment.Contains(recipient);
        if (_routing.Values.Any(IsIt))
        {
            return new QueuePlace(null, "its next hop is being looked for");
        }

        _found.Clear();
        _schedule.FindWaiting(IsIt, _found);
        if (_found.FirstOrDefault() is { } waiting)
        {
            return waiting.IsParked
                ? new QueuePlace(waiting.Destination!.Key, "waits for its next hop to answer again")
                : new QueuePlace(null, waiting.Stage == Stage.Held ? "is held back by its sender" : "waits for its time");
        }

        foreach (Destination destination in _schedule.Destinations)
        {
            _found.Clear();
            destination.Ready.CopyTo(_found);
            if (_found.Exists(IsIt))
            {
                return new QueuePlace(destination.Key, "waits for a connection");
            }
        }

        _ = Log.Queue.TryFind(seq, out _, _known);
        bool isHeld = recipient < _known.Count && _known[(int)recipient].State == QueueState.Held;
        _known.Clear();
        return isHeld ? null : new QueuePlace(null, "is being sent");
    }
}
