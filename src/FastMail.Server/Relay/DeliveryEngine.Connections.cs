using System.Text;
using FastMail.Net;
using FastMail.Protocol.Smtp.Client;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Relay;

/// <content>Connections: who opens one, who gets work, who rests.</content>
internal sealed partial class DeliveryEngine
{
    private readonly Stack<NextHopConnection> _connections = new();
    private readonly HashSet<NextHopConnection> _active = [];
    private readonly HashSet<Destination> _resting = []; // with a connection that has nothing to do
    private readonly HashSet<Destination> _closed = []; // closed, and something may be ready for them
    private readonly Stack<Delivery> _deliveries = new();
    private HashSet<Destination> _rousing = [];
    private int _underWay;

    public TlsClient Tls => _parts.Tls;

    public TimeSpan ConnectTime => _parts.Options.ConnectTime;

    public TimeSpan IdleTime => _parts.Options.IdleTime;

    /// <summary>Destinations with a connection that rests.</summary>
    public int RestingDestinations => _resting.Count;

    /// <summary>Nothing new is begun any more.</summary>
    public bool IsStopping { get; private set; }

    /// <summary>Not when nothing could be written down of how it ends: that would only be done again.</summary>
    private bool MayBegin =>
        !IsStopping && !_outcomes.HasFailed && _outcomes.Undurable + _told < _parts.Options.MostUndurable;

    /// <summary>How to speak with a host.</summary>
    public SmtpClientOptions SessionOptionsOf(Route route, NextHop hop, bool isInClear) => new()
    {
        Hostname = _parts.Hostname,
        IsLmtp = route.IsLmtp,
        Tls = isInClear ? TlsPolicy.None : PolicyOf(hop.Tls.Level),
        Credentials = route.Credentials?.Session,
        AllowsCleartextAuth = route.AllowsCleartextAuth,
        MaxTransactions = _parts.Options.TransactionsPerConnection,
        MaxRecipients = _parts.Schedule.Recipients,
    };

    /// <summary>The next mail for a connection; null when there is none for it now.</summary>
    public Delivery? Next(NextHopConnection connection)
    {
        Destination destination = connection.Destination;
        if (!MayBegin || connection.CarriesSuspect || _schedule.MustYield(destination))
        {
            return null;
        }

        while (MaySign && _schedule.Take(destination) is { } consignment)
        {
            if (consignment.Faults > 0 && connection.IsBusy)
            {
                _schedule.PutBack(consignment, destination); // it goes alone: who fails with it may be without fault
                return null;
            }

            CutTo(connection.MostRecipients, consignment, destination);
            Delivery delivery = RentDelivery();
            try
            {
                if (TryLoad(delivery, consignment) && !IsTooLate(delivery, connection.IsLmtp ? 1 : LeastRelayMicros)
                    && TrySign(delivery, destination) && TryReserveReading(delivery))
                {
                    Rouse(connection);
                    _underWay++;
                    destination.UnderWay += delivery.Recipients;
                    return delivery;
                }
            }
            catch (Exception exception)
            {
                Failed(consignment, exception);
            }
        }

        return null;
    }

    /// <summary>Leaves as many recipients in it as go in one transaction; the others are ready for the next ones.</summary>
    private void CutTo(int most, Consignment consignment, Destination destination)
    {
        if (consignment.Count <= most)
        {
            return;
        }

        Consignment rest = PartOf(consignment, consignment[most]);
        for (int i = most + 1; i < consignment.Count; i++)
        {
            Consignment part = PartOf(consignment, consignment[i]);
            rest.Add(part);
            _schedule.Free(part);
        }

        consignment.Cut(most);
        _schedule.MakeReady(rest, destination);
    }

    /// <summary>There is mail that this connection could take.</summary>
    public bool HasMail(NextHopConnection connection) =>
        connection.Destination.Ready.Consignments > 0 && MayBegin && !connection.CarriesSuspect && !_schedule.MustYield(connection.Destination);

