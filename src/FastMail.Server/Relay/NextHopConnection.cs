using System.Buffers;
using System.Text;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Sasl;
using FastMail.Protocol.Smtp.Client;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;
using FastMail.Server.Tls;

namespace FastMail.Server.Relay;

/// <summary>
/// One connection to a destination, from the first address that is tried to the last word: connects, makes TLS as the
/// next hop demands, and asks the engine for mail as long as it can take some. Pooled by the
/// <see cref="DeliveryEngine"/>; loop thread only.
/// </summary>
internal sealed partial class NextHopConnection : IOutgoingHandler
{
    private readonly DeliveryEngine _engine;
    private SmtpClientSession _session = new();
    private readonly List<Delivery> _deliveries = []; // under way, oldest first
    private Connection? _connection; // once it stands
    private Route _route = null!;
    private NextHop _hop = null!; // that it leads to
    private bool _isInClear; // TLS was tried with this hop and failed, and is not demanded
    private bool _isQuitting;
    private bool _isOurFault; // a mistake of ours ends it
    private bool _isWorking; // greeting, EHLO and TLS are behind us
    private string? _tlsFault;
    private byte[] _hopText = [];
    private byte[] _tlsText = [];
    private PasswordDerivation? _derivation; // under way

    public NextHopConnection(DeliveryEngine engine)
    {
        _engine = engine;
        _nextAttempt = new LoopTimer(new NextAttempt(this));
    }

    public Destination Destination { get; private set; } = null!;

    /// <summary>The destination's at the time of the connect.</summary>
    public int Epoch { get; private set; }

    /// <summary>It has nothing to do, and stands in the engine's list of those.</summary>
    public bool IsResting { get; set; }

    /// <summary>The host has answered mail with 421: it wants to be left alone.</summary>
    public bool IsRefused { get; set; }

    public bool IsBusy => _deliveries.Count > 0;

    /// <summary>It carries a message that an attempt has failed with by a mistake of ours: nothing goes with that one.</summary>
    public bool CarriesSuspect => IsBusy && _deliveries[0].Consignment.Faults > 0;

    /// <summary>The host delivers what it takes, and passes nothing on.</summary>
    public bool IsLmtp => _route.IsLmtp;

    public SmtpOffers Offers => _session.Offers;

    /// <summary>Of one transaction, as the host says (RFC 9422) or we do.</summary>
    public int MostRecipients => _session.MaxRecipients;

    /// <summary>Name and address of the host, and a blank, as the log says it in front of a reply.</summary>
    public ReadOnlySpan<byte> HopText => _hopText;

    /// <summary>Begins with the first address; the engine is told of the end in any case.</summary>
    public void Begin(Destination destination, Route route)
    {
        Destination = destination;
        Epoch = destination.Epoch;
        _route = route;
        _isWorking = false;
        _isQuitting = false;
        _isOurFault = false;
        IsRefused = false;
        route.OrderHops(_engine.Random, _hops);
        _host = "";
        _failures = "";
        ConnectToHost();
    }

    /// <summary>There may be mail for it again.</summary>
    public void Speak() => _connection?.Speak();

    /// <summary>A delivery has more of its content.</summary>
    public void GoOn()
    {
        _session.GoOn();
        _connection?.Resume();
    }

    /// <summary>It has nothing to do and is not to wait for more.</summary>
    public void Quit()
    {
        SayGoodbye();
        _connection?.Speak();
    }

    public void Secured(TlsParameters tls)
    {
        TlsDemand demand = _hop.Tls;
        TlsPeer peer = tls.Peer!; // we are the client
        _tlsFault = demand.Judge(peer.IsChainTrusted, peer.IsNameRight, peer.IsVouchedFor);
        TlsFacts facts = ServerTls.FactsOf(tls);
        _tlsText = Encoding.UTF8.GetBytes($"{Encoding.ASCII.GetString(facts.Description.Span)}, {demand.Tell()}");
        _session.Secured(
            facts, demand.Verifies(peer.IsChainTrusted, peer.IsNameRight, peer.IsVouchedFor));
    }

