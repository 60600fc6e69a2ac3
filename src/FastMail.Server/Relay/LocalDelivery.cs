using System.Buffers.Binary;
using System.Text;
using FastMail.Net;
using FastMail.Protocol.Notifications;
using FastMail.Server.Accounts;
using FastMail.Server.Receive;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <summary>
/// A queued message on its way into maildrops of this server: a second record with the same content and the word that the
/// recipient of the first has it, both or none. When the sender wants to hear of it, the second is the entry of the queue
/// for that word. Owned by the engine until the record has ended; loop thread only.
/// </summary>
internal sealed class LocalDelivery : ILoopWork
{
    private readonly DeliveryEngine _engine;
    private readonly Delivery _delivery;
    private PendingMessage _message = null!;
    private BodyReading? _reading;
    private long _skipped; // of the trace fields, which the first windows begin with
    private bool _isHeld;
    private bool _isAppended;
    private bool _isOver; // message and delivery are given back, which must happen once
    private ForwardPaths? _told; // the recipient, when the sender is to hear that it has it, or that it was late

    /// <param name="engine">Owns it.</param>
    /// <param name="delivery">Of one recipient.</param>
    /// <param name="mailboxes">Where it goes; not kept.</param>
    /// <param name="reservedOctets">Room that is reserved in each of them.</param>
    public LocalDelivery(DeliveryEngine engine, Delivery delivery, IEnumerable<Account> mailboxes, long reservedOctets)
    {
        _engine = engine;
        _delivery = delivery;
        Mailboxes = [.. mailboxes];
        ReservedOctets = reservedOctets;
        Consignment = delivery.Consignment;
        Consignment.Stage = Stage.Ending;
    }

    public Consignment Consignment { get; }

    public Account[] Mailboxes { get; }

    public long ReservedOctets { get; }

    public void Begin()
    {
        try
        {
            Write();
        }
        catch (Exception exception) when (!_isAppended && !_isOver)
        {
            Fail(exception);
        }
    }

    private void Write()
    {
        StoredMessage original = _delivery.Message;
        PendingMessage message = _engine.Log.RentMessage();
        _message = message;
        _engine.Fault?.Invoke(DeliveryStep.Storing, Consignment.Seq);
        message.SetReversePath(_delivery.ReversePath.Span);
        foreach (Account account in Mailboxes)
        {
            _ = message.TryAddLocalRecipient(account.MailboxId, _delivery[0].Path.Span);
        }

        bool isTold = IsWanted(DeliveryAction.Delivered)
            || (IsWanted(DeliveryAction.Delayed) && DeliveryEngine.IsOverUntold(_delivery, Intake.Micros(_engine.Now)));
        CopyMeta(original, message, isTold);
        if (isTold)
        {
            AddTold(message);
        }

        message.AddQueueChange(new QueueChange
        {
            Seq = Consignment.Seq,
            Recipient = Consignment[0],
            State = QueueState.Delivered,
            Attempts = Consignment.Attempts + 1,
            Text = Encoding.ASCII.GetBytes(Delivery.StoredText),
            Route = _engine.RouteFor(_delivery, 0),
        });
        message.SetTrace(original.Wire.Span[..original.TraceBytes], original.ReturnPathBytes);
        if (!_delivery.IsExternal)
        {
            message.AppendBody(original.Wire.Span[original.TraceBytes..]);
            Append();
        }
        else if (_engine.Log.TryBeginReading(original, BodyUse.Delivery, () => _engine.Loop.Post(this)) is { } reading)
        {
            _reading = reading;
            reading.ReadOn();
        }
        else
        {
            End(isDurable: false);
        }
    }

    /// <summary>A window has been read, the disk has caught up, or the record has ended.</summary>
    public void Run()
    {
        if (_isAppended)
        {
            End(_message.Outcome == AppendOutcome.Durable);
            return;
        }

        int inHand = _engine.InHand.Take(Consignment.Seq);
        try
        {
            WriteMore(_reading!);
        }
        catch (Exception exception) when (!_isAppended && !_isOver)
        {
            Fail(exception);
        }
        finally
        {
            _engine.InHand.PutDown(inHand);
        }
    }

    private void WriteMore(BodyReading reading)
    {
        _engine.Fault?.Invoke(DeliveryStep.Storing, Consignment.Seq);
        if (_isHeld)
        {
            _isHeld = false;
            GoOn(reading);
            return;
        }

        if (reading.Status != ReadStatus.Ok)
        {
            End(isDurable: false);
            return;
        }

        ReadOnlySpan<byte> window = reading.Window.Span;
        int skipped = (int)Math.Min(window.Length, _delivery.Message.TraceBytes - _skipped);
        _skipped += skipped;
        _message.AppendBody(window[skipped..]);
        _isHeld = _message.MustWait(() => _engine.Loop.Post(this));
        if (!_isHeld)
        {
            GoOn(reading);
        }
    }

    private void GoOn(BodyReading reading)
    {
        if (reading.RestBytes > 0)
        {
            reading.ReadOn();
        }
        else
        {
            Append();
        }
    }

    private void Append()
    {
        StoredMessage original = _delivery.Message;
        _message.Seal(new BodyFacts
        {
            Octets = (long)original.Octets - original.TraceBytes,
            HeaderWireBytes = original.HeaderWireBytes - original.TraceBytes,
            Flags = original.Flags & ~(MessageFlags.ExternalBody | MessageFlags.Imported),
        });
        _isAppended = true;
        _message.Owner = this;
        _engine.Log.Append(_message);
    }

    private void End(bool isDurable)
    {
        ulong seq = isDurable ? _message.Seq : 0;
        LetGo();
        _engine.LocalEnded(this, isDurable, seq, _told);
    }

    /// <summary>By a mistake of ours; nothing of it is in the log.</summary>
    private void Fail(Exception exception)
    {
        LetGo();
        _engine.LocalFailed(this, exception);
    }

    private void LetGo()
    {
        _isOver = true;
        _reading?.Close();
        _reading = null;
        _engine.Log.Return(_message);
        _engine.LocalWritten(_delivery);
    }

    private bool IsWanted(DeliveryAction action) =>
        NotificationPolicy.IsWanted(action, _delivery[0].Notify, _delivery.ReversePath.Span);

    private void AddTold(PendingMessage message)
    {
        ref readonly Addressee recipient = ref _delivery[0];
        _told = new ForwardPaths();
        _ = _told.TryAdd(recipient.Named.Span, isHere: true);
        message.AddRelayRecipient(recipient.Named.Span);
        if (!recipient.OriginalRecipient.IsEmpty)
        {
            message.AddMeta(MetaType.OriginalRecipient, recipient.OriginalRecipient.Span);
        }

        message.AddMeta(MetaType.Notify, [(byte)recipient.Notify]);
        Span<byte> arrival = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(arrival, _delivery.ArrivalMicros);
        message.AddMeta(MetaType.Stored, arrival);
    }

    private static void CopyMeta(in StoredMessage original, PendingMessage message, bool isTold)
    {
        MetaReader reader = new(original.Meta.Span);
        while (reader.Read())
        {
            if (reader.Type is MetaType.TransactionId or MetaType.ClientAddress or MetaType.Helo or MetaType.AuthIdentity
                or MetaType.Tls
                || (isTold && (reader.Type is MetaType.EnvelopeId or MetaType.Return or MetaType.DeliverBy
                    or MetaType.FutureRelease)))
            {
                message.AddMeta(reader.Type, reader.Value);
            }
        }
    }
}
