using System.Buffers;

namespace FastMail.Protocol.Smtp;

/// <summary>The mail transaction: MAIL, RCPT, DATA and BDAT (RFC 5321 3.3, RFC 3030).</summary>
public sealed partial class SmtpSession
{
    private bool _isOpen; // the sink holds something for us
    private bool _isSmtpUtf8;
    private bool _isBinaryMime; // its content is converted (RFC 3030 3)
    private int _recipients;
    private int _badRecipients;

    private void ResetTransaction()
    {
        _isOpen = false;
        _isSmtpUtf8 = false;
        _isBinaryMime = false;
        _recipients = 0;
        _badRecipients = 0;
    }

    /// <summary>Ends the transaction without a message. The state is the caller's to change.</summary>
    private void CloseTransaction()
    {
        if (_isOpen)
        {
            _sink.Abandon();
        }
        EndProgress();
        ResetTransaction();
    }

    private ReadOnlySpan<byte> AuthIdentity => IsAuthenticated ? Sasl.Identity : default;

    /// <summary><c>MAIL FROM:Reverse-path [SP Mail-parameters]</c></summary>
    private void Mail(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (_options.RequiresAuth && !IsAuthenticated)
        {
            Refuse(AwaitsTls ? SessionReplies.MustStartTls : SessionReplies.AuthRequired, ref replies);
            return;
        }
        if (!TryTakeKeyword(argument, "FROM:"u8, out var text))
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        if (SmtpPath.Parse(text, out var path, out var length) != OperationStatus.Done
            || (path.AtSign < 0 && !path.Mailbox.IsEmpty)) // postmaster alone is a forward-path only
        {
            Refuse(SessionReplies.BadReversePath, ref replies);
            return;
        }
        var parameters = default(MailParameters);
        if (Judge(parameters.Parse(text[length..], Extensions, OffersAuth), text[length..]) is { } refusal)
        {
            Refuse(refusal, ref replies);
            return;
        }
        if (parameters.Size > _options.MaxMessageBytes)
        {
            replies.Write(SessionReplies.TooLarge.Wire);
            return;
        }
        if (!path.IsAscii && !parameters.IsSmtpUtf8)
        {
            Refuse(SessionReplies.NeedsSmtpUtf8, ref replies);
            return;
        }
        var reply = _sink.Begin(new MailArguments
        {
            ReversePath = path.Mailbox,
            DeclaredSize = parameters.Size,
            Is8BitMime = parameters.Is8BitMime || parameters.IsBinaryMime, // what it becomes
            IsSmtpUtf8 = parameters.IsSmtpUtf8,
            AuthIdentity = AuthIdentity,
            AuthMailbox = parameters.AuthMailbox,
            EnvelopeId = parameters.EnvelopeId,
            Return = parameters.Return,
            RequiresTls = parameters.RequiresTls,
            DeliverBy = parameters.DeliverBy,
            Priority = parameters.Priority,
            Release = parameters.Release,
            ReleaseText = parameters.ReleaseText,
        });
        replies.Write(reply.Wire);
        if (reply.Code == 421)
        {
            Abandon();
        }
        else if (ReferenceEquals(reply, SmtpReply.ReversePathOk))
        {
            ResetTransaction();
            _isOpen = true;
            _isSmtpUtf8 = parameters.IsSmtpUtf8;
            _isBinaryMime = parameters.IsBinaryMime;
            _state = SmtpState.AfterMail;
        }
    }

    private SmtpReply? Judge(ParameterStatus status, ReadOnlySpan<byte> parameters) => status switch
    {
        ParameterStatus.Malformed => SessionReplies.BadArgument,
        ParameterStatus.Unknown => SessionReplies.UnknownParameter,
        // Parameters belong to the extensions that EHLO announced; HELO announced none.
        _ => parameters.IsEmpty || _isExtended ? null : SessionReplies.UnknownParameter,
    };