    public Turn Receive(
        ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
    {
        if (_tlsFault is not null)
        {
            consumed = received.Length;
            written = 0;
            body = default;
            return Turn.Close; // not a word to a host that may be another
        }

        int inHand = TakeInHand();
        try
        {
            return Converse(received, replies, out consumed, out written, out body);
        }
        catch (Exception exception)
        {
            _isOurFault = true;
            _engine.ReportFault(this, exception);
            _connection!.Abort();
            consumed = received.Length;
            written = 0;
            body = default;
            return Turn.Close;
        }
        finally
        {
            _engine.InHand.PutDown(inHand);
        }
    }

    /// <summary>All that is under way here, since a turn may work on each of them.</summary>
    private int TakeInHand()
    {
        int inHand = _engine.InHand.Depth;
        foreach (Delivery delivery in _deliveries)
        {
            _ = _engine.InHand.Take(delivery.Consignment.Seq);
        }

        return inHand;
    }

    private Turn Converse(
        ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
    {
        BeginNext();
        OperationStatus status = _session.Receive(received, replies, out consumed, out written);
        body = _session.Body;
        switch (status)
        {
            case OperationStatus.DestinationTooSmall:
                TakeDeadline();
                return Turn.Continue;
            case OperationStatus.Done:
                return Turn.Close;
            case OperationStatus.InvalidData:
                _connection!.Abort();
                return Turn.Close;
            default:
                return EndTurn(hasMoved: consumed > 0 || written > 0 || !body.IsEmpty);
        }
    }

    public int LastWords(CloseReason reason, Span<byte> replies)
    {
        _ = reason; // either it rests, and says QUIT, or it waits in vain, and has nothing to say
        return _session.LastWords(replies);
    }

    public void Closed()
    {
        ConnectionEnd end = _connection!.End;
        string? tlsFault = _tlsFault;
        string? faultOfTls = end == ConnectionEnd.TlsFailed ? _connection.TlsFault : null;
        _connection = null;
        // A host may close what rests, with 421 or without a word.
        bool hasFailed = (IsBusy && end != ConnectionEnd.Stopping && !_engine.IsStopping && !_isOurFault) || IsRefused;
        EndSession(end);
        string failure = tlsFault is null ? FailureText(faultOfTls) : $"451 4.7.5 {tlsFault}";
        _tlsFault = null;
        if (_isWorking)
        {
            _engine.Over(this, !hasFailed ? null : $"{_hop} {failure}");
            return;
        }

        bool isOfTls = end == ConnectionEnd.TlsFailed || _session.Failure is { Phase: ClientPhase.StartTls };
        if (isOfTls && !_isInClear && !_hop.Tls.IsEnforced && !_hop.IsImplicitTls)
        {
            ConnectInClear(_hop); // RFC 7435: rather in the clear than not at all
            return;
        }

        AddFailure(_hop, failure);
        TryNext();
    }

    /// <summary>All that was under way has its answer then, whatever state the session is in.</summary>
    private void EndSession(ConnectionEnd end)
    {
        try
        {
            _session.Lost(end switch
            {
                ConnectionEnd.TimedOut => ClientLoss.TimedOut,
                ConnectionEnd.TlsFailed => ClientLoss.TlsFailed,
                ConnectionEnd.Stopping => ClientLoss.Stopping,
                _ => ClientLoss.Closed,
            });
        }
        catch (Exception exception)
        {
            _engine.ReportFault(this, exception);
        }

        if (!IsBusy)
        {
            return;
        }

        _session = new SmtpClientSession(); // the other one does not know any more what it was doing
        while (IsBusy)
        {
            _engine.GiveUp(_deliveries[0]);
        }
    }

    /// <summary>The deliveries under way take part in a mistake of ours.</summary>
    public void NoteFault()
    {
        foreach (Delivery delivery in _deliveries)
        {
            delivery.Consignment.Faults++;
        }
    }

    /// <summary>An attempt has ended.</summary>
    public void Remove(Delivery delivery) => _deliveries.Remove(delivery);

    private Turn EndTurn(bool hasMoved)
    {
        if (_session.IsReady && !_isWorking)
        {
            _isWorking = true;
            _engine.Works(this);
        }

        // Nothing is under way any more: the next mail, or rest, or goodbye.
        if (_isWorking && !IsBusy && !IsResting && !_session.IsOver && BeginNext())
        {
            _connection!.Speak();
        }

        TakeDeadline();
        if (_session.IsStartingTls)
        {
            return Turn.Secure;
        }

        if (_session.IsWaiting)
        {
            if (_session.Derivation is { } derivation && !ReferenceEquals(derivation, _derivation))
            {
                _derivation = derivation;
                _ = PasswordWork.BeginAsync(derivation, this, _connection!);
            }

            return Turn.Wait;
        }

        // The next transaction goes behind this one, in the same send.
        return hasMoved && _session.CanBegin && _engine.HasMail(this) ? Turn.Continue : Turn.Receive;
    }

    /// <summary>True when there is something to say: a transaction has begun, or it is time for goodbye.</summary>
    private bool BeginNext()
    {
        if (!_session.CanBegin)
        {
            return _session.IsExhausted && !IsBusy && SayGoodbye();
        }

        if (_engine.Next(this) is not { } delivery)
        {
            return !IsBusy && _isWorking && !_engine.MayRest(this) && SayGoodbye();
        }

        delivery.Carrier = this;
        delivery.Route = _route;
        delivery.Tls = _tlsText;
        _deliveries.Add(delivery);
        _ = _engine.InHand.Take(delivery.Consignment.Seq);
        _engine.Fault?.Invoke(DeliveryStep.Sending, delivery.Consignment.Seq);
        _session.Begin(delivery);
        return true;
    }

    /// <summary>Once.</summary>
    private bool SayGoodbye()
    {
        bool isFirst = !_isQuitting;
        _isQuitting = true;
        _session.Quit();
        return isFirst;
    }

    private void TakeDeadline()
    {
        if (_session.TryTakeDeadline(out TimeSpan patience))
        {
            _connection!.SetDeadline(patience == Timeout.InfiniteTimeSpan ? _engine.IdleTime : patience);
        }
    }

    private string FailureText(string? faultOfTls)
    {
        if (faultOfTls is not null)
        {
            return $"451 4.7.5 TLS failed: {faultOfTls}";
        }

        if (_session.Failure is not { } failure)
        {
            return "451 4.4.2 connection lost";
        }

        Span<byte> text = stackalloc byte[400];
        return Encoding.ASCII.GetString(text[..failure.WriteText(text)]);
    }

    /// <summary>
    /// A salted password in the making on a thread of the pool (PBKDF2, 100 ms and more), and then the way back to the
    /// connection that waits for it, if it still does. Made for one use.
    /// </summary>
    private sealed class PasswordWork : ILoopWork
    {
        private readonly NextHopConnection _owner;
        private readonly Connection _connection;

        private PasswordWork(NextHopConnection owner, Connection connection)
        {
            _owner = owner;
            _connection = connection;
        }

        public static async Task BeginAsync(PasswordDerivation derivation, NextHopConnection owner, Connection connection)
        {
            var work = new PasswordWork(owner, connection);
            EventLoop loop = owner._engine.Loop;
            await Task.Run(derivation.Run);
            loop.Post(work);
        }

        public void Run()
        {
            // Closed meanwhile, its connection object serves another: then nobody waits for a derivation.
            if (ReferenceEquals(_owner._connection, _connection) && _owner._session.Derivation is not null)
            {
                _owner.GoOn();
            }
        }
    }
}
