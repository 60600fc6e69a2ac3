using System.Security.Cryptography;
using System.Text;
using FastMail.Net;
using FastMail.Protocol.Notifications;
using FastMail.Protocol.Smtp;
using FastMail.Protocol.Smtp.Client;
using FastMail.Server.Receive;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <summary>Recipients of a delivery that its sender is told of. A value for the time of a call.</summary>
internal struct NoticeList
{
    private List<(int Place, DeliveryAction Action, QueueState State)>? _entries;

    public readonly bool IsEmpty => _entries is null;

    public readonly IReadOnlyList<(int Place, DeliveryAction Action, QueueState State)> Entries => _entries ?? [];

    /// <param name="place">Of the recipient in the delivery.</param>
    /// <param name="action">What the sender hears.</param>
    /// <param name="state">What the recipient is in the queue from now on.</param>
    public void Add(int place, DeliveryAction action, QueueState state) => (_entries ??= []).Add((place, action, state));
}

/// <summary>
/// One notification on its way into the log: it and the changes it tells of are one record, so that there is never one
/// without the other. Owned by the engine until the record has ended; loop thread only.
/// </summary>
internal sealed class Notice : ILoopWork
{
    private readonly DeliveryEngine _engine;
    private readonly Delivery _delivery;
    private readonly ulong _seq;
    private readonly (int Place, uint Recipient, DeliveryAction Action, QueueState State)[] _told;
    private readonly uint[] _stored; // of those, the ones in maildrops of this server since before
    private readonly List<QueueChange> _changes = [];
    private readonly Consignment? _late; // waits, and those of it that are told of are told of its delay
    private readonly int _attempts;
    private readonly bool _wasDelayTold;
    private readonly long _due;
    private readonly long _until;
    private readonly NotificationWriter _writer = new();
    private readonly ForwardPaths _paths = new();
    private PendingMessage? _message;
    private BodyReading? _reading;
    private bool _isAppended;

    /// <param name="engine">Owns it.</param>
    /// <param name="delivery">Goes back to the engine from here.</param>
    /// <param name="list">Who is spoken of; one at least.</param>
    /// <param name="due">Of the next attempt, microseconds since 1970 UTC.</param>
    /// <param name="until">When the message is given up, likewise.</param>
    public Notice(DeliveryEngine engine, Delivery delivery, NoticeList list, long due, long until)
    {
        _engine = engine;
        _delivery = delivery;
        _seq = delivery.Consignment.Seq;
        _attempts = delivery.Consignment.Attempts;
        _wasDelayTold = delivery.Consignment.IsDelayTold;
        _due = due;
        _until = until;
        _told = [.. list.Entries.Select(e => (e.Place, delivery.Consignment[e.Place], e.Action, e.State))];
        _stored = [.. _told.Where(t => delivery[t.Place].IsStored).Select(t => t.Recipient)];
        Gone = _told.Count(t => t.State == QueueState.Delivered && !delivery[t.Place].IsStored);
        _late = Array.Exists(_told, t => t.State == QueueState.Deferred) ? delivery.Consignment : null;
    }

    /// <summary>The ends of those whom the mail has left for: they hold, whether that can be told or not.</summary>
    public IEnumerable<QueueChange> Delivered =>
        _changes.Where(change => change.State == QueueState.Delivered && !_stored.Contains(change.Recipient));

    /// <summary>How many of those there are to be.</summary>
    public int Gone { get; }

    /// <summary>The others that have ended with it.</summary>
    public IEnumerable<uint> Ended =>
        _changes.Where(change => change.State.IsEnd()).Select(change => change.Recipient)
            .Except(Delivered.Select(change => change.Recipient));

    public ulong Seq => _seq;

    public int Attempts => _attempts;

    public bool IsDelayTold => _wasDelayTold;

    /// <summary>Gets what says whether its record, or what ended without one, is durable; null when nobody asks.</summary>
    public TaskCompletionSource<Task>? Written { get; set; }