    /// <summary><c>RCPT TO:Forward-path [SP Rcpt-parameters]</c></summary>
    private void Rcpt(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!TryTakeKeyword(argument, "TO:"u8, out var text))
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        if (SmtpPath.Parse(text, out var path, out var length) != OperationStatus.Done || path.Mailbox.IsEmpty)
        {
            Refuse(SessionReplies.BadForwardPath, ref replies);
            return;
        }
        var parameters = default(RcptParameters);
        if (Judge(parameters.Parse(text[length..], Extensions, _isSmtpUtf8), text[length..]) is { } refusal)
        {
            Refuse(refusal, ref replies);
            return;
        }
        if (!path.IsAscii && !_isSmtpUtf8)
        {
            Refuse(SessionReplies.NeedsSmtpUtf8, ref replies);
            return;
        }
        if (_recipients == _options.MaxRecipients)
        {
            replies.Write(SmtpReply.TooManyRecipients.Wire);
            return;
        }
        var reply = _sink.AddRecipient(new RcptArguments
        {
            ForwardPath = path.Mailbox,
            AtSign = path.AtSign,
            AuthIdentity = AuthIdentity,
            Notify = parameters.Notify,
            OriginalRecipient = parameters.OriginalRecipient,
        });
        replies.Write(reply.Wire);
        if (!ReferenceEquals(reply, SmtpReply.ForwardPathOk))
        {
            _badRecipients++;
            PauseAfterError(_badRecipients, _options.Limits);
            return;
        }
        _recipients++;
        _state = SmtpState.AfterRcpt;
    }

    private void Data(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!argument.IsEmpty)
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        if (_isBinaryMime)
        {
            Refuse(SessionReplies.SayBdat, ref replies); // RFC 3030 3; the client resets
            return;
        }
        if (BeginContent() is { } refusal)
        {
            CloseTransaction();
            _state = SmtpState.Ready;
            replies.Write(refusal.Wire);
            return;
        }
        replies.Write(SmtpReply.StartMailInput.Wire);
        _state = SmtpState.InData;
    }

    /// <summary>DATA or BDAT where it is not admitted: without recipients, or at another odd place.</summary>
    private SmtpReply DataOutOfPlace() =>
        _state == SmtpState.AfterMail && _badRecipients > 0
            ? SessionReplies.NoValidRecipients
            : SessionReplies.BadSequence;

    /// <summary>
    /// <c>BDAT SP chunk-size [SP LAST]</c>. A chunk that is refused is swallowed to its last octet, because what
    /// follows it are commands; when its size cannot be known the session closes.
    /// </summary>
    private void Bdat(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        var space = argument.IndexOf((byte)' ');
        var isLast = space >= 0 && AsciiWord.Is(argument[(space + 1)..], "LAST"u8);
        var number = space < 0 ? argument : argument[..space];
        if (!StrictDecimal.TryParse(number, out var size) || (space >= 0 && !isLast))
        {
            replies.Write(SessionReplies.BadChunkSize.Wire);
            Abandon();
            return;
        }
        if (size > Limits.SwallowedChunkBytes)
        {
            replies.Write(SessionReplies.TooLarge.Wire);
            Abandon();
            return;
        }
        if (!_state.Admits(SmtpVerb.Bdat))
        {
            BeginChunk(size, isLast, DataOutOfPlace(), _state);
            return;
        }
        var refusal = _state == SmtpState.AfterRcpt ? BeginContent() : null;
        if (refusal is null && _content!.RawBytes + size > _options.MaxMessageBytes)
        {
            refusal = SessionReplies.TooLarge;
        }
        if (refusal is not null)
        {
            var recipients = _recipients;
            CloseTransaction();
            BeginChunk(size, isLast, refusal, SmtpState.Ready);
            _refusedRecipients = recipients;
            return;
        }
        BeginChunk(size, isLast, null, SmtpState.AfterBdat);
    }

    private SmtpReply? BeginContent()
    {
        _content = ContentProgress.Rent(_isBinaryMime);
        return _sink.BeginContent(new TransactionFacts
        {
            Helo = _helo.Span,
            AuthIdentity = AuthIdentity,
            Tls = _tls is null ? default : _tls.Description.Span,
            IsExtended = _isExtended,
            IsSmtpUtf8 = _isSmtpUtf8,
            IsLmtp = IsLmtp,
            IsSubmission = _options.Role == SmtpRole.Submission,
        });
    }

    /// <summary>
    /// <c>FROM:</c> or <c>TO:</c>; one space behind the colon is not in the grammar but in many clients.
    /// </summary>
    private static bool TryTakeKeyword(
        ReadOnlySpan<byte> argument, ReadOnlySpan<byte> keyword, out ReadOnlySpan<byte> rest)
    {
        rest = default;
        if (!AsciiWord.StartsWith(argument, keyword))
        {
            return false;
        }
        rest = argument[keyword.Length..];
        if (!rest.IsEmpty && rest[0] == ' ')
        {
            rest = rest[1..];
        }
        return true;
    }

    private static ReadOnlySpan<byte> FirstWord(ReadOnlySpan<byte> text)
    {
        var end = text.IndexOf((byte)' ');
        return end < 0 ? text : text[..end];
    }
}
