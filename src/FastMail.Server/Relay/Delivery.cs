using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using FastMail.Net;
using FastMail.Protocol.Smtp;
using FastMail.Protocol.Smtp.Client;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <summary>
/// One attempt to deliver a consignment: the message as it lies in the log, under a lease, and what became of each
/// recipient. Pooled by the <see cref="DeliveryEngine"/>; loop thread only. Allocates nothing once it is warm, but for a
/// message whose body is a file of its own.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "Pooled for the life of the engine; Unload ends the lease.")]
internal sealed class Delivery : IOutgoingMail, ILoopWork
{
    /// <summary>What the queue says of a recipient that has it in a maildrop.</summary>
    public const string StoredText = "250 2.1.5 delivered to a maildrop of this server";

    private const long MostBySeconds = 999_999_999; // nine digits (RFC 2852 4)

    private static ReadOnlySpan<byte> InDoubtText => " (the message may have arrived)"u8;

    private readonly DeliveryEngine _engine;
    private readonly QueueLease _lease = new();
    private readonly List<QueuedRecipient> _queued = [];
    private readonly Action _partRead;
    private Addressee[] _recipients = new Addressee[4];
    private byte[] _texts = new byte[1024];
    private int _textBytes;
    private StoredMessage _message;
    private BodyReading? _reading;
    private bool _isReading; // its first part has been asked for
    private bool _isPartDue; // one has been asked for and not been taken
    private bool _isPartThere; // and the loop has heard of it: one in each turn, as the other window is being sent in it
    private int _piece;
    private DeliverBy? _deliverBy;
    private int? _priority;
    private DsnReturn _return;
    private bool _requiresTls;

    public Delivery(DeliveryEngine engine)
    {
        _engine = engine;
        _partRead = () => engine.Loop.Post(this);
    }

    public Consignment Consignment { get; private set; } = null!;

    /// <summary>Who carries it; null when it ends without anybody.</summary>
    public NextHopConnection? Carrier { get; set; }

    /// <summary>The decision by which it goes where it goes; null when there is none.</summary>
    public Route? Route { get; set; }

    /// <summary>How the connection that carries it is protected, for people; empty without one.</summary>
    public ReadOnlyMemory<byte> Tls { get; set; }

    /// <summary>False when it ends, or is put off, without having been tried.</summary>
    public bool IsTried { get; private set; }

    /// <summary>The DKIM-Signature field to send in front; empty for none.</summary>
    public ReadOnlyMemory<byte> Signature { get; set; }

    public ref readonly StoredMessage Message => ref _message;

    public ReadOnlyMemory<byte> ReversePath { get; private set; }

    public ReadOnlyMemory<byte> EnvelopeId { get; private set; }

    public ReadOnlyMemory<byte> AuthMailbox { get; private set; }

    public ReadOnlyMemory<byte> AuthIdentity { get; private set; }

    public ReadOnlyMemory<byte> TransactionId { get; private set; }

    public DsnReturn Return => _return;

    public DeliverBy? DeliverBy => _deliverBy;

    /// <summary>When it must have been delivered by the sender's wish, microseconds since 1970 UTC; null for no wish.</summary>
    public long? DeliverByMicros { get; private set; }

    /// <summary>When its sender wanted it to go at the earliest, microseconds since 1970 UTC; null for no wish.</summary>
    public long? ReleaseMicros { get; private set; }

    /// <summary>That wish; null for none.</summary>
    public FutureRelease? Release { get; private set; }

    /// <summary>Its value as it was given; empty when that is not known.</summary>
    public ReadOnlyMemory<byte> ReleaseText { get; private set; }

    /// <summary>When the message was received, microseconds since 1970 UTC.</summary>
    public long ArrivalMicros { get; private set; }

    /// <summary>When its way began: its arrival, or its release.</summary>
    public long BeginMicros => Math.Max(_message.TimestampMicros, ReleaseMicros ?? 0);

    public int Priority => _priority ?? 0;

    public int Recipients { get; private set; }

    /// <summary>All of the recipients have it in maildrops of this server, and the sender is to be told.</summary>
    public bool IsStored
    {
        get
        {
            bool isStored = Recipients > 0;
            for (int i = 0; i < Recipients; i++)
            {
                isStored &= _recipients[i].IsStored;
            }

            return isStored;
        }
    }

