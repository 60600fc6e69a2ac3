namespace FastMail.Protocol.Smtp;

/// <summary>Content on its way from the receive buffer to the sink; see <see cref="ContentScanner"/>.</summary>
public sealed partial class SmtpSession
{
    private bool _isHeld; // the sink cannot keep up
    private ContentScanner _scanner;
    private HeaderFields _header;
    private bool _isHeaderOver;
    private DotStuffer _stuffer;
    private long _rawBytes; // of all chunks
    private HeaderStart _headerStart;

    private long _chunkBytes; // still to come
    private bool _isLastChunk;
    private SmtpReply? _chunkRefusal;
    private int _refusedRecipients; // who would have had the refused chunk
    private SmtpState _stateAfterChunk;

    private bool IsChunkComplete => _state == SmtpState.InChunk && _chunkBytes == 0;

    private void ResetContent()
    {
        _scanner.Start();
        _header = default;
        _isHeaderOver = false;
        _stuffer = default;
        _rawBytes = 0;
        _headerStart = default;
    }

    /// <summary>Behind 354 everything up to the true <c>CRLF.CRLF</c> is content, whatever is wrong with it.</summary>
    private int TakeData(ReadOnlySpan<byte> received)
    {
        var taken = Scan(received);
        Pass(received[..taken]);
        if (_scanner.HasEnded)
        {
            EndContent(_recipients);
        }
        return taken;
    }

    private int Scan(ReadOnlySpan<byte> wire)
    {
        var before = _scanner.WireBytes;
        var taken = _scanner.Scan(wire);
        if (!_isHeaderOver)
        {
            _isHeaderOver = _scanner.HeaderWireBytes > 0;
            _header.Take(wire[..(_isHeaderOver ? (int)(_scanner.HeaderWireBytes - before) : taken)]);
        }
        return taken;
    }

    private void BeginChunk(long size, bool isLast, SmtpReply? refusal, SmtpState stateAfter)
    {
        _chunkBytes = size;
        _isLastChunk = isLast;
        _chunkRefusal = refusal;
        _refusedRecipients = 0;
        _stateAfterChunk = stateAfter;
        _rawBytes += refusal is null ? size : 0;
        _state = SmtpState.InChunk;
    }

    private int TakeChunk(ReadOnlySpan<byte> received, ref ReplyWriter replies)
    {
        var taken = (int)Math.Min(_chunkBytes, received.Length);
        if (_chunkRefusal is null)
        {
            Stuff(received[..taken]);
        }
        _chunkBytes -= taken;
        if (_chunkBytes == 0)
        {
            EndChunk(ref replies);
        }
        return taken;
    }

    private void EndChunk(ref ReplyWriter replies)
    {
        if (_chunkRefusal is { } refusal)
        {
            _state = _stateAfterChunk;
            if (refusal.Code == 503)
            {
                Refuse(refusal, ref replies);
            }
            else
            {
                OweOutcome(refusal, _isLastChunk ? _refusedRecipients : 1);
            }
            return;
        }
        if (_isLastChunk)
        {
            CompleteStuffed();
            EndContent(_recipients);
            return;
        }
        if (!_isOpen) // flawed, or too much of something: there is no use in the other chunks
        {
            EndContent(1); // more chunks were to come: LMTP too answers this one once
            return;
        }
        _state = _stateAfterChunk;
        replies.Write("250 2.0.0 "u8);
        replies.WriteNumber(_rawBytes);
        replies.Write(" octets so far\r\n"u8);
    }

    /// <summary>Raw content becomes wire form: dots doubled at line starts.</summary>
    private void Stuff(ReadOnlySpan<byte> raw)
    {
        while (!raw.IsEmpty)
        {
            var run = _stuffer.Next(raw, out var needsDot);
            if (needsDot)
            {
                ScanAndPass("."u8);
            }
            ScanAndPass(raw[..run]);
            raw = raw[run..];
        }
    }

    private void CompleteStuffed()
    {
        if (!_stuffer.IsAtLineStart)
        {
            ScanAndPass("\r\n"u8);
        }
        ScanAndPass(".\r\n"u8);
    }

    private void ScanAndPass(ReadOnlySpan<byte> wire)
    {
        Scan(wire);
        Pass(wire);
    }

    /// <summary>Hands a scanned run to the sink, as long as the content may still be stored.</summary>
    private void Pass(ReadOnlySpan<byte> wire)
    {
        if (!_isOpen)
        {
            return;
        }
        _headerStart.Take(wire);
        if (_scanner.IsFlawed || FindExcess() is not null)
        {
            _sink.Abandon(); // at once: what is held for a message that cannot be stored is needed by others
            _isOpen = false;
            return;
        }
        _sink.Append(wire);
    }

    /// <summary>What the content has too much of so far, if anything.</summary>
    private SmtpReply? FindExcess()
    {
        // Up to 3 octets counted so far may turn out to be the end of data.
        var certain = _scanner.Octets - (_scanner.HasEnded ? 0 : 3);
        if (certain > _options.MaxMessageBytes)
        {
            return SessionReplies.TooLarge;
        }
        var limits = _options.Limits;
        if (_headerStart.IsField && _scanner.HasHeaderOver(limits.HeaderBytes, limits.HeaderLines))
        {
            return SessionReplies.LongHeader;
        }
        return _scanner.HasLineOver(limits.ContentLineBytes) ? SessionReplies.LongContentLine : null;
    }

    /// <param name="replies">LMTP: how many to give if the content is refused.</param>
    private void EndContent(int replies)
    {
        var isLoop = _header.Received > Limits.ReceivedFields;
        if (_isOpen && _scanner.HasEnded && !isLoop)
        {
            _isOpen = false; // it is the sink's now; Abandon would be too late
            _state = SmtpState.Committing;
            _sink.Commit(_scanner.Facts() with
            {
                LacksDate = !_header.HasDate,
                LacksMessageId = !_header.HasMessageId,
            });
            return;
        }
        CloseTransaction();
        _state = SmtpState.Ready;
        OweOutcome(
            _scanner.HasBareLineEnd ? SessionReplies.BareLineEnd
            : _scanner.HasNul ? SessionReplies.NulInContent
            : isLoop ? SessionReplies.MailLoop
            : FindExcess() ?? SessionReplies.TooLarge,
            replies);
    }
}
