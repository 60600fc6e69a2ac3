using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Pop3;

/// <summary>The AUTHORIZATION state: CAPA (RFC 2449 5), USER and PASS (RFC 1939 7).</summary>
public sealed partial class Pop3Session
{
    /// <summary>The same in both states but for what one need not tell strangers.</summary>
    private void Capa(ref ReplyWriter replies)
    {
        replies.Write("+OK\r\nTOP\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n"u8);
        if (_options.Tls is not null && _tls is null)
        {
            replies.Write("STLS\r\n"u8);
        }
        if (TakesPasswords)
        {
            replies.Write("USER\r\n"u8);
        }
        if (OfferedMechanisms is var mechanisms and not SaslMechanisms.None)
        {
            replies.Write("SASL"u8);
            SaslNames.Write(mechanisms, " "u8, default, ref replies);
            replies.WriteLineEnd();
        }
        replies.Write("UTF8 USER\r\nLANG\r\n"u8);
        WritePolicy(ref replies);
        if (IsAuthenticated)
        {
            replies.Write("IMPLEMENTATION "u8);
            replies.Write(_options.ImplementationName.Span);
            replies.WriteLineEnd();
        }
        replies.Write(".\r\n"u8);
    }

    /// <summary>What the operator promises: how long mail stays, how often one may log in.</summary>
    private void WritePolicy(ref ReplyWriter replies)
    {
        var expiry = IsAuthenticated ? new Expiry(View.Maildrop.ExpireDays, false) : _options.Expiry();
        replies.Write("EXPIRE "u8);
        if (expiry.Days is { } days)
        {
            replies.WriteNumber(days);
        }
        else
        {
            replies.Write("NEVER"u8);
        }
        if (expiry.IsPerUser)
        {
            replies.Write(" USER"u8);
        }
        replies.WriteLineEnd();
        if (_options.LoginDelaySeconds > 0)
        {
            replies.Write("LOGIN-DELAY "u8);
            replies.WriteNumber(_options.LoginDelaySeconds);
            replies.WriteLineEnd();
        }
    }

    /// <summary>RFC 6856 2. Names and passwords are octets to us, before and after.</summary>
    private void Utf8(ref ReplyWriter replies)
    {
        _isUtf8 = true;
        replies.Write("+OK UTF8 is on\r\n"u8);
    }

    /// <summary>RFC 6856 3: there is one language, English, which is the default too.</summary>
    private void Lang(ReadOnlySpan<byte> tag, ref ReplyWriter replies)
    {
        if (tag.IsEmpty)
        {
            replies.Write("+OK languages:\r\nen English\r\ni-default Default language\r\n.\r\n"u8);
        }
        else if (tag.SequenceEqual("*"u8) || AsciiWord.Is(tag, "i-default"u8))
        {
            replies.Write("+OK i-default the default language\r\n"u8);
        }
        else if (AsciiWord.Is(tag, "en"u8) || AsciiWord.StartsWith(tag, "en-"u8))
        {
            replies.Write("+OK en English\r\n"u8);
        }
        else
        {
            Refuse("-ERR only en and i-default are spoken here\r\n"u8, ref replies);
        }
    }

    /// <summary>Answers the same whether the user exists or not.</summary>
    private void User(ReadOnlySpan<byte> name, ref ReplyWriter replies)
    {
        if (!TakesPasswords)
        {
            Refuse("-ERR cleartext login is not allowed here\r\n"u8, ref replies);
            return;
        }
        if (name.IsEmpty)
        {
            Refuse("-ERR a name is expected\r\n"u8, ref replies);
            return;
        }
        _user.Set(name); // copied: the receive buffer is reused after this call
        _state = Pop3State.AfterUser;
        replies.Write("+OK\r\n"u8);
    }

    /// <summary>The password is the rest of the line, blanks and all.</summary>
    private void Pass(ReadOnlySpan<byte> password, ref ReplyWriter replies)
    {
        if (password.IsEmpty)
        {
            Refuse("-ERR a password is expected\r\n"u8, ref replies);
            return;
        }
        if (!_authenticator.TryBegin(_user.Span, password))
        {
            replies.Write("-ERR [SYS/TEMP] too busy, try again later\r\n"u8);
            _state = Pop3State.Authorization;
            return;
        }
        _state = Pop3State.LoggingIn;
    }

    private void AnswerLogin(ref ReplyWriter replies)
    {
        var verdict = _loginVerdict!.Value;
        _loginVerdict = null;
        if (verdict == LoginVerdict.Accepted)
        {
            _state = Pop3State.Transaction;
            WriteMaildropLine(ref replies);
            return;
        }
        _state = Pop3State.Authorization;
        replies.Write(verdict switch
        {
            LoginVerdict.Rejected => BadCredentials,
            LoginVerdict.TooSoon => "-ERR [LOGIN-DELAY] the last login was too short a time ago\r\n"u8,
            LoginVerdict.InUse => "-ERR [IN-USE] the maildrop is open in another session\r\n"u8,
            LoginVerdict.Disabled => "-ERR [SYS/PERM] the account is disabled\r\n"u8,
            _ => "-ERR [SYS/TEMP] the maildrop cannot be opened now\r\n"u8,
        });
        CountFailure(verdict);
    }

    private static ReadOnlySpan<byte> BadCredentials => "-ERR [AUTH] invalid user or password\r\n"u8;

    /// <summary>
    /// Wrong credentials only: clients take a socket that closes during a login for a wrong password.
    /// </summary>
    private void CountFailure(LoginVerdict verdict)
    {
        if (verdict == LoginVerdict.Rejected && ++_loginFailures > _options.MaxLoginFailures)
        {
            Abandon();
        }
    }

    private void WriteMaildropLine(ref ReplyWriter replies)
    {
        replies.Write("+OK maildrop has "u8);
        replies.WriteNumber(View.LiveCount);
        replies.Write(" messages ("u8);
        replies.WriteNumber(View.LiveOctets);
        replies.Write(" octets)\r\n"u8);
    }
}