    /// <summary>The message cannot be had in one piece: its body is a file of its own.</summary>
    public bool IsExternal { get; private set; }

    public OutgoingContent Content
    {
        get
        {
            long wire = _message.WireBytes - _message.ReturnPathBytes;
            long octets = (long)_message.Octets - _message.ReturnPathBytes;
            return new OutgoingContent(wire + Signature.Length, octets + Signature.Length);
        }
    }

    public MailArguments Mail => new()
    {
        ReversePath = ReversePath.Span,
        DeclaredSize = (long)_message.Octets - _message.ReturnPathBytes + Signature.Length,
        Is8BitMime = (_message.Flags & MessageFlags.Has8Bit) != 0,
        IsSmtpUtf8 = (_message.Flags & MessageFlags.SmtpUtf8) != 0 && HasUtf8Header(),
        AuthMailbox = AuthMailbox.Span,
        EnvelopeId = EnvelopeId.Span,
        Return = _return,
        RequiresTls = _requiresTls,
        DeliverBy = _deliverBy,
        Priority = _priority,
    };

    public ref Addressee this[int number] => ref _recipients[number];

    public RcptArguments Recipient(int number)
    {
        ref readonly Addressee recipient = ref _recipients[number];
        return new RcptArguments
        {
            ForwardPath = recipient.Path.Span,
            Notify = recipient.Notify,
            OriginalRecipient = recipient.OriginalRecipient.Span,
        };
    }

    /// <summary>Takes the message up. Anything but Ok and External has taken nothing.</summary>
    public ReadStatus Load(MailLog log, Consignment consignment, DateTimeOffset now)
    {
        Consignment = consignment;
        Recipients = 0;
        _textBytes = 0;
        _piece = 0;
        IsTried = true;
        if (!log.TryLeaseQueued(consignment.Seq, _lease))
        {
            return ReadStatus.NotFound;
        }

        ReadStatus status = _lease.TryRead(out _message);
        if (status is not (ReadStatus.Ok or ReadStatus.External))
        {
            Unload();
            return status;
        }

        IsExternal = status == ReadStatus.External;
        ReadEnvelope(now);
        if (Array.FindIndex(_recipients, 0, Recipients, static recipient => recipient.Path.IsEmpty) >= 0)
        {
            Unload(); // nobody is told that an address is malformed which is only not there
            return ReadStatus.Damaged;
        }

        if (consignment.IsStale)
        {
            Refresh(log);
        }

        return status;
    }

    /// <summary>
    /// Makes sure that the content can be read once the host asks for it. False when too many large messages are being
    /// read.
    /// </summary>
    public bool TryReserveReading()
    {
        _isReading = false;
        _isPartDue = false;
        _isPartThere = false;
        _reading = IsExternal ? _engine.Log.TryBeginReading(_message, BodyUse.Delivery, _partRead) : null;
        return !IsExternal || _reading is not null;
    }

    /// <summary>Lets the message go; slices of it must not be touched any more.</summary>
    public void Unload()
    {
        _reading?.Close();
        _reading = null;
        _lease.Dispose();
        _message = default;
        Array.Clear(_recipients, 0, Recipients);
        Recipients = 0;
        ReversePath = default;
        EnvelopeId = default;
        AuthMailbox = default;
        AuthIdentity = default;
        TransactionId = default;
        Signature = default;
        Carrier = null;
        Route = null;
        Tls = default;
        Consignment = null!;
    }

    public bool TryRead(out ReadOnlyMemory<byte> piece)
    {
        if (_piece == 0 && !Signature.IsEmpty)
        {
            _piece = 1;
            piece = Signature;
            return true;
        }

        if (!IsExternal)
        {
            piece = _message.Wire[_message.ReturnPathBytes..];
            return true;
        }

        return TryReadPart(out piece);
    }

    public void Answered(int recipient, in DeliveryReply reply)
    {
        ref Addressee addressee = ref _recipients[recipient];
        addressee.Answer(reply);
        Span<byte> room = TextRoom();
        addressee.Text = _textBytes;
        addressee.TextBytes = reply.WriteText(room);
        if (reply.IsInDoubt)
        {
            addressee.TextBytes = Math.Min(addressee.TextBytes, room.Length - InDoubtText.Length);
            InDoubtText.CopyTo(room[addressee.TextBytes..]);
            addressee.TextBytes += InDoubtText.Length;
        }

        _textBytes += addressee.TextBytes;
    }

