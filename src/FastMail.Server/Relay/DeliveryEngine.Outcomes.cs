using FastMail.Protocol.Notifications;
using FastMail.Protocol.Smtp;
using FastMail.Protocol.Smtp.Client;
using FastMail.Server.Receive;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <content>What becomes of an attempt: the end, another attempt, word to the sender.</content>
internal sealed partial class DeliveryEngine
{
    private const long LeastRelayMicros = 1_000_000; // BY= has whole seconds, and of those at least one (RFC 2852 4)

    private readonly byte[] _text = new byte[QueueChange.MaxTextBytes * 2];
    private readonly Dictionary<ulong, (Consignment All, Dictionary<uint, Route> Routes)> _wayless = []; // by message
    private bool[] _kept = new bool[64];
    private long _delivered; // recipients since the start, and so on
    private long _deferred;
    private long _failed;
    private long _inDoubt;

    /// <summary>The session has answered for every recipient of an attempt.</summary>
    public void AttemptEnded(Delivery delivery)
    {
        NextHopConnection carrier = delivery.Carrier!;
        Destination destination = carrier.Destination;
        carrier.Remove(delivery);
        _underWay--;
        destination.UnderWay -= delivery.Recipients;
        bool works = false;
        bool isForGood = false;
        for (int i = 0; i < delivery.Recipients; i++)
        {
            carrier.IsRefused |= delivery[i].IsRemote && delivery[i].Code == 421;
            works |= delivery[i].IsRemote && delivery[i].Code != 421;
            isForGood |= delivery[i].IsRemote && delivery[i].Code is < 400 or >= 500;
        }

        if (works)
        {
            _schedule.Works(destination, isForGood);
        }

        Complete(delivery, null);
        if (destination.Ready.Consignments > 0)
        {
            _fresh.Add(destination);
            Pump();
        }

        EndDrainWhenQuiet();
    }

    /// <summary>There is no way for it, now or ever: it ends with the others of its message that come to that in this round.</summary>
    private void Gather(Consignment consignment, Route route)
    {
        ulong seq = consignment.Seq;
        if (_wayless.TryGetValue(seq, out (Consignment All, Dictionary<uint, Route> Routes) known)
            && !known.All.MayTravelWith(consignment, _parts.Schedule.Recipients))
        {
            _wayless.Remove(seq);
            Guard(known.All, all => EndHere(all, known.Routes));
            known = default;
        }

        Dictionary<uint, Route> routes = known.Routes ?? [];
        for (int i = 0; i < consignment.Count; i++)
        {
            routes.Add(consignment[i], route);
        }

        if (known.All is null)
        {
            _wayless.Add(seq, (consignment, routes));
        }
        else
        {
            known.All.Add(consignment);
            _schedule.Free(consignment);
        }
    }

    /// <summary>The end of those, a part in each round. True when some are left.</summary>
    private bool EndWayless()
    {
        if (_wayless.Count == 0)
        {
            return false;
        }

        foreach ((ulong seq, (Consignment all, Dictionary<uint, Route> routes)) in _wayless.Take(RoutedPerTurn).ToArray())
        {
            _wayless.Remove(seq);
            Guard(all, consignment => EndHere(consignment, routes));
        }

        return _wayless.Count > 0;
    }

    /// <summary>There is no way for these recipients, now or ever.</summary>
    private void EndHere(Consignment consignment, Dictionary<uint, Route> routes)
    {
        Delivery delivery = RentDelivery();
        if (TryLoad(delivery, consignment))
        {
            for (int i = 0; i < delivery.Recipients; i++)
            {
                delivery.AnswerWayless(i, routes[consignment[i]]);
            }

            Complete(delivery, null);
        }
    }

    /// <summary>
    /// True when it was to be delivered by a time that is over (BY=...;R): it has gone back, and is not tried any more
    /// (RFC 2852 4.1.3).
    /// </summary>
    /// <param name="delivery">About to be tried.</param>
    /// <param name="leastMicros">With less than that left there is nothing to be done.</param>
    private bool IsTooLate(Delivery delivery, long leastMicros)
    {
        bool isTooLate = delivery.DeliverBy is { IsReturn: true }
            && delivery.DeliverByMicros - Intake.Micros(Now) < leastMicros;
        if (isTooLate)
        {
            delivery.AnswerUntried(RouteFailure.Permanent(550, "5.4.7", "the time to deliver it in is over"));
            Complete(delivery, null);
        }

        return isTooLate;
    }

