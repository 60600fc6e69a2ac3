using FastMail.Protocol.Mime;

namespace FastMail.Protocol.Smtp;

/// <summary>
/// Content on its way from the receive buffer to the sink; see <see cref="ContentScanner"/>. What comes as BINARYMIME
/// goes through <see cref="BinaryConversion"/> first.
/// </summary>
public sealed partial class SmtpSession : IContentRuns
{
    private bool _isHeld; // the sink cannot keep up
    private ContentProgress? _content; // from DATA or the first BDAT to the end of content

    private long _chunkBytes; // still to come
    private bool _isLastChunk;
    private SmtpReply? _chunkRefusal;
    private int _refusedRecipients; // who would have had the refused chunk
    private SmtpState _stateAfterChunk;

    private bool IsChunkComplete => _state == SmtpState.InChunk && _chunkBytes == 0;

    private void EndProgress()
    {
        if (_content is not null)
        {
            ContentProgress.Return(_content);
            _content = null;
        }
    }

    /// <summary>Behind 354 everything up to the true <c>CRLF.CRLF</c> is content, whatever is wrong with it.</summary>
    private int TakeData(ReadOnlySpan<byte> received)
    {
        var taken = Scan(received);
        Pass(received[..taken]);
        if (_content!.Scanner.HasEnded)
        {
            EndContent(_recipients);
        }
        return taken;
    }

    private int Scan(ReadOnlySpan<byte> wire)
    {
        var content = _content!;
        var before = content.Scanner.WireBytes;
        var taken = content.Scanner.Scan(wire);
        if (!content.IsHeaderOver)
        {
            content.IsHeaderOver = content.Scanner.HeaderWireBytes > 0;
            content.Header.Take(
                wire[..(content.IsHeaderOver ? (int)(content.Scanner.HeaderWireBytes - before) : taken)]);
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
        if (refusal is null)
        {
            _content!.RawBytes += size;
        }
        _state = SmtpState.InChunk;
    }

    private int TakeChunk(ReadOnlySpan<byte> received, ref ReplyWriter replies)
    {
        var taken = (int)Math.Min(_chunkBytes, received.Length);
        if (_chunkRefusal is null)
        {
            TakeRaw(received[..taken]);
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
            CompleteRaw();
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
        replies.WriteNumber(_content!.RawBytes);
        replies.Write(" octets so far\r\n"u8);
    }

    private void TakeRaw(ReadOnlySpan<byte> raw)
    {
        if (_content!.Conversion is not { } conversion)
        {
            Stuff(raw);
            return;
        }
        conversion.Take(raw, this);
        AbandonUnconverted(conversion);
    }

    private void CompleteRaw()
    {
        if (_content!.Conversion is { } conversion)
        {
            conversion.End(this);
            AbandonUnconverted(conversion);
        }
        CompleteStuffed();
    }

    /// <summary>What cannot become lines is not stored.</summary>
    private void AbandonUnconverted(BinaryConversion conversion)
    {
        if (_isOpen && conversion.Flaw != MimeFlaw.None)
        {
            _sink.Abandon();
            _isOpen = false;
        }
    }

    /// <summary>Converted content.</summary>
    void IContentRuns.Take(ReadOnlySpan<byte> run) => Stuff(run);

    /// <summary>Raw content becomes wire form: dots doubled at line starts.</summary>
    private void Stuff(ReadOnlySpan<byte> raw)
    {
        while (!raw.IsEmpty)
        {
            var run = _content!.Stuffer.Next(raw, out var needsDot);
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
        if (!_content!.Stuffer.IsAtLineStart)
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
        var content = _content!;
        content.HeaderStart.Take(wire);
        if (content.Scanner.IsFlawed || FindExcess(content) is not null)
        {
            _sink.Abandon(); // at once: what is held for a message that cannot be stored is needed by others
            _isOpen = false;
            return;
        }
        _sink.Append(wire);
    }

    /// <summary>What the content has too much of so far, if anything.</summary>
    private SmtpReply? FindExcess(ContentProgress content)
    {
        // Up to 3 octets counted so far may turn out to be the end of data.
        var certain = content.Scanner.Octets - (content.Scanner.HasEnded ? 0 : 3);
        if (certain > _options.MaxMessageBytes)
        {
            return SessionReplies.TooLarge;
        }
        var limits = _options.Limits;
        if (content.HeaderStart.IsField && content.Scanner.HasHeaderOver(limits.HeaderBytes, limits.HeaderLines))
        {
            return SessionReplies.LongHeader;
        }
        return content.Scanner.HasLineOver(limits.ContentLineBytes) ? SessionReplies.LongContentLine : null;
    }

    /// <param name="replies">LMTP: how many to give if the content is refused.</param>
    private void EndContent(int replies)
    {
        var content = _content!;
        var isLoop = content.Header.Received > Limits.ReceivedFields;
        if (_isOpen && content.Scanner.HasEnded && !isLoop)
        {
            _isOpen = false; // it is the sink's now; Abandon would be too late
            _state = SmtpState.Committing;
            var facts = content.Scanner.Facts() with
            {
                LacksDate = !content.Header.HasDate,
                LacksMessageId = !content.Header.HasMessageId,
            };
            EndProgress();
            _sink.Commit(facts);
            return;
        }
        var refusal = content.Conversion is { } conversion && FindUnconverted(content, conversion) is { } flaw ? flaw
            : content.Scanner.HasBareLineEnd ? SessionReplies.BareLineEnd
            : content.Scanner.HasNul ? SessionReplies.NulInContent
            : isLoop ? SessionReplies.MailLoop
            : FindExcess(content) ?? SessionReplies.TooLarge;
        CloseTransaction();
        _state = SmtpState.Ready;
        OweOutcome(refusal, replies);
    }

    /// <summary>Why what came as BINARYMIME cannot be kept, if that is why.</summary>
    private static SmtpReply? FindUnconverted(ContentProgress content, BinaryConversion conversion) => conversion.Flaw switch
    {
        MimeFlaw.Header => SessionReplies.BadMimeHeader,
        MimeFlaw.Depth => SessionReplies.DeepMime,
        _ => content.Scanner.IsFlawed ? SessionReplies.StrayBinary : null,
    };
}
