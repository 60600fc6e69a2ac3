using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>What the content scanner knows of a body, octets.</summary>
public readonly record struct BodyFacts
{
    /// <summary>
    /// Length as the recipient counts it: without dot-stuffing and the final <c>.CRLF</c> (RFC 1939).
    /// </summary>
    public required long Octets { get; init; }

    /// <summary>Length of the body's header section in wire form with the empty line that ends it.</summary>
    public required long HeaderWireBytes { get; init; }

    /// <summary>What else was seen.</summary>
    public required MessageFlags Flags { get; init; }
}

/// <summary>
/// A message under construction: one mail transaction with all its recipients, one record. Pooled: rented from the
/// log, built by one producer thread in the order envelope and meta, trace, body, seal; owned by the log while it is
/// appended; returned by the observer's side. Calls out of order throw <see cref="InvalidOperationException"/>.
/// </summary>
public sealed partial class PendingMessage : PendingAppend
{
    /// <summary>Longest body: POP3 clients count octets in 31 bits, and every second one may be a stuffed dot.</summary>
    public const long MaxBodyBytes = uint.MaxValue - (64L << 20);

    private const int UidOffset = sizeof(ulong); // inside a local recipient's value
    private const int KeptRecipients = 1024;
    private const int MaxRoom = 1024;
    private const int EndBytes = 5; // CRLF.CRLF

    private readonly ChunkedBuffer _buffer;
    private readonly BodyWriter _bodies;
    private readonly long _inlineBytes;
    private PendingBody? _body; // once the message has outgrown a record
    private ulong _end; // the last octets of a body that has moved out
    private State _state;
    private RecordHeader _header;
    private ulong[] _mailboxes = new ulong[8];
    private long[] _uidPositions = new long[8];
    private ulong[] _uids = new ulong[8];
    private int _localRecipients;
    private uint _relayRecipients;
    private long[] _changes = []; // where the values of changes of the queue begin
    private int _changeCount;
    private bool _tellsOfAnother;
    private long _headerWirePosition;
    private int _room; // octets of padding right in front of the trace
    private bool _isImported;
    private ulong _leastUid;
    private ulong _freeUid;
    private long _uniqueIdPosition;

    internal PendingMessage(ChunkPool chunks, BodyWriter bodies, long inlineBytes)
    {
        _buffer = new ChunkedBuffer(chunks);
        _bodies = bodies;
        _inlineBytes = inlineBytes;
        Reset();
    }

    private enum State
    {
        Envelope,
        Body,
        Sealed,
        Appended,
    }

    /// <summary>The body goes to a file of its own, and what is held in memory does not grow with it.</summary>
    public bool HasExternalBody => _body is not null;

    /// <inheritdoc/>
    public override long Bytes => RecordHeader.TotalFor(_buffer.Length - RecordHeader.Bytes);

    /// <summary>Recipients whose maildrops are in this store.</summary>
    public int LocalRecipients => _localRecipients;

    /// <summary>Octets of the trace fields; 0 before <see cref="SetTrace"/>.</summary>
    public int TraceBytes => (int)_header.TraceBytes;

    internal override bool IsReady => _state == State.Sealed;

    internal override bool MayUseReserve => false;

    /// <summary>Taken out again, it would leave the changes behind that it was written together with.</summary>
    internal override bool MayBeGivenUp => !_tellsOfAnother;

    private int References => _localRecipients + (_relayRecipients > 0 ? 1 : 0);

    /// <summary>The reverse-path without angle brackets; empty for the null reverse-path.</summary>
    public void SetReversePath(ReadOnlySpan<byte> path)
    {
        AddMeta(MetaType.ReversePath, path);
    }

