using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Smtp;

/// <summary>AUTH (RFC 4954); what is said inside the exchange is <see cref="SaslExchange"/>'s.</summary>
public sealed partial class SmtpSession
{
    private readonly IAuthenticator _authenticator;
    private SaslExchange? _sasl; // most sessions have none: null until there is something to keep in it
    private int _loginFailures;
    private bool _owesChallenge; // the verdict on a proof or token is answered by one more challenge

    /// <summary>
    /// The TLS channel of this connection, for SCRAM-SHA-256-PLUS; <see cref="Secured"/> sets it.
    /// </summary>
    public IChannelBindings? ChannelBindings
    {
        get => _sasl?.ChannelBindings;
        set
        {
            if (value is not null || _sasl is not null)
            {
                Sasl.ChannelBindings = value;
            }
        }
    }

    private SaslExchange Sasl => _sasl ??= new SaslExchange(_authenticator, _options.ServerNonce);

    private SaslMechanisms OfferedMechanisms => !OffersAuth ? SaslMechanisms.None
        : ChannelBindings is null ? _options.Mechanisms & ~SaslMechanisms.ScramSha256Plus
        : _options.Mechanisms;

    private void ResetAuth()
    {
        IsAuthenticated = false;
        _loginFailures = 0;
        _owesChallenge = false;
        _sasl?.Reset();
    }

    /// <summary><c>AUTH SP sasl-mech [SP initial-response]</c></summary>
    private void Auth(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (OfferedMechanisms == SaslMechanisms.None)
        {
            Refuse(AwaitsTls ? SessionReplies.EncryptionRequired : SessionReplies.NotOffered, ref replies);
            return;
        }
        if (IsAuthenticated || !_isExtended)
        {
            Refuse(SessionReplies.BadSequence, ref replies);
            return;
        }
        var name = FirstWord(argument);
        var hasInitial = name.Length < argument.Length;
        var initial = hasInitial ? argument[(name.Length + 1)..] : default;
        if (name.IsEmpty || (hasInitial && (initial.IsEmpty || initial.Contains((byte)' '))))
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        var mechanism = SaslNames.Parse(name) & OfferedMechanisms;
        if (mechanism == SaslMechanisms.None)
        {
            Refuse(SessionReplies.UnknownMechanism, ref replies);
            return;
        }
        Answer(Sasl.Begin(mechanism, hasInitial, initial), ref replies);
    }

    /// <summary>The line that would have answered is lost.</summary>
    private void EndSasl()
    {
        if (_state == SmtpState.SaslResponse)
        {
            _sasl?.End();
            _state = SmtpState.Ready;
        }
    }

    private void Answer(SaslStep step, ref ReplyWriter replies)
    {
        _state = step switch
        {
            SaslStep.Challenge => SmtpState.SaslResponse,
            SaslStep.Waiting => SmtpState.Authenticating,
            _ => SmtpState.Ready,
        };
        switch (step)
        {
            case SaslStep.Challenge:
                WriteChallenge(ref replies);
                break;
            case SaslStep.Waiting:
                break;
            default:
                var reply = Judge(step);
                if (reply.Code < 500 && !ReferenceEquals(reply, SessionReplies.TooManyErrors))
                {
                    replies.Write(reply.Wire);
                }
                else
                {
                    Refuse(reply, ref replies);
                }
                break;
        }
    }

    private void WriteChallenge(ref ReplyWriter replies)
    {
        replies.Write("334 "u8);
        Sasl.WriteChallenge(ref replies);
        replies.WriteLineEnd();
    }

    private SmtpReply Judge(SaslStep step)
    {
        switch (step)
        {
            case SaslStep.Accepted:
                IsAuthenticated = true;
                return SessionReplies.Authenticated;
            case SaslStep.Rejected:
                // The failure beyond the limit is answered with 421, which closes the session.
                return ++_loginFailures <= _options.MaxLoginFailures
                    ? SessionReplies.BadCredentials
                    : SessionReplies.TooManyErrors;
            case SaslStep.Unavailable:
                // Not the client's fault, but not for ever either.
                return ++_idleCommands <= _options.Limits.IdleCommands
                    ? SessionReplies.CannotAuthenticate
                    : SessionReplies.TooManyErrors;
            case SaslStep.Cancelled:
                return SessionReplies.AuthCancelled;
            default:
                return SessionReplies.BadBase64;
        }
    }
}