    /// <summary>Writes it and hands it to the log; the delivery goes back to the engine when it is not needed any more.</summary>
    public void Send()
    {
        _message = _engine.Log.RentMessage();
        bool hasReader = true;
        int inHand = _engine.InHand.Take(_seq);
        try
        {
            _engine.Fault?.Invoke(DeliveryStep.Telling, _seq);
            _message.SetReversePath(default);
            hasReader = _engine.AddReader(_message, _delivery.ReversePath.Span, _paths);
            if (hasReader)
            {
                Write(_message);
            }
        }
        catch (Exception exception) when (!_isAppended)
        {
            Fail(exception);
        }
        finally
        {
            _engine.InHand.PutDown(inHand);
        }

        if (!hasReader)
        {
            Cancel(holdsFailed: false); // nobody here has that address (any more): there is nobody to tell
        }
    }

    /// <summary>It is not in the log: of the delay nobody has been told.</summary>
    public void TakeDelayBack()
    {
        // A consignment that is another's by now has another number, or none of these recipients.
        if (_late is not null && _late.Seq == _seq && Array.Exists(_told, t => _late.Contains(t.Recipient)))
        {
            _late.IsDelayTold = _wasDelayTold;
        }
    }

    private void Write(PendingMessage message)
    {
        Span<byte> id = stackalloc byte[32];
        id = id[..Intake.WriteId(_engine.NextTransactionId(), id)];
        message.AddMeta(MetaType.TransactionId, id);
        AddChanges(message);
        Span<byte> trace = stackalloc byte[TraceFields.MaxBytes];
        int length = TraceFields.WriteOwn(
            trace, _engine.Hostname.Span, id, _delivery.ReversePath.Span, _engine.Now, out int returnPathBytes);
        message.SetTrace(trace[..length], returnPathBytes);
        Begin(message, id);
        if (!_delivery.IsExternal)
        {
            _writer.AppendOriginal(_delivery.Message.Wire.Span[_delivery.Message.ReturnPathBytes..]);
            Append();
        }
        else if (_engine.Log.TryBeginReading(_delivery.Message, BodyUse.Delivery, () => _engine.Loop.Post(this)) is { } reading)
        {
            _reading = reading; // the first window holds the header section, or as much of it as anybody returns
            reading.ReadOn();
        }
        else
        {
            Append(); // too many are being read: without what it is about rather than not at all
        }
    }

    /// <summary>The window has been read, or the record has ended.</summary>
    public void Run()
    {
        if (!_isAppended)
        {
            int inHand = _engine.InHand.Take(_seq);
            try
            {
                WriteOriginal(_reading!);
            }
            catch (Exception exception) when (!_isAppended)
            {
                Fail(exception);
            }
            finally
            {
                _engine.InHand.PutDown(inHand);
            }

            return;
        }

        PendingMessage message = _message!;
        bool isDurable = message.Outcome == AppendOutcome.Durable;
        ulong seq = message.Seq;
        _engine.Log.Return(message);
        _engine.NoticeEnded(this, isDurable, seq, _paths);
    }

    private void WriteOriginal(BodyReading reading)
    {
        _engine.Fault?.Invoke(DeliveryStep.Telling, _seq);
        if (reading.Status == ReadStatus.Ok)
        {
            _writer.AppendOriginal(reading.Window.Span[_delivery.Message.ReturnPathBytes..]);
        }

        reading.Close();
        _reading = null;
        Append();
    }

    private void AddChanges(PendingMessage message)
    {
        foreach ((int place, uint recipient, DeliveryAction action, QueueState state) in _told)
        {
            var change = new QueueChange
            {
                Seq = _seq,
                Recipient = recipient,
                State = state,
                DueMicros = state.IsEnd() ? 0 : _due,
                Attempts = state.IsEnd() ? _attempts + 1 : _attempts,
                IsDelayTold = _wasDelayTold || action == DeliveryAction.Delayed,
                // Copied: they may be needed when the delivery is gone.
                Text = _engine.TextFor(_delivery, place).ToArray(),
                Route = _engine.RouteFor(_delivery, place).ToArray(),
                Tls = _delivery.Tls.ToArray(),
            };
            message.AddQueueChange(change);
            _changes.Add(change);
        }
    }