    /// <summary>False, and nothing changed, when that mailbox is a recipient already.</summary>
    public bool TryAddLocalRecipient(ulong mailboxId, ReadOnlySpan<byte> address)
    {
        Require(State.Envelope);
        if (_mailboxes.AsSpan(0, _localRecipients).Contains(mailboxId))
        {
            return false;
        }

        if (_localRecipients == _mailboxes.Length)
        {
            Array.Resize(ref _mailboxes, _localRecipients * 2);
            Array.Resize(ref _uidPositions, _localRecipients * 2);
            Array.Resize(ref _uids, _localRecipients * 2);
        }

        Span<byte> value = stackalloc byte[sizeof(ulong) * 2];
        BinaryPrimitives.WriteUInt64LittleEndian(value, mailboxId);
        value[UidOffset..].Clear(); // the appender fills in the unique-id
        WriteField(MetaType.LocalRecipient, value, address);
        _mailboxes[_localRecipients] = mailboxId;
        _uidPositions[_localRecipients] = _buffer.Length - address.Length - sizeof(ulong);
        _localRecipients++;
        return true;
    }

    /// <summary>
    /// Takes a recipient back, with what was said of it: its fields become padding, so everything else stays where it
    /// is. Possible until the body is sealed, for only then is it known how large the message has become.
    /// </summary>
    public void DropLocalRecipient(ulong mailboxId)
    {
        if (_state is not (State.Envelope or State.Body))
        {
            throw new InvalidOperationException($"a message in state {_state} keeps its recipients");
        }

        int index = _mailboxes.AsSpan(0, _localRecipients).IndexOf(mailboxId);
        ArgumentOutOfRangeException.ThrowIfNegative(index, nameof(mailboxId));
        EraseRecipient(_uidPositions[index] - UidOffset - MetaReader.FieldHeaderBytes);
        _localRecipients--;
        _mailboxes.AsSpan(index + 1, _localRecipients - index).CopyTo(_mailboxes.AsSpan(index));
        _uidPositions.AsSpan(index + 1, _localRecipients - index).CopyTo(_uidPositions.AsSpan(index));
    }

    /// <summary>A recipient to be relayed; they are numbered from 0 in the order of the calls.</summary>
    public void AddRelayRecipient(ReadOnlySpan<byte> address)
    {
        Require(State.Envelope);
        Span<byte> index = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(index, _relayRecipients);
        WriteField(MetaType.RelayRecipient, index, address);
        _relayRecipients++;
    }

    /// <summary>
    /// A change of the queue that stands in this very record, so that there are both or neither: what became of another
    /// message, told by this one; or how a recipient of this one begins. Copied. A message that tells of another cannot be
    /// given up.
    /// </summary>
    /// <exception cref="ArgumentException">The forward-path is too long.</exception>
    public void AddQueueChange(in QueueChange change)
    {
        Require(State.Envelope);
        _tellsOfAnother |= change.Seq != 0;
        StoredChange stored = StoredChange.Of(change);
        Span<byte> value = stackalloc byte[StoredChange.MostBytes];
        stored.Write(value);
        WriteField(MetaType.QueueChange, value[..stored.Bytes], default);
        if (_changeCount == _changes.Length)
        {
            Array.Resize(ref _changes, Math.Max(8, _changeCount * 2));
        }

        _changes[_changeCount++] = _buffer.Length - stored.Bytes;
    }

    /// <summary>
    /// What an imported message brings along. The first recipient gets a unique-id of at least <paramref name="number"/>.
    /// </summary>
    /// <param name="uniqueId">Unique-id, ASCII; empty when there is none.</param>
    /// <param name="arrivalMicros">When it arrived, microseconds since 1970 UTC; 0 when it is not known.</param>
    /// <param name="number">The number in a unique-id of this store's own form; 0 for any other.</param>
    /// <param name="nextUid">
    /// All numbers from here on were free when the unique-id was found to be free. If such a number was given away
    /// since then, the message has no unique-id of its own: <see cref="HasLostUniqueId"/>.
    /// </param>
    public void SetImport(ReadOnlySpan<byte> uniqueId, long arrivalMicros, ulong number, ulong nextUid)
    {
        Require(State.Envelope);
        _isImported = true;
        _leastUid = number;
        _freeUid = nextUid;
        if (!uniqueId.IsEmpty)
        {
            WriteField(MetaType.UniqueId, uniqueId, default);
            _uniqueIdPosition = _buffer.Length - uniqueId.Length;
        }

        if (arrivalMicros != 0)
        {
            Span<byte> value = stackalloc byte[sizeof(long)];
            BinaryPrimitives.WriteInt64LittleEndian(value, arrivalMicros);
            WriteField(MetaType.Arrival, value, default);
        }
    }