    /// <summary>It has nothing to do. False when it is not wanted any more, and is to say goodbye.</summary>
    public bool MayRest(NextHopConnection connection)
    {
        Destination destination = connection.Destination;
        if (IsStopping || _schedule.IsShort || destination.Connections > destination.ConnectionLimit)
        {
            return false;
        }

        if (!connection.IsResting)
        {
            connection.IsResting = true;
            destination.Idle++;
            destination.Resting.Add(connection);
            _resting.Add(destination);
        }

        return true;
    }

    /// <summary>It is connected, greeted and as secure as it has to be.</summary>
    public void Works(NextHopConnection connection)
    {
        bool wasClosed = connection.Destination.IsClosed;
        _schedule.Opened(connection.Destination);
        if (wasClosed)
        {
            _closed.Remove(connection.Destination);
            _parts.Logger.LogInformation("{Destination} answers again", connection.Destination.Key);
        }

        Pump();
    }

    /// <summary>No address of the destination has given a connection.</summary>
    public void OpeningFailed(NextHopConnection connection, string why, SessionFailure? failure)
    {
        Destination destination = connection.Destination;
        bool wasClosed = destination.IsClosed;
        if (_schedule.OpeningFailed(destination, connection.Epoch, why))
        {
            Close(destination, wasClosed);
        }

        _active.Remove(connection);
        _connections.Push(connection);
        Pump();
    }

    /// <summary>A connection that worked is over.</summary>
    /// <param name="connection">It goes back to the pool.</param>
    /// <param name="failure">Why it should not be; null when it ended in order.</param>
    public void Over(NextHopConnection connection, string? failure)
    {
        Destination destination = connection.Destination;
        Rouse(connection);
        _schedule.Closed(destination);
        bool wasClosed = destination.IsClosed;
        if (failure is not null && _schedule.Fails(destination, connection.Epoch, failure))
        {
            Close(destination, wasClosed);
        }

        _active.Remove(connection);
        _connections.Push(connection);
        Pump();
    }

    /// <summary>A mistake of ours ends a connection: all that it carries takes part of the blame, and its host none.</summary>
    public void ReportFault(NextHopConnection connection, Exception exception)
    {
        _parts.Logger.LogError(exception, "a connection to {Destination} failed by a mistake of the program", connection.Destination.Key);
        connection.NoteFault();
    }

    /// <summary>The session of a delivery could not say how it ended.</summary>
    public void GiveUp(Delivery delivery)
    {
        delivery.AnswerRest(RouteFailure.Temporary("4.3.0", "the attempt failed by a mistake of this server"));
        AttemptEnded(delivery);
    }

    private static TlsPolicy PolicyOf(TlsLevel level) => level switch
    {
        TlsLevel.None => TlsPolicy.None,
        TlsLevel.May => TlsPolicy.May,
        TlsLevel.Encrypt => TlsPolicy.Encrypt,
        _ => TlsPolicy.Verify,
    };

    /// <summary>Everybody who may have work gets a look at it, and new connections are opened where they are wanted.</summary>
    private void Wake()
    {
        ParkClosed(); // first: for a destination that something waits for one connection is tried, and not many
        while (_schedule.TakeAwake(out bool isProbe) is { } awake)
        {
            if (isProbe)
            {
                Open(awake);
            }
            else
            {
                _closed.Remove(awake);
                _fresh.Add(awake);
            }
        }

        (_fresh, _rousing) = (_rousing, _fresh); // who speaks may bring new ones about
        foreach (Destination destination in _rousing)
        {
            RouseAll(destination);
        }

        _rousing.Clear();
        while (MayBegin && _schedule.TakeOpening() is { } destination)
        {
            Open(destination);
        }

        if (_schedule.IsShort && _resting.FirstOrDefault() is { } idle)
        {
            idle.Resting[0].Quit(); // its end brings the next round
        }
    }

    /// <summary>As many of those that rest as there is work for.</summary>
    private void RouseAll(Destination destination)
    {
        List<NextHopConnection> resting = destination.Resting;
        for (int i = Math.Min(resting.Count, destination.Ready.Consignments); i > 0 && resting.Count > 0; i--)
        {
            if (destination.Ready.Consignments == 0 || destination.MustAwaitToken || !MayBegin)
            {
                return;
            }

            NextHopConnection last = resting[^1]; // the one that rested shortest: the others may come to their end
            Rouse(last);
            last.Speak();
        }
    }