    private void Begin(PendingMessage message, ReadOnlySpan<byte> id)
    {
        StoredMessage original = _delivery.Message;
        DateTimeOffset now = _engine.Now;
        NotifiedRecipient[] recipients = [.. _told.Select(t => Describe(t.Place, t.Action, t.State, now))];
        Span<byte> random = stackalloc byte[sizeof(ulong)];
        RandomNumberGenerator.Fill(random);
        _writer.Begin(
            message.AppendBody,
            new NotificationArguments
            {
                Sender = _delivery.ReversePath.Span,
                Hostname = _engine.Hostname.Span,
                TransactionId = id,
                OriginalTransactionId = _delivery.TransactionId.Span,
                EnvelopeId = _delivery.EnvelopeId.Span,
                Now = now,
                ArrivedAt = DateTimeOffset.UnixEpoch.AddMicroseconds(_delivery.ArrivalMicros),
                DeliverBy = _delivery.DeliverByMicros is { } deadline
                    ? DateTimeOffset.UnixEpoch.AddMicroseconds(deadline)
                    : null,
                Release = _delivery.Release,
                ReleaseText = _delivery.ReleaseText.Span,
                Random = BitConverter.ToUInt64(random),
                Return = _delivery.Return,
                OriginalWireBytes = original.WireBytes - original.ReturnPathBytes,
                MaxFullBytes = _delivery.IsExternal ? 0 : _engine.MostReturnedBytes,
                LeavesHere = _paths.Count > 0,
                OriginalHas8Bit = (original.Flags & MessageFlags.Has8Bit) != 0,
                OriginalIsSmtpUtf8 = (original.Flags & MessageFlags.SmtpUtf8) != 0,
            },
            recipients);
    }

    private NotifiedRecipient Describe(int place, DeliveryAction action, QueueState state, DateTimeOffset now)
    {
        ref readonly Addressee recipient = ref _delivery[place];
        bool isPastDeadline = action == DeliveryAction.Delayed && _delivery.DeliverByMicros <= Intake.Micros(now);
        return new NotifiedRecipient
        {
            Address = recipient.Named, // RFC 3464 2.3.2: as it was when it was accepted, wherever it went from here
            Action = action,
            // RFC 2852 4.1.3: that the time is over goes before why it is.
            Status = isPastDeadline ? "4.4.7"u8.ToArray() : Encoding.ASCII.GetBytes(recipient.Status.ToString()),
            OriginalRecipient = recipient.OriginalRecipient,
            RemoteHost = recipient.IsRemote && _delivery.Carrier is { } carrier
                ? carrier.HopText[..Math.Max(0, carrier.HopText.Length - 1)].ToArray()
                : default,
            HostReports = _delivery.Carrier is { } hop && hop.Offers.HasFlag(SmtpOffers.Dsn),
            Diagnostic = _delivery.TextOf(place),
            IsSmtpReply = recipient.IsRemote,
            LastAttempt = _delivery.IsTried ? now : null, // RFC 3464 2.3.7: of an earlier one the time is not known
            WillRetryUntil = state == QueueState.Deferred
                ? DateTimeOffset.UnixEpoch.AddMicroseconds(_until)
                : null,
        };
    }

    private void Append()
    {
        NotificationFacts facts = _writer.End();
        PendingMessage message = _message!;
        message.Seal(new BodyFacts
        {
            Octets = facts.Octets,
            HeaderWireBytes = facts.HeaderWireBytes,
            Flags = (facts.Has8Bit ? MessageFlags.Has8Bit : MessageFlags.None)
                | (facts.HasLongLine ? MessageFlags.LongLine : MessageFlags.None)
                | (facts.NeedsSmtpUtf8 ? MessageFlags.SmtpUtf8 : MessageFlags.None),
        });
        _isAppended = true; // before the delivery is given back, which must happen once
        _engine.NoticeWritten(_delivery);
        message.Owner = this;
        _engine.Log.Append(message);
    }

    /// <summary>
    /// By a mistake of ours; nothing of it is in the log. A recipient that failed is held back: it must not end without a
    /// word, and trying it again and again would be no better.
    /// </summary>
    private void Fail(Exception exception)
    {
        _engine.NoticeFailed(exception);
        _reading?.Close();
        _reading = null;
        Cancel(holdsFailed: true);
    }

    private void Cancel(bool holdsFailed)
    {
        _engine.Log.Return(_message!);
        foreach ((int place, uint recipient, _, QueueState state) in _told)
        {
            if (holdsFailed && state == QueueState.Failed)
            {
                _engine.HoldUntold(_seq, recipient, _attempts, _wasDelayTold);
            }
            else
            {
                _engine.EndUntold(_delivery, _seq, place, recipient, state, _attempts, _due);
            }
        }

        _engine.NoticeWritten(_delivery);
        _engine.NoticeEnded(this, isDurable: true, 0, null);
    }
}
