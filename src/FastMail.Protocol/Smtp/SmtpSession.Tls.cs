using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Smtp;

/// <summary>STARTTLS (RFC 3207), and what TLS changes for the rest of the session.</summary>
public sealed partial class SmtpSession
{
    private TlsFacts? _tls;

    /// <summary>The session runs over TLS, and this is what is known of it.</summary>
    public TlsFacts? Tls => _tls;

    private bool OffersAuth => (_options.OffersAuth && !_isDeclared) || (_tls is not null && _options.Role == SmtpRole.Submission);

    /// <summary>What is refused now would be taken after STARTTLS.</summary>
    private bool AwaitsTls => !OffersAuth && _options.Role == SmtpRole.Submission && _options.Tls is not null;

    /// <inheritdoc/>
    public override void Secured(TlsFacts tls)
    {
        if (_state is not (SmtpState.Connected or SmtpState.StartingTls))
        {
            throw new InvalidOperationException("TLS begins before the greeting or behind STARTTLS.");
        }
        _tls = tls;
        if (_state == SmtpState.StartingTls)
        {
            // RFC 3207 4.2: whatever was said in the clear may have been said by somebody else.
            _helo.Clear();
            _isHeloDeclared = false;
            _isExtended = false;
            ResetAuth();
            _state = SmtpState.Greeted;
        }
        // Where PLUS is not offered, a client that says so is right: it must not be taken for one that was deceived.
        var offersPlus = (_options.Mechanisms & SaslMechanisms.ScramSha256Plus) != 0;
        ChannelBindings = offersPlus && tls.HasBindings ? tls : null;
    }

    private void StartTls(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!argument.IsEmpty)
        {
            Refuse(SessionReplies.BadArgument, ref replies);
        }
        else if (_tls is not null)
        {
            Refuse(SessionReplies.BadSequence, ref replies);
        }
        else if (_options.Tls is null)
        {
            Refuse(SessionReplies.NotOffered, ref replies);
        }
        else if (_hasInputBehind)
        {
            replies.Write(SessionReplies.EarlyInput.Wire); // an injection, or a client that would wait for ever
            Abandon();
        }
        else if (!_options.Tls.IsAvailable)
        {
            replies.Write(SessionReplies.NoTlsNow.Wire);
        }
        else
        {
            replies.Write(SessionReplies.StartTls.Wire);
            _state = SmtpState.StartingTls;
        }
    }
}