    /// <summary>Writes down how it ended for each recipient. The delivery goes back, its consignment where it belongs.</summary>
    /// <param name="delivery">Each of its recipients has an answer.</param>
    /// <param name="closed">The destination, when the attempt was not made because that does not answer.</param>
    private void Complete(Delivery delivery, Destination? closed)
    {
        Consignment consignment = delivery.Consignment;
        int inHand = InHand.Take(consignment.Seq);
        Notice? letter;
        try
        {
            letter = Settle(delivery, closed);
        }
        catch (Exception exception)
        {
            ReturnDelivery(delivery);
            Failed(consignment, exception);
            return;
        }
        finally
        {
            InHand.PutDown(inHand);
        }

        if (letter is null)
        {
            ReturnDelivery(delivery);
        }
        else
        {
            _notices++;
            _told += letter.Gone;
            if (_words is not null)
            {
                letter.Written = new TaskCompletionSource<Task>(TaskCreationOptions.RunContinuationsAsynchronously);
                _words.Add(letter.Written.Task.Unwrap());
            }

            letter.Send(); // which returns the delivery
        }
    }

    /// <summary>Returns the notification that is to be sent, if any. What has ended when it throws has ended.</summary>
    private Notice? Settle(Delivery delivery, Destination? closed)
    {
        Consignment consignment = delivery.Consignment;
        DateTimeOffset now = _parts.Clock.GetUtcNow();
        long wall = Intake.Micros(now);
        TimeSpan age = AgeOf(delivery, wall);
        if (_kept.Length < delivery.Recipients)
        {
            _kept = new bool[delivery.Recipients];
        }

        int kept = Judge(delivery, age, wall);
        var notice = default(NoticeList);
        long due = 0;
        bool isHeld = kept > 0 && consignment.Faults >= MostFaults;
        bool isAgain = kept > 0 && !isHeld && IsForNumberOnly(delivery);
        if (kept > 0 && !isAgain && !isHeld)
        {
            long most = delivery.DeliverByMicros is { } by && by > wall ? _schedule.Now + (by - wall) : long.MaxValue;
            TimeSpan wait = closed is null ? _schedule.Defer(consignment, most) : _schedule.Park(consignment, closed, most);
            due = wall + Micros(wait);
            Pump(); // a round looks what is due next
        }

        long end = EndOf(delivery, age, wall);
        bool isLate = !isAgain && !isHeld && kept > 0 && !consignment.IsDelayTold && IsLate(delivery, age, wall, end);
        for (int i = 0; i < delivery.Recipients; i++)
        {
            Fault?.Invoke(DeliveryStep.Settling, consignment.Seq);
            if (isHeld && _kept[i])
            {
                continue;
            }

            QueueState state = _kept[i] ? QueueState.Deferred
                : delivery[i].Outcome == DeliveryOutcome.Delivered ? QueueState.Delivered
                : QueueState.Failed;
            if (ActionOf(delivery, i, state, isLate, wall) is { } action)
            {
                notice.Add(i, action, state);
            }
            else if (!(isAgain && _kept[i]))
            {
                _outcomes.Add(ChangeOf(delivery, i, state, due, isLate));
            }

            if (!delivery[i].IsStored) // which is no delivery, but word of one
            {
                Count(state, delivery[i].IsInDoubt);
            }
        }

        Notice? letter = notice.IsEmpty ? null : new Notice(this, delivery, notice, due, end);
        if (kept == 0)
        {
            _schedule.Free(consignment);
        }
        else
        {
            consignment.Keep(_kept.AsSpan(0, delivery.Recipients));
            consignment.IsDelayTold |= isLate;
            if (isHeld)
            {
                DeferOrHold(consignment);
            }
            else if (isAgain)
            {
                _schedule.MakeReady(consignment, consignment.Destination!);
            }
        }

        return letter;
    }

