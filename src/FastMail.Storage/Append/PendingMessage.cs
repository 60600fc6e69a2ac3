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
public sealed class PendingMessage : PendingAppend
{
    /// <summary>Records are read through maps that one span must be able to name.</summary>
    public const long MaxRecordBytes = 1L << 30;

    private const int UidOffset = sizeof(ulong); // inside a local recipient's value
    private const int KeptRecipients = 1024;

    private readonly ChunkedBuffer _buffer;
    private State _state;
    private RecordHeader _header;
    private ulong[] _mailboxes = new ulong[8];
    private long[] _uidPositions = new long[8];
    private ulong[] _uids = new ulong[8];
    private int _localRecipients;
    private uint _relayRecipients;
    private long _headerWirePosition;

    internal PendingMessage(ChunkPool chunks)
    {
        _buffer = new ChunkedBuffer(chunks);
        Reset();
    }

    private enum State
    {
        Envelope,
        Body,
        Sealed,
        Appended,
    }

    /// <inheritdoc/>
    public override long Bytes => RecordHeader.TotalFor(_buffer.Length - RecordHeader.Bytes);

    /// <summary>Recipients whose maildrops are in this store.</summary>
    public int LocalRecipients => _localRecipients;

    internal override bool IsReady => _state == State.Sealed;

    internal override bool MayUseReserve => false;

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

    /// <summary>A recipient to be relayed; they are numbered from 0 in the order of the calls.</summary>
    public void AddRelayRecipient(ReadOnlySpan<byte> address)
    {
        Require(State.Envelope);
        Span<byte> index = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32LittleEndian(index, _relayRecipients);
        WriteField(MetaType.RelayRecipient, index, address);
        _relayRecipients++;
    }

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
    public void SetTrace(ReadOnlySpan<byte> trace, int returnPathBytes)
    {
        Require(State.Envelope);
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)returnPathBytes, (uint)trace.Length);
        Span<byte> value = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteInt32LittleEndian(value, returnPathBytes);
        WriteField(MetaType.TraceFacts, value, default);
        value.Clear(); // filled in by Seal: only then the end of the header section is known
        WriteField(MetaType.HeaderWireBytes, value, default);
        _headerWirePosition = _buffer.Length - value.Length;
        _header.MetaBytes = (uint)(_buffer.Length - RecordHeader.Bytes);
        _header.TraceBytes = (uint)trace.Length;
        _buffer.Write(trace);
        _state = State.Body;
    }

    /// <summary>The next run of the body in wire form, the final <c>CRLF.CRLF</c> included at last; copied.</summary>
    public void AppendBody(ReadOnlySpan<byte> wire)
    {
        Require(State.Body);
        if (_buffer.Length + wire.Length > MaxRecordBytes)
        {
            throw new InvalidOperationException("the body is longer than a record may be; limit it while it arrives");
        }

        // Here and not in the appender: there is one appender and many producers.
        _header.BodyCrc = Crc32C.Extend(_header.BodyCrc, wire);
        _header.BodyBytes += (uint)wire.Length;
        _buffer.Write(wire);
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
        _header.Flags = (byte)facts.Flags;
        _header.TotalBytes = (uint)Bytes;
        Span<byte> padding = stackalloc byte[RecordHeader.Alignment];
        padding.Clear();
        _buffer.Write(padding[..(int)(Bytes - _buffer.Length)]);
        _state = State.Sealed;
    }

    internal void Reset()
    {
        _buffer.Reset(RecordHeader.Bytes);
        _header = new RecordHeader { Type = RecordType.Message };
        _localRecipients = 0;
        _relayRecipients = 0;
        if (_mailboxes.Length > KeptRecipients)
        {
            _mailboxes = new ulong[8];
            _uidPositions = new long[8];
            _uids = new ulong[8];
        }

        _state = State.Envelope;
        Next = null;
        Owner = null;
        Outcome = AppendOutcome.Pending;
        Lsn = 0;
        Seq = 0;
    }

    internal override void Enqueued()
    {
        _state = State.Appended;
    }

    internal override RecordHeader Stamp(in RecordStamp stamp, MaildropTable maildrops, VectorList vectors)
    {
        for (int i = 0; i < _localRecipients; i++)
        {
            _uids[i] = maildrops.NextUid(_mailboxes[i]);
            _buffer.Patch(_uidPositions[i], _uids[i]);
        }

        Lsn = stamp.Lsn;
        Seq = stamp.Seq;
        _header.Lsn = stamp.Lsn;
        _header.Seq = stamp.Seq;
        _header.TimestampMicros = stamp.TimestampMicros;
        _header.MetaCrc = _buffer.Crc(RecordHeader.Bytes, (long)_header.MetaBytes + _header.TraceBytes);
        _header.Write(_buffer.First, stamp.Salt);
        _buffer.AddTo(vectors);
        return _header;
    }

    internal override void Apply(MaildropTable maildrops)
    {
        for (int i = 0; i < _localRecipients; i++)
        {
            maildrops.Add(_mailboxes[i], new MaildropEntry(_uids[i], _header));
        }
    }

    private bool EndsLikeContent()
    {
        if (_header.BodyBytes < 3)
        {
            return false;
        }

        Span<byte> end = stackalloc byte[5];
        end = end[..(int)Math.Min(5, _header.BodyBytes)];
        _buffer.Copy(_buffer.Length - end.Length, end);
        return end.SequenceEqual("\r\n.\r\n"u8) || end.SequenceEqual(".\r\n"u8);
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