    private void Rouse(NextHopConnection connection)
    {
        if (connection.IsResting)
        {
            Destination destination = connection.Destination;
            connection.IsResting = false;
            destination.Idle--;
            destination.Resting.Remove(connection);
            if (destination.Resting.Count == 0)
            {
                _resting.Remove(destination); // which the schedule forgets when nobody uses it
            }
        }
    }

    private void Open(Destination destination)
    {
        NextHopConnection connection = _connections.TryPop(out NextHopConnection? free) ? free : new NextHopConnection(this);
        _active.Add(connection);
        connection.Begin(destination, destination.Route!);
    }

    private void Close(Destination destination, bool wasClosed)
    {
        _closed.Add(destination);
        if (!wasClosed)
        {
            _parts.Logger.LogWarning(
                "{Destination} does not answer ({Why}); its mail waits", destination.Key, destination.LastFailure);
        }
    }

    /// <summary>What is ready for destinations that do not answer is put off, a part in each round.</summary>
    private void ParkClosed()
    {
        int left = RoutedPerTurn;
        foreach (Destination destination in _closed)
        {
            while (left > 0 && destination.IsClosed && _schedule.TakeFromClosed(destination) is { } consignment)
            {
                left--;
                Guard(consignment, c => Park(c, destination));
            }
        }

        if (left == 0)
        {
            Pump();
        }
        else
        {
            _closed.RemoveWhere(static destination => destination.Ready.Consignments == 0);
        }
    }

    private void Park(Consignment consignment, Destination destination)
    {
        Delivery delivery = RentDelivery();
        if (TryLoad(delivery, consignment))
        {
            delivery.Route = destination.Route;
            delivery.AnswerUntried(RouteFailure.Temporary("4.4.1", destination.LastFailure));
            Complete(delivery, destination);
        }
    }

    /// <summary>Something became durable: those that waited for that may go on.</summary>
    private void OutcomesProgressed()
    {
        if (IsStopping)
        {
            EndDrainWhenQuiet();
            return;
        }

        bool isAny = _schedule.MayOpen; // those in the line were passed over as well, and nothing else may come to pass
        foreach (Destination destination in _resting)
        {
            if (destination.Ready.Consignments > 0)
            {
                _fresh.Add(destination);
                isAny = true;
            }
        }

        if (isAny)
        {
            Pump();
        }
    }

    private Delivery RentDelivery() => _deliveries.TryPop(out Delivery? free) ? free : new Delivery(this);

    private void ReturnDelivery(Delivery delivery)
    {
        delivery.Unload();
        _deliveries.Push(delivery);
    }

    /// <summary>False when there is nothing to deliver: the consignment and the delivery have gone where they belong.</summary>
    private bool TryLoad(Delivery delivery, Consignment consignment) => TryLoad(delivery, consignment, out _);

    private bool TryLoad(Delivery delivery, Consignment consignment, out ReadStatus status)
    {
        try
        {
            status = delivery.Load(Log, consignment, _parts.Clock.GetUtcNow());
        }
        catch
        {
            ReturnDelivery(delivery); // or its lease would keep the segment for ever
            throw;
        }

        switch (status)
        {
            case ReadStatus.Ok or ReadStatus.External when delivery.IsStored:
                delivery.AnswerStored(); // wherever its address would lead to by now
                Complete(delivery, null);
                return false;
            case ReadStatus.Ok or ReadStatus.External:
                return true;
            case ReadStatus.NotFound: // it has ended meanwhile
                _schedule.Free(consignment);
                break;
            case ReadStatus.Damaged:
                _parts.Logger.LogError("queue: message {Seq} is damaged on the disk; it is held", consignment.Seq);
                Hold(consignment, "5.3.0 the stored message is damaged"u8.ToArray());
                break;
            default:
                Defer(consignment);
                break;
        }

        _deliveries.Push(delivery);
        return false;
    }
}