    /// <summary>The end of all recipients that have none, in words of ours.</summary>
    public void AnswerRest(RouteFailure failure)
    {
        for (int i = 0; i < Recipients; i++)
        {
            ref Addressee addressee = ref _recipients[i];
            if (!addressee.IsAnswered)
            {
                addressee.Answer(failure);
                Reword(i, failure.ToString());
            }
        }
    }

    /// <summary>The end of one recipient for whom there is no way.</summary>
    public void AnswerWayless(int recipient, Route route)
    {
        _recipients[recipient].Route = route;
        _recipients[recipient].Answer(route.Failure!);
        Reword(recipient, route.Failure!.ToString());
    }

    /// <summary>The end of all recipients that have none, in words of ours, when there is no attempt at all.</summary>
    public void AnswerUntried(RouteFailure failure)
    {
        IsTried = false;
        AnswerRest(failure);
    }

    /// <summary>All of the recipients have it, in maildrops of this server.</summary>
    public void AnswerStored()
    {
        for (int i = 0; i < Recipients; i++)
        {
            _recipients[i].AnswerStored();
            Reword(i, StoredText);
        }
    }

    /// <summary>Other words for what was said of a recipient.</summary>
    public void Reword(int recipient, string words)
    {
        Span<byte> room = TextRoom();
        _recipients[recipient].Text = _textBytes;
        _recipients[recipient].TextBytes = Encoding.UTF8.TryGetBytes(words, room, out int written)
            ? written
            : Encoding.ASCII.GetBytes(words.AsSpan(0, room.Length / 3), room);
        _textBytes += _recipients[recipient].TextBytes;
    }

    public ReadOnlyMemory<byte> TextOf(int recipient) =>
        _texts.AsMemory(_recipients[recipient].Text, _recipients[recipient].TextBytes);

    public void Ended() => _engine.AttemptEnded(this);

    /// <summary>A part of a large message has been read: of this one, or of one that was let go meanwhile.</summary>
    public void Run()
    {
        if (_isPartDue && _reading is { IsUnderWay: false })
        {
            _isPartThere = true;
            Carrier?.GoOn();
        }
    }

    private Span<byte> TextRoom()
    {
        if (_texts.Length - _textBytes < QueueChange.MaxTextBytes)
        {
            Array.Resize(ref _texts, _texts.Length * 2);
        }

        return _texts.AsSpan(_textBytes, QueueChange.MaxTextBytes);
    }

    private bool TryReadPart(out ReadOnlyMemory<byte> piece)
    {
        piece = default;
        if (!_isReading)
        {
            _isReading = true;
            _isPartDue = true;
            _reading!.ReadOn();
            return false;
        }

        if (!_isPartThere)
        {
            return false;
        }

        _isPartThere = false;
        _isPartDue = false;
        if (_reading!.Status != ReadStatus.Ok)
        {
            return true;
        }

        piece = _reading.Window;
        if (_piece < 2)
        {
            _piece = 2;
            piece = piece[_message.ReturnPathBytes..];
        }

        if (_reading.RestBytes > 0)
        {
            _isPartDue = true;
            _reading.ReadOn(); // into the other window
        }

        return true;
    }

    /// <summary>Of a body that is a file of its own it is known only whether there is such an octet anywhere in it.</summary>
    private bool HasUtf8Header()
    {
        if (!Ascii.IsValid(_message.Wire.Span[.._message.TraceBytes]))
        {
            return true;
        }

        int header = (int)Math.Min(_message.HeaderWireBytes, _message.Wire.Length);
        return (_message.Flags & MessageFlags.Has8Bit) != 0
            && (IsExternal || !Ascii.IsValid(_message.Wire.Span[_message.TraceBytes..Math.Max(_message.TraceBytes, header)]));
    }