    /// <summary>
    /// How long it has been on its way. What an operator released before its sender wanted it to go has a begin that
    /// nobody has noted: it is as old as its attempts say.
    /// </summary>
    private TimeSpan AgeOf(Delivery delivery, long wall) => delivery.BeginMicros <= wall
        ? TimeSpan.FromMicroseconds(wall - delivery.BeginMicros)
        : delivery.ReleaseMicros is null ? TimeSpan.Zero : _parts.Schedule.TimeOf(delivery.Consignment.Attempts);

    /// <summary>When it is given up, microseconds since 1970 UTC.</summary>
    private long EndOf(Delivery delivery, TimeSpan age, long wall)
    {
        long end = wall - Micros(age) + Micros(_parts.Schedule.Lifetime);
        return delivery is { DeliverBy.IsReturn: true, DeliverByMicros: { } deadline } ? Math.Min(end, deadline) : end;
    }

    /// <summary>Marks those that are tried again, and turns the others' answer into an end.</summary>
    private int Judge(Delivery delivery, TimeSpan age, long wall)
    {
        bool isOver = _schedule.IsOver(age, delivery.Consignment.Attempts + 1);
        bool isPastDeadline = delivery.DeliverBy is { IsReturn: true } && delivery.DeliverByMicros <= wall;
        int kept = 0;
        for (int i = 0; i < delivery.Recipients; i++)
        {
            ref Addressee recipient = ref delivery[i];
            if (recipient.Outcome == DeliveryOutcome.Deferred && (isOver || isPastDeadline))
            {
                bool saysNothing = recipient.Status is { Subject: 0, Detail: 0 };
                recipient.Outcome = DeliveryOutcome.Failed;
                recipient.Status = isPastDeadline || saysNothing
                    ? Addressee.StatusOf("5.4.7") // RFC 3463: delivery time expired
                    : recipient.Status with { Class = 5 }; // what is wrong, and will be
            }

            _kept[i] = recipient.Outcome == DeliveryOutcome.Deferred;
            kept += _kept[i] ? 1 : 0;
        }

        return kept;
    }

    /// <summary>
    /// Those that are left were refused for there being too many at once (RFC 5321 4.5.3.1.10), and others were taken:
    /// they go at once, without having lost an attempt. 552 is the older word for it; of a full mailbox or a message that
    /// is too large it is no deferral.
    /// </summary>
    private bool IsForNumberOnly(Delivery delivery)
    {
        bool isAnyTaken = false;
        for (int i = 0; i < delivery.Recipients; i++)
        {
            ref readonly Addressee recipient = ref delivery[i];
            if (_kept[i] && !(recipient.IsRemote && recipient.Code is 452 or 552 && recipient.Phase == ClientPhase.Rcpt))
            {
                return false;
            }

            isAnyTaken |= !_kept[i];
        }

        return isAnyTaken;
    }

    /// <summary>
    /// It is time to tell the sender that it takes longer, which happens once. With BY=...;N that is the deadline, which
    /// must be told of (RFC 2852 4.1.3), unless the message is given up before.
    /// </summary>
    private bool IsLate(Delivery delivery, TimeSpan age, long wall, long end)
    {
        if (delivery is { DeliverBy.IsReturn: false, DeliverByMicros: { } deadline } && deadline < end)
        {
            return deadline <= wall;
        }

        TimeSpan notice = _parts.Schedule.DelayNotice;
        return notice > TimeSpan.Zero && age >= notice;
    }

    /// <summary>What the sender is to be told of a recipient; null for nothing.</summary>
    private static DeliveryAction? ActionOf(Delivery delivery, int recipient, QueueState state, bool isLate, long wall)
    {
        DsnNotify notify = delivery[recipient].Notify;
        bool IsWanted(DeliveryAction action) => NotificationPolicy.IsWanted(action, notify, delivery.ReversePath.Span);

        if (state != QueueState.Delivered)
        {
            DeliveryAction action = state == QueueState.Failed ? DeliveryAction.Failed : DeliveryAction.Delayed;
            return IsWanted(action) && (state == QueueState.Failed || isLate) ? action : null;
        }

        if (delivery[recipient].IsStored) // there for this word: without a wish for the one it is the other
        {
            return IsWanted(DeliveryAction.Delivered) ? DeliveryAction.Delivered
                : IsWanted(DeliveryAction.Delayed) ? DeliveryAction.Delayed
                : null;
        }

        // A host that knows DSN tells the sender itself (RFC 3461 5.2.2).
        bool isAsked = IsWanted(DeliveryAction.Relayed) && delivery.Carrier is { } carrier && !carrier.Offers.HasFlag(SmtpOffers.Dsn);
        bool mayHear = notify != DsnNotify.Never && !delivery.ReversePath.IsEmpty;
        return isAsked || (mayHear && IsTraced(delivery)) ? DeliveryAction.Relayed
            : IsOverUntold(delivery, wall) && IsWanted(DeliveryAction.Delayed) ? DeliveryAction.Delayed
            : mayHear && IsDeadlineLost(delivery) ? DeliveryAction.Relayed
            : null;
    }

