using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Pop3;

/// <summary>STLS (RFC 2595 4), and what TLS changes for the rest of the session.</summary>
public sealed partial class Pop3Session
{
    private TlsFacts? _tls;

    /// <summary>The session runs over TLS, and this is what is known of it.</summary>
    public TlsFacts? Tls => _tls;

    private bool TakesPasswords => _options.AllowsCleartext || _tls is not null;

    /// <inheritdoc/>
    public override void Secured(TlsFacts tls)
    {
        if (_state is not (Pop3State.Connected or Pop3State.StartingTls))
        {
            throw new InvalidOperationException("TLS begins before the greeting or behind STLS.");
        }
        _tls = tls;
        if (_state == Pop3State.StartingTls)
        {
            _user.Clear(); // said in the clear, perhaps by somebody else
            _sasl?.Reset();
            _state = Pop3State.Authorization;
        }
        // Where PLUS is not offered, a client that says so is right: it must not be taken for one that was deceived.
        var offersPlus = (_options.Mechanisms & SaslMechanisms.ScramSha256Plus) != 0;
        ChannelBindings = offersPlus && tls.HasBindings ? tls : null;
    }

    private void Stls(ref ReplyWriter replies)
    {
        if (_tls is not null)
        {
            Refuse("-ERR TLS is active already\r\n"u8, ref replies);
        }
        else if (_options.Tls is null)
        {
            Refuse("-ERR TLS is not offered\r\n"u8, ref replies);
        }
        else if (_hasInputBehind)
        {
            replies.Write("-ERR input behind STLS, closing connection\r\n"u8); // an injection (CVE-2011-0411)
            Abandon();
        }
        else if (!_options.Tls.IsAvailable)
        {
            replies.Write("-ERR [SYS/TEMP] TLS is not available now, try again later\r\n"u8);
        }
        else
        {
            replies.Write("+OK begin TLS\r\n"u8);
            _state = Pop3State.StartingTls;
        }
    }
}