    private void ReadEnvelope(DateTimeOffset now)
    {
        Consignment consignment = Consignment;
        if (_recipients.Length < consignment.Count)
        {
            _recipients = new Addressee[Math.Max(consignment.Count, _recipients.Length * 2)];
        }

        Recipients = consignment.Count;
        Array.Clear(_recipients, 0, Recipients);
        _deliverBy = null;
        DeliverByMicros = null;
        ReleaseMicros = null;
        Release = null;
        ReleaseText = default;
        ArrivalMicros = _message.TimestampMicros;
        _priority = null;
        _return = DsnReturn.Unsaid;
        _requiresTls = false;
        int place = -1; // of the recipient that the wishes are about
        int position = 0;
        MetaReader reader = new(_message.Meta.Span);
        while (reader.Read())
        {
            position += MetaReader.FieldHeaderBytes;
            ReadOnlyMemory<byte> value = _message.Meta.Slice(position, reader.Value.Length);
            position += value.Length;
            switch (reader.Type)
            {
                case MetaType.RelayRecipient:
                    place = consignment.PlaceOf(BinaryPrimitives.ReadUInt32LittleEndian(value.Span));
                    if (place >= 0)
                    {
                        _recipients[place].Named = _recipients[place].Path = value[sizeof(uint)..];
                    }

                    break;
                case MetaType.LocalRecipient:
                    place = -1;
                    break;
                case MetaType.Maildrop when place >= 0:
                    int length = _recipients[place].Maildrops.Length + MetaReader.FieldHeaderBytes + value.Length;
                    _recipients[place].Maildrops = _message.Meta[(position - length)..position]; // they stand together
                    break;
                case MetaType.OriginalRecipient when place >= 0:
                    _recipients[place].OriginalRecipient = value;
                    break;
                case MetaType.Notify when place >= 0:
                    _recipients[place].Notify = (DsnNotify)value.Span[0];
                    break;
                case MetaType.Stored when place >= 0:
                    _recipients[place].IsStored = true;
                    ArrivalMicros = value.IsEmpty ? ArrivalMicros : BinaryPrimitives.ReadInt64LittleEndian(value.Span);
                    break;
                default:
                    ReadWish(reader.Type, value, now);
                    break;
            }
        }
    }

    private void ReadWish(MetaType type, ReadOnlyMemory<byte> value, DateTimeOffset now)
    {
        switch (type)
        {
            case MetaType.ReversePath: ReversePath = value; break;
            case MetaType.EnvelopeId: EnvelopeId = value; break;
            case MetaType.AuthMailbox: AuthMailbox = value; break;
            case MetaType.AuthIdentity: AuthIdentity = value; break;
            case MetaType.TransactionId: TransactionId = value; break;
            case MetaType.RequireTls: _requiresTls = true; break;
            case MetaType.Priority: _priority = (sbyte)value.Span[0]; break;
            case MetaType.Return: _return = value.Span[0] == 1 ? DsnReturn.Full : DsnReturn.Headers; break;
            case MetaType.DeliverBy:
                DeliverByMicros = BinaryPrimitives.ReadInt64LittleEndian(value.Span);
                byte mode = value.Span[sizeof(long)];
                long left = DeliverByMicros.Value - Receive.Intake.Micros(now);
                long whole = (left / 1_000_000) - (left % 1_000_000 < 0 ? 1 : 0); // never more than there are
                _deliverBy = new DeliverBy(Math.Max(whole, -MostBySeconds), (mode & 1) != 0, (mode & 2) != 0);
                break;
            case MetaType.FutureRelease:
                ReleaseMicros = BinaryPrimitives.ReadInt64LittleEndian(value.Span);
                uint seconds = BinaryPrimitives.ReadUInt32LittleEndian(value.Span[sizeof(long)..]);
                Release = seconds > 0 ? new FutureRelease(seconds, IsUntil: false)
                    : new FutureRelease(ReleaseMicros.Value / 1_000_000, IsUntil: true);
                ReleaseText = value[(sizeof(long) + sizeof(uint))..];
                break;
            default: break;
        }
    }

    /// <summary>An operator may have sent recipients elsewhere.</summary>
    private void Refresh(MailLog log)
    {
        _ = log.Queue.TryFind(Consignment.Seq, out _, _queued);
        foreach (QueuedRecipient queued in _queued)
        {
            for (int i = 0; i < Recipients && !queued.ForwardPath.IsEmpty; i++)
            {
                if (Consignment[i] == queued.Recipient)
                {
                    _recipients[i].Path = queued.ForwardPath;
                    _recipients[i].IsStored = false; // there it is not
                    _recipients[i].Maildrops = default;
                }
            }
        }

        _queued.Clear();
    }
}