    /// <summary>Replaces the unique-id by one of the same length; before the message is appended.</summary>
    public void PatchUniqueId(ReadOnlySpan<byte> uniqueId)
    {
        if (_state is State.Appended || _uniqueIdPosition == 0)
        {
            throw new InvalidOperationException("the message has no unique-id that could still be changed");
        }

        _buffer.Patch(_uniqueIdPosition, uniqueId);
    }

    /// <summary>Unique-id in the first recipient's maildrop, once it is appended.</summary>
    public ulong FirstUid => _uids[0];

    /// <summary>After the append: the unique-id that it brought along is that of another message by now.</summary>
    public bool HasLostUniqueId { get; private set; }

    /// <summary>Any other field of the envelope; at most 65,535 octets.</summary>
    public void AddMeta(MetaType type, ReadOnlySpan<byte> value)
    {
        Require(State.Envelope);
        WriteField(type, value, default);
    }

    /// <summary>
    /// The trace fields in wire form (whole CRLF lines, none beginning with a dot), Return-Path first. Ends the
    /// envelope; must come before the body, once, and may be empty.
    /// </summary>
    /// <param name="trace">The octets; copied.</param>
    /// <param name="returnPathBytes">Length of the Return-Path field, which relay leaves out (RFC 5321 4.4).</param>
    /// <param name="room">Octets that <see cref="ExtendTrace"/> may add; they cost as much in any case.</param>
    public void SetTrace(ReadOnlySpan<byte> trace, int returnPathBytes, int room = 0)
    {
        Require(State.Envelope);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)returnPathBytes, (uint)trace.Length);
        Span<byte> value = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteInt32LittleEndian(value, returnPathBytes);
        WriteField(MetaType.TraceFacts, value, default);
        value.Clear(); // filled in by Seal: only then the end of the header section is known
        WriteField(MetaType.HeaderWireBytes, value, default);
        _headerWirePosition = _buffer.Length - value.Length;
        if (room > 0)
        {
            Span<byte> padding = stackalloc byte[MaxRoom];
            padding.Clear();
            WriteField(MetaType.Padding, padding[..room], default);
        }

        _room = room;
        _header.MetaBytes = (uint)(_buffer.Length - RecordHeader.Bytes);
        _header.TraceBytes = (uint)trace.Length;
        _buffer.Write(trace);
        _state = State.Body;
    }

    /// <summary>
    /// Adds header fields behind the trace, in front of the body that has been written already: what turned out to be
    /// missing when the header section had passed. They take the place of padding, so the body stays where it is.
    /// </summary>
    /// <param name="fields">Whole CRLF lines in wire form; no longer than the room that was asked for.</param>
    public void ExtendTrace(ReadOnlySpan<byte> fields)
    {
        Require(State.Body);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(fields.Length, _room);
        if (_body is not null)
        {
            _buffer.Write(fields); // the body is elsewhere: the trace is the last thing here
        }
        else
        {
            long traceStart = RecordHeader.Bytes + (long)_header.MetaBytes;
            Span<byte> trace = stackalloc byte[checked((int)_header.TraceBytes)];
            _buffer.Copy(traceStart, trace);
            _buffer.Patch(traceStart - fields.Length, trace);
            _buffer.Patch(traceStart - fields.Length + trace.Length, fields);
            Span<byte> fieldHeader = stackalloc byte[MetaReader.FieldHeaderBytes];
            MetaReader.WriteFieldHeader(fieldHeader, MetaType.Padding, _room - fields.Length);
            _buffer.Patch(traceStart - _room - fieldHeader.Length, fieldHeader);
            _header.MetaBytes -= (uint)fields.Length;
            _room -= fields.Length;
        }

        _header.TraceBytes += (uint)fields.Length;
    }

    /// <summary>The body is complete. After this the message can only be appended or returned.</summary>
    public void Seal(in BodyFacts facts)
    {
        Require(State.Body);
        if (!EndsLikeContent())
        {
            throw new InvalidOperationException("a body in wire form ends with CRLF.CRLF");
        }

        Span<byte> value = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(value, checked((uint)(_header.TraceBytes + facts.HeaderWireBytes)));
        _buffer.Patch(_headerWirePosition, value);
        _header.Octets = checked((uint)(_header.TraceBytes + facts.Octets));
        _header.Flags = (byte)(
            facts.Flags
            | (_body is null ? MessageFlags.None : MessageFlags.ExternalBody)
            | (_isImported ? MessageFlags.Imported : MessageFlags.None));
        PatchBodyFile();
        _header.TotalBytes = (uint)Bytes;
        Span<byte> padding = stackalloc byte[RecordHeader.Alignment];
        padding.Clear();
        _buffer.Write(padding[..(int)(Bytes - _buffer.Length)]);
        _state = State.Sealed;
    }

    internal void Reset()
    {
        ReleaseBody();
        _buffer.Reset(RecordHeader.Bytes);
        _end = 0;
        _header = new RecordHeader { Type = RecordType.Message };
        _localRecipients = 0;
        _relayRecipients = 0;
        _changeCount = 0;
        _tellsOfAnother = false;
        _isImported = false;
        _leastUid = 0;
        _freeUid = 0;
        _uniqueIdPosition = 0;
        HasLostUniqueId = false;
        if (_mailboxes.Length > KeptRecipients)
        {
            _mailboxes = new ulong[8];
            _uidPositions = new long[8];
            _uids = new ulong[8];
        }

        _state = State.Envelope;
        ResetClaim();
        Next = null;
        Owner = null;
        Outcome = AppendOutcome.Pending;
        Lsn = 0;
        Seq = 0;
    }

    /// <summary>The field of a recipient and those of its wishes behind it: nobody is to read who it was.</summary>
    private void EraseRecipient(long position)
    {
        long end = _state == State.Envelope ? _buffer.Length : RecordHeader.Bytes + (long)_header.MetaBytes;
        Span<byte> fieldHeader = stackalloc byte[MetaReader.FieldHeaderBytes];
        Span<byte> nothing = stackalloc byte[MaxRoom];
        nothing.Clear();
        for (bool isFirst = true; position < end; isFirst = false)
        {
            _buffer.Copy(position, fieldHeader);
            var type = (MetaType)BinaryPrimitives.ReadUInt16LittleEndian(fieldHeader);
            if (!isFirst && type is not (MetaType.OriginalRecipient or MetaType.Notify))
            {
                return;
            }

            int length = BinaryPrimitives.ReadUInt16LittleEndian(fieldHeader[2..]);
            MetaReader.WriteFieldHeader(fieldHeader, MetaType.Padding, length);
            _buffer.Patch(position, fieldHeader);
            position += fieldHeader.Length;
            for (int left = length; left > 0; left -= nothing.Length)
            {
                ReadOnlySpan<byte> part = nothing[..Math.Min(left, nothing.Length)];
                _buffer.Patch(position, part);
                position += part.Length;
            }
        }
    }

    private void WriteField(MetaType type, ReadOnlySpan<byte> start, ReadOnlySpan<byte> end)
    {
        Span<byte> fieldHeader = stackalloc byte[MetaReader.FieldHeaderBytes];
        MetaReader.WriteFieldHeader(fieldHeader, type, start.Length + end.Length);
        _buffer.Write(fieldHeader);
        _buffer.Write(start);
        _buffer.Write(end);
    }

    private void Require(State state)
    {
        if (_state != state)
        {
            throw new InvalidOperationException($"a message in state {_state} cannot do this; it needs {state}");
        }
    }
}
