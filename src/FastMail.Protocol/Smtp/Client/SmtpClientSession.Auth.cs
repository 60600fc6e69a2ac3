using System.Buffers.Text;
using System.Security.Cryptography;
using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Smtp.Client;

/// <summary>AUTH (RFC 4954): SCRAM-SHA-256 where it is offered, else PLAIN or LOGIN inside TLS.</summary>
public sealed partial class SmtpClientSession
{
    private const int CommandLineBytes = 512; // RFC 4954 4: an initial response must keep the line within RFC 5321's limit

    private AuthStep _authStep;
    private SaslMechanisms _mechanism;
    private ScramClient? _scram;

    private enum AuthStep
    {
        /// <summary>AUTH with the first response, or that alone, is what was said last.</summary>
        Begin,

        /// <summary>AUTH without a response; the first one follows on a line of its own.</summary>
        First,

        /// <summary>LOGIN's password.</summary>
        Password,

        /// <summary>SCRAM's proof.</summary>
        Proof,

        /// <summary>The host has proven itself: an empty response.</summary>
        Proven,
    }

    /// <summary>AUTH has succeeded.</summary>
    public bool IsAuthenticated { get; private set; }

    /// <summary>
    /// While the session waits for it: to be run on a thread that may be held up, and <see cref="GoOn"/> to be called
    /// afterwards; null when it waits for something else.
    /// </summary>
    public PasswordDerivation? Derivation { get; private set; }

    private void ResetAuth()
    {
        IsAuthenticated = false;
        Derivation = null;
        _scram = null;
        _mechanism = SaslMechanisms.None;
    }

    private void EnterAuth()
    {
        var canBeSeen = _tls is null && !_options.AllowsCleartextAuth;
        var offered = _offers.Mechanisms & (canBeSeen ? SaslMechanisms.ScramSha256 : ~SaslMechanisms.None);
        _mechanism = (offered & SaslMechanisms.ScramSha256) != 0 ? SaslMechanisms.ScramSha256
            : (offered & SaslMechanisms.Plain) != 0 ? SaslMechanisms.Plain
            : offered & SaslMechanisms.Login;
        if (_mechanism == SaslMechanisms.None)
        {
            _state = State.Auth;
            Fail(_offers.Mechanisms != SaslMechanisms.None && canBeSeen ? ClientReplies.AuthInTheClear : ClientReplies.NoAuth);
            return;
        }
        _scram = _mechanism == SaslMechanisms.ScramSha256
            ? new ScramClient(_options.Credentials!, _options.Nonce)
            : null;
        _authStep = AuthStep.Begin;
        Enter(State.Auth);
    }

    private void TakeAuth(in HostReply reply)
    {
        if (reply.Code == 235 && (_scram is null ? _authStep != AuthStep.First : _authStep == AuthStep.Proven))
        {
            IsAuthenticated = true;
            _scram = null;
            Enter(State.Ready);
        }
        else if (reply.Code >= 400)
        {
            Fail(reply);
        }
        else if (reply.Code != 334 || !TryTakeChallenge(reply))
        {
            Fail(ClientReplies.AuthMalformed); // not who it should be, or an attack: no further word
        }
        else
        {
            _isSaid = false;
        }
    }

    /// <summary>Moves on to the response that the challenge asks for.</summary>
    private bool TryTakeChallenge(in HostReply reply)
    {
        if (_authStep == AuthStep.First)
        {
            return true; // its text is for people ("Username:"), or empty
        }
        if (_mechanism == SaslMechanisms.Login && _authStep == AuthStep.Begin)
        {
            _authStep = AuthStep.Password;
            return true;
        }
        Span<byte> challenge = stackalloc byte[ScramClient.MessageBytes];
        if (_scram is null || !StrictBase64.TryDecode(reply.Text, challenge, out var length))
        {
            return false;
        }
        if (_authStep == AuthStep.Proof)
        {
            _authStep = AuthStep.Proven;
            return _scram.IsProven(challenge[..length]);
        }
        if (_authStep != AuthStep.Begin || !_scram.TryTakeFirst(challenge[..length]))
        {
            return false;
        }
        _authStep = AuthStep.Proof;
        Derivation = _scram.Needs();
        IsWaiting = Derivation is not null;
        return true;
    }

    private void SayAuth(ref ReplyWriter output)
    {
        Derivation = null;
        switch (_authStep)
        {
            case AuthStep.Begin:
                SayBegin(ref output);
                break;
            case AuthStep.First:
                _authStep = AuthStep.Begin;
                SayFirst(ref output);
                output.WriteLineEnd();
                break;
            case AuthStep.Password:
                WriteBase64(_options.Credentials!.Password, ref output);
                output.WriteLineEnd();
                break;
            case AuthStep.Proof when _scram!.Final() is { Length: > 0 } final:
                WriteBase64(final, ref output);
                output.WriteLineEnd();
                break;
            case AuthStep.Proof: // another session has had another salt derived meanwhile
                Derivation = _scram!.Needs();
                IsWaiting = Derivation is not null;
                _isSaid = false;
                break;
            default:
                output.WriteLineEnd();
                break;
        }
    }

    private void SayBegin(ref ReplyWriter output)
    {
        output.Write("AUTH "u8);
        output.Write(SaslNames.NameOf(_mechanism));
        var before = output.Written;
        if (_mechanism == SaslMechanisms.Login)
        {
            _authStep = AuthStep.First; // many hosts take no initial response with it
        }
        else if (FirstLineBytes() > CommandLineBytes)
        {
            _authStep = AuthStep.First;
        }
        else
        {
            output.Write((byte)' ');
            SayFirst(ref output);
        }
        output.WriteLineEnd();
    }

    private int FirstLineBytes()
    {
        var credentials = _options.Credentials!;
        var response = _scram is null ? 2 + credentials.User.Length + credentials.Password.Length : _scram.First.Length;
        return "AUTH  \r\n".Length + SaslNames.NameOf(_mechanism).Length + Base64.GetMaxEncodedToUtf8Length(response);
    }

    private void SayFirst(ref ReplyWriter output)
    {
        var credentials = _options.Credentials!;
        if (_mechanism == SaslMechanisms.Login)
        {
            WriteBase64(credentials.User, ref output);
        }
        else if (_scram is not null)
        {
            WriteBase64(_scram.First, ref output);
        }
        else
        {
            byte[] message = [0, .. credentials.User, 0, .. credentials.Password];
            WriteBase64(message, ref output);
            CryptographicOperations.ZeroMemory(message);
        }
    }

    private static void WriteBase64(ReadOnlySpan<byte> octets, ref ReplyWriter output)
    {
        if (Base64.EncodeToUtf8(octets, output.Rest, out _, out var written) != System.Buffers.OperationStatus.Done)
        {
            throw new InvalidOperationException("A response was begun without room for it.");
        }
        output.Advance(written);
    }
}
