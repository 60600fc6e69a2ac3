namespace FastMail.Storage;

/// <content>The body: in the record, or in a file of its own once it has outgrown that.</content>
public sealed partial class PendingMessage
{
    /// <summary>
    /// The next run of the body in wire form, the final <c>CRLF.CRLF</c> included at last; copied. Never blocks: ask
    /// <see cref="MustWait"/> afterwards.
    /// </summary>
    public void AppendBody(ReadOnlySpan<byte> wire)
    {
        Require(State.Body);
        if (_header.BodyBytes + (long)wire.Length > MaxBodyBytes)
        {
            throw new InvalidOperationException("the body is longer than a message may be; limit it while it arrives");
        }

        if (_body is null && _buffer.Length + wire.Length > _inlineBytes)
        {
            MoveBodyOut();
        }

        // Here and not in the appender: there is one appender and many producers.
        _header.BodyCrc = Crc32C.Extend(_header.BodyCrc, wire);
        _header.BodyBytes += (uint)wire.Length;
        if (_body is null)
        {
            _buffer.Write(wire);
        }
        else
        {
            _body.Append(wire);
            RememberEnd(wire);
        }
    }

    /// <summary>
    /// True when the disk does not keep up: whoever builds the message appends no more until
    /// <paramref name="drained"/> has been called, once, on a thread of the log. It comes in any case, also when the
    /// message is returned meanwhile.
    /// </summary>
    public bool MustWait(Action drained)
    {
        return _body is not null && _body.MustWait(drained);
    }

    private bool EndsLikeContent()
    {
        if (_header.BodyBytes < 3)
        {
            return false;
        }

        if (_body is not null)
        {
            return (_end & 0xFF_FFFF_FFFF) == 0x0D_0A2E_0D0A; // CRLF.CRLF
        }

        Span<byte> end = stackalloc byte[5];
        end = end[..(int)Math.Min(5, _header.BodyBytes)];
        _buffer.Copy(_buffer.Length - end.Length, end);
        return end.SequenceEqual("\r\n.\r\n"u8) || end.SequenceEqual(".\r\n"u8);
    }

    private void RememberEnd(ReadOnlySpan<byte> wire)
    {
        foreach (byte octet in wire[Math.Max(0, wire.Length - EndBytes)..])
        {
            _end = (_end << 8) | octet;
        }
    }

    /// <summary>
    /// The message has outgrown a record: what there is of the body moves into its file, whose name takes a place
    /// behind the other fields of the meta.
    /// </summary>
    private void MoveBodyOut()
    {
        _body = _bodies.Begin();
        long bodyStart = RecordHeader.Bytes + (long)_header.MetaBytes + _header.TraceBytes;
        Span<byte> end = stackalloc byte[EndBytes];
        end = end[..(int)Math.Min(EndBytes, _buffer.Length - bodyStart)];
        _buffer.Copy(_buffer.Length - end.Length, end);
        RememberEnd(end);
        _buffer.MoveTo(bodyStart, _body);

        byte[] trace = new byte[_header.TraceBytes];
        long traceStart = RecordHeader.Bytes + (long)_header.MetaBytes;
        _buffer.Copy(traceStart, trace);
        _buffer.Truncate(traceStart);
        Span<byte> value = stackalloc byte[BodyReference.FieldBytes];
        new BodyReference(_body.Id, 0).Write(value); // the length follows when it is known
        WriteField(MetaType.BodyFile, value, default);
        _header.MetaBytes = (uint)(_buffer.Length - RecordHeader.Bytes);
        _buffer.Write(trace);
    }

    /// <summary>The body goes to its file; the appender gets the rest when that is durable.</summary>
    internal bool TryFinishBody()
    {
        Require(State.Sealed);
        _body?.Finish(this);
        return _body is not null;
    }

    private void PatchBodyFile()
    {
        if (_body is not null)
        {
            long position = RecordHeader.Bytes + _header.MetaBytes - sizeof(ulong);
            _buffer.Patch(position, (ulong)_header.BodyBytes);
        }
    }

    /// <summary>A body without a record, or with one that was not written, is of no use to anybody.</summary>
    private void ReleaseBody()
    {
        if (_body is { } body)
        {
            _body = null;
            body.ReturnCurrent();
            // Failed: the record may be on the disk all the same, so the next start decides. Withdrawn when it was
            // written already: the file goes with the removal, once that is durable.
            bool isWritten = Lsn != 0;
            if (Outcome is not (AppendOutcome.Durable or AppendOutcome.Failed) && !isWritten)
            {
                body.Abandon();
            }
        }
    }
}
