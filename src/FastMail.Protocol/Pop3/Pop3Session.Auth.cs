using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Pop3;

/// <summary>AUTH (RFC 5034); what is said inside the exchange is <see cref="SaslExchange"/>'s.</summary>
public sealed partial class Pop3Session
{
    private SaslExchange? _sasl; // null until there is something to keep in it
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

    private SaslMechanisms OfferedMechanisms => !TakesPasswords ? SaslMechanisms.None
        : ChannelBindings is null ? _options.Mechanisms & ~SaslMechanisms.ScramSha256Plus
        : _options.Mechanisms;

    /// <summary>
    /// <c>AUTH [mechanism [initial-response]]</c>; alone, with or without a blank behind it as Outlook sends it, it
    /// asks for the list.
    /// </summary>
    private void Auth(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        var offered = OfferedMechanisms;
        if (offered == SaslMechanisms.None)
        {
            Refuse("-ERR no SASL mechanism is offered here\r\n"u8, ref replies);
            return;
        }
        if (argument.IsEmpty)
        {
            replies.Write("+OK\r\n"u8);
            SaslNames.Write(offered, default, "\r\n"u8, ref replies);
            replies.Write(".\r\n"u8);
            return;
        }
        var space = argument.IndexOf((byte)' ');
        var name = space < 0 ? argument : argument[..space];
        var initial = space < 0 ? default : argument[(space + 1)..];
        var mechanism = SaslNames.Parse(name) & offered;
        if (mechanism == SaslMechanisms.None)
        {
            Refuse("-ERR unknown SASL mechanism\r\n"u8, ref replies);
            return;
        }
        if (initial.Contains((byte)' '))
        {
            Refuse("-ERR malformed authentication response\r\n"u8, ref replies);
            return;
        }
        _user.Clear();
        Answer(Sasl.Begin(mechanism, space >= 0, initial), ref replies);
    }

    private void Answer(SaslStep step, ref ReplyWriter replies)
    {
        switch (step)
        {
            case SaslStep.Challenge:
                _state = Pop3State.SaslResponse;
                WriteChallenge(ref replies);
                return;
            case SaslStep.Waiting:
                _state = Pop3State.LoggingIn;
                return;
            case SaslStep.Accepted:
                _state = Pop3State.Transaction; // LoggedIn has opened the maildrop
                WriteMaildropLine(ref replies);
                return;
        }
        _view?.Close(); // open when the client fell out behind a right proof
        _state = Pop3State.Authorization;
        switch (step)
        {
            case SaslStep.Rejected:
                replies.Write(BadCredentials);
                CountFailure(LoginVerdict.Rejected);
                break;
            case SaslStep.Unavailable:
                replies.Write("-ERR [SYS/TEMP] too busy, try again later\r\n"u8);
                break;
            case SaslStep.Cancelled:
                Refuse("-ERR authentication cancelled\r\n"u8, ref replies);
                break;
            default:
                Refuse("-ERR malformed authentication response\r\n"u8, ref replies);
                break;
        }
    }

    private void WriteChallenge(ref ReplyWriter replies)
    {
        replies.Write("+ "u8);
        Sasl.WriteChallenge(ref replies);
        replies.WriteLineEnd();
    }

    /// <summary>The line that would have answered is lost.</summary>
    private void EndSasl()
    {
        if (_state == Pop3State.SaslResponse)
        {
            _sasl?.End();
            _view?.Close();
            _state = Pop3State.Authorization;
        }
    }

    /// <summary>Credentials are judged and, when they are good, the maildrop is open.</summary>
    private void SettleSasl(LoginVerdict verdict)
    {
        var step = Sasl.Settle(
            verdict switch
            {
                LoginVerdict.Accepted => AuthVerdict.Accepted,
                LoginVerdict.Rejected => AuthVerdict.Rejected,
                _ => AuthVerdict.Unavailable, // its own reply says why
            },
            default);
        if (step == SaslStep.Challenge)
        {
            _loginVerdict = null;
            _owesChallenge = true;
            _state = Pop3State.SaslResponse;
        }
    }
}
