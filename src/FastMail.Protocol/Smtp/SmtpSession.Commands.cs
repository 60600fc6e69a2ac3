using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Smtp;

/// <summary>The commands that are not part of a mail transaction, in the order of RFC 5321 4.1.1.</summary>
public sealed partial class SmtpSession
{
    private void Greet(ref ReplyWriter replies)
    {
        replies.Write("220 "u8);
        replies.Write(_options.Hostname.Span);
        replies.Write(IsLmtp ? " LMTP FastMail\r\n"u8 : " ESMTP FastMail\r\n"u8);
        _state = SmtpState.Greeted;
    }

    /// <summary>
    /// EHLO, HELO (RFC 5321 4.1.1.1) and LHLO (RFC 2033 4.1); all also do what RSET does. One who speaks the other
    /// protocol must notice it at once: the replies to the content would be counted wrongly.
    /// </summary>
    private void Introduce(SmtpVerb verb, ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if ((verb == SmtpVerb.Lhlo) != IsLmtp)
        {
            Refuse(IsLmtp ? SessionReplies.SayLhlo : SessionReplies.UnknownCommand, ref replies);
            return;
        }
        var isExtended = verb != SmtpVerb.Helo;
        if (!IsHeloArgument(argument))
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        if (!TryCountIdle(ref replies))
        {
            return;
        }
        if (isExtended)
        {
            WriteKeywords(ref replies);
        }
        else
        {
            replies.Write("250 "u8);
            replies.Write(_options.Hostname.Span);
            replies.WriteLineEnd();
        }
        CloseTransaction();
        if (!_isHeloDeclared)
        {
            _helo.Set(argument); // copied: the receive buffer is reused after this call
        }
        _isExtended = isExtended;
        _state = SmtpState.Ready;
    }

    private void WriteKeywords(ref ReplyWriter replies)
    {
        replies.Write("250-"u8);
        replies.Write(_options.Hostname.Span);
        replies.Write("\r\n250-PIPELINING\r\n250-SIZE "u8);
        replies.WriteNumber(_options.MaxMessageBytes);
        replies.Write("\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-CHUNKING\r\n250-BINARYMIME\r\n"u8);
        if (Offers(SmtpExtensions.Dsn))
        {
            replies.Write("250-DSN\r\n"u8);
        }
        if (Offers(SmtpExtensions.DeliverBy))
        {
            replies.Write("250-DELIVERBY\r\n"u8);
        }
        if (Offers(SmtpExtensions.MtPriority))
        {
            replies.Write("250-MT-PRIORITY MIXER\r\n"u8);
        }
        if (Offers(SmtpExtensions.FutureRelease))
        {
            WriteFutureRelease(ref replies);
        }
        if (Offers(SmtpExtensions.RequireTls))
        {
            replies.Write("250-REQUIRETLS\r\n"u8);
        }
        if (Offers(SmtpExtensions.Etrn))
        {
            replies.Write("250-ETRN\r\n"u8);
        }
        replies.Write("250-LIMITS RCPTMAX="u8); // RFC 9422
        replies.WriteNumber(_options.MaxRecipients);
        replies.Write("\r\n250-HELP\r\n"u8);
        if (_options.Tls is not null && _tls is null)
        {
            replies.Write("250-STARTTLS\r\n"u8);
        }
        if (Declaration is not null)
        {
            replies.Write("250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"u8);
        }
        if (OfferedMechanisms is var mechanisms and not SaslMechanisms.None)
        {
            replies.Write("250-AUTH"u8);
            SaslNames.Write(mechanisms, " "u8, default, ref replies);
            replies.WriteLineEnd();
        }
        replies.Write("250 ENHANCEDSTATUSCODES\r\n"u8);
    }

    /// <summary>The longest hold, in seconds and as the date that it comes to now (RFC 4865 3).</summary>
    private void WriteFutureRelease(ref ReplyWriter replies)
    {
        replies.Write("250-FUTURERELEASE "u8);
        replies.WriteNumber((long)_options.LongestHold.TotalSeconds);
        replies.Write((byte)' ');
        replies.Advance(InternetDateTime.Write(replies.Rest, _options.Clock.GetUtcNow() + _options.LongestHold));
        replies.WriteLineEnd();
    }

    private bool Offers(SmtpExtensions extension) => (Extensions & extension) != 0;

    /// <summary>REQUIRETLS is for sessions over TLS only (RFC 8689 4.1).</summary>
    private SmtpExtensions Extensions =>
        _tls is null ? _options.Extensions & ~SmtpExtensions.RequireTls : _options.Extensions;

    /// <summary>
    /// <c>ETRN [option] node-name</c> (RFC 1985 5.3), where the option is an at sign for the domains below it as well.
    /// </summary>
    private void Etrn(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!Offers(SmtpExtensions.Etrn))
        {
            Refuse(SessionReplies.NotOffered, ref replies);
            return;
        }
        if (_state != SmtpState.Ready) // not before EHLO, and not inside a mail transaction (RFC 1985 5.1)
        {
            Refuse(SessionReplies.BadSequence, ref replies);
            return;
        }
        var isWithSubdomains = argument.StartsWith("@"u8);
        var domain = isWithSubdomains ? argument[1..] : argument;
        if (domain.StartsWith("["u8) || !IsHeloArgument(domain))
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        if (TryCountIdle(ref replies))
        {
            replies.Write(_sink.StartQueueRun(domain, isWithSubdomains).Wire);
        }
    }

    private void Rset(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!argument.IsEmpty)
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        if (!TryCountIdle(ref replies))
        {
            return;
        }
        CloseTransaction();
        _state = _state == SmtpState.Greeted ? SmtpState.Greeted : SmtpState.Ready;
        replies.Write(SessionReplies.Ok.Wire);
    }

    private void Quit(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!argument.IsEmpty)
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        replies.Write(SessionReplies.Bye.Wire);
        Abandon();
    }

    /// <summary>NOOP, VRFY, HELP: answered alike in every state, but not for ever.</summary>
    private void Idle(SmtpReply reply, ref ReplyWriter replies)
    {
        if (TryCountIdle(ref replies))
        {
            replies.Write(reply.Wire);
        }
    }

    /// <summary>Commands that cost us work and carry no mail become errors in the long run.</summary>
    private bool TryCountIdle(ref ReplyWriter replies)
    {
        if (++_idleCommands <= _options.Limits.IdleCommands)
        {
            return true;
        }
        Refuse(SessionReplies.TooManyIdleCommands, ref replies);
        return false;
    }

    /// <summary>
    /// <c>Domain / address-literal</c>, where a name may hold an underscore as many Windows hosts' do; what else is
    /// wrong with the name is for policy to judge.
    /// </summary>
    internal static bool IsHeloArgument(ReadOnlySpan<byte> argument)
    {
        if (argument.Length is 0 or > Limits.DomainBytes)
        {
            return false;
        }
        if (argument[0] == '[')
        {
            return AddressLiteral.IsValid(argument);
        }
        foreach (var octet in argument)
        {
            if (!AsciiWord.IsLetterOrDigit(octet) && octet is not ((byte)'-' or (byte)'.' or (byte)'_'))
            {
                return false;
            }
        }
        return true;
    }
}