    /// <summary>
    /// It was not passed on by the time of BY=...;N, which ended while it was here, and its sender has not heard so: that is
    /// told in any case (RFC 2852 4.1.3), also when the attempt that is late has succeeded.
    /// </summary>
    public static bool IsOverUntold(Delivery delivery, long wall) =>
        delivery is { DeliverBy.IsReturn: false, DeliverByMicros: { } deadline, Consignment.IsDelayTold: false }
        && deadline > delivery.ArrivalMicros && deadline <= wall;

    /// <summary>The sender traces it on its way (RFC 2852 4.1.4). LMTP passes nothing on, it delivers.</summary>
    private static bool IsTraced(Delivery delivery) => delivery is { Carrier.IsLmtp: false, DeliverBy.IsTraced: true };

    /// <summary>The sender is to hear when its time is over, and will not from where it was passed on to (RFC 2852 4.1.4.2).</summary>
    private static bool IsDeadlineLost(Delivery delivery) =>
        delivery is { Carrier: { IsLmtp: false } carrier, DeliverBy: { IsReturn: false, Seconds: >= 0 } }
        && !carrier.Offers.HasFlag(SmtpOffers.DeliverBy);

    private QueueChange ChangeOf(Delivery delivery, int recipient, QueueState state, long due, bool isLate) => new()
    {
        Seq = delivery.Consignment.Seq,
        Recipient = delivery.Consignment[recipient],
        State = state,
        DueMicros = state == QueueState.Deferred ? due : 0,
        Attempts = state == QueueState.Deferred ? delivery.Consignment.Attempts : delivery.Consignment.Attempts + 1,
        IsDelayTold = delivery.Consignment.IsDelayTold || isLate,
        Text = TextOf(delivery, recipient),
        Route = RouteOf(delivery, recipient),
        Tls = delivery.Tls,
    };

    /// <summary>Next hop and reply; in memory that the next call writes over.</summary>
    private ReadOnlyMemory<byte> TextOf(Delivery delivery, int recipient)
    {
        ReadOnlySpan<byte> host = delivery.Carrier is { } carrier ? carrier.HopText : default;
        ReadOnlyMemory<byte> words = delivery.TextOf(recipient);
        host = host[..Math.Min(host.Length, QueueChange.MaxTextBytes / 2)];
        host.CopyTo(_text);
        words.Span.CopyTo(_text.AsSpan(host.Length));
        return _text.AsMemory(0, Math.Min(host.Length + words.Length, QueueChange.MaxTextBytes));
    }

    private void Count(QueueState state, bool isInDoubt)
    {
        _inDoubt += isInDoubt ? 1 : 0;
        switch (state)
        {
            case QueueState.Delivered: _delivered++; break;
            case QueueState.Deferred: _deferred++; break;
            default: _failed++; break;
        }
    }

    /// <summary>It is tried again later, and the round that follows sees to that.</summary>
    private void Defer(Consignment consignment)
    {
        _schedule.Defer(consignment);
        Pump();
    }

    /// <summary>Not to be tried until an operator says so.</summary>
    private void Hold(Consignment consignment, ReadOnlyMemory<byte> why)
    {
        for (int i = 0; i < consignment.Count; i++)
        {
            _outcomes.Add(new QueueChange
            {
                Seq = consignment.Seq,
                Recipient = consignment[i],
                State = QueueState.Held,
                Attempts = consignment.Attempts,
                IsDelayTold = consignment.IsDelayTold,
                Text = why,
            });
        }

        _schedule.Free(consignment);
    }
}
