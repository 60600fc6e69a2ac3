using System.Security.Cryptography;

namespace FastMail.Protocol.Smtp;

/// <summary>AUTH PLAIN and AUTH LOGIN (RFC 4954, RFC 4616).</summary>
public sealed partial class SmtpSession
{
    private readonly byte[] _identity = new byte[Limits.SaslPartBytes]; // copied out of the receive buffer
    private int _identityLength;
    private int _loginFailures;

    private void ResetAuth()
    {
        IsAuthenticated = false;
        _identityLength = 0;
        _loginFailures = 0;
    }

    /// <summary><c>AUTH SP sasl-mech [SP initial-response]</c></summary>
    private void Auth(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!_options.OffersAuth)
        {
            Refuse(SessionReplies.NotOffered, ref replies);
            return;
        }
        if (IsAuthenticated || !_isExtended)
        {
            Refuse(SessionReplies.BadSequence, ref replies);
            return;
        }
        var mechanism = FirstWord(argument);
        var hasInitial = mechanism.Length < argument.Length;
        var initial = hasInitial ? argument[(mechanism.Length + 1)..] : default;
        if (mechanism.IsEmpty || (hasInitial && (initial.IsEmpty || initial.Contains((byte)' '))))
        {
            Refuse(SessionReplies.BadArgument, ref replies);
            return;
        }
        if (initial.SequenceEqual("="u8))
        {
            initial = default; // an initial response of no octets, as opposed to none
        }
        if (AsciiWord.Is(mechanism, "PLAIN"u8))
        {
            BeginPlain(hasInitial, initial, ref replies);
        }
        else if (AsciiWord.Is(mechanism, "LOGIN"u8))
        {
            BeginLogin(hasInitial, initial, ref replies);
        }
        else
        {
            Refuse(SessionReplies.UnknownMechanism, ref replies);
        }
    }

    private void TakeSaslResponse(ReadOnlySpan<byte> line, ref ReplyWriter replies)
    {
        var state = _state;
        _state = SmtpState.Ready; // whatever comes of it; only the next question or a check changes it again
        if (line.SequenceEqual("*"u8))
        {
            Refuse(SessionReplies.AuthCancelled, ref replies);
            return;
        }
        switch (state)
        {
            case SmtpState.SaslPlain:
                TakePlain(line, ref replies);
                break;
            case SmtpState.SaslUser:
                TakeUser(line, ref replies);
                break;
            default:
                TakePassword(line, ref replies);
                break;
        }
    }

    private void BeginPlain(bool hasInitial, ReadOnlySpan<byte> initial, ref ReplyWriter replies)
    {
        if (hasInitial)
        {
            TakePlain(initial, ref replies);
            return;
        }
        _state = SmtpState.SaslPlain;
        replies.Write(SessionReplies.AskAnything.Wire);
    }

    private void BeginLogin(bool hasInitial, ReadOnlySpan<byte> initial, ref ReplyWriter replies)
    {
        if (hasInitial)
        {
            TakeUser(initial, ref replies);
            return;
        }
        _state = SmtpState.SaslUser;
        replies.Write(SessionReplies.AskUser.Wire);
    }

    /// <summary><c>message = [authzid] NUL authcid NUL passwd</c> (RFC 4616 2)</summary>
    private void TakePlain(ReadOnlySpan<byte> base64, ref ReplyWriter replies)
    {
        Span<byte> decoded = stackalloc byte[(3 * Limits.SaslPartBytes) + 2];
        if (!StrictBase64.TryDecode(base64, decoded, out var length)
            || !TrySplitPlain(decoded[..length], out var authorize, out var identity, out var password))
        {
            Refuse(SessionReplies.BadBase64, ref replies);
        }
        else if (!authorize.IsEmpty && !authorize.SequenceEqual(identity))
        {
            Refuse(CountFailure(), ref replies); // nobody acts for another
        }
        else
        {
            identity.CopyTo(_identity); // copied: the decoded message dies with this call
            _identityLength = identity.Length;
            BeginCheck(password, ref replies);
        }
        CryptographicOperations.ZeroMemory(decoded);
    }

    private static bool TrySplitPlain(
        ReadOnlySpan<byte> message,
        out ReadOnlySpan<byte> authorize,
        out ReadOnlySpan<byte> identity,
        out ReadOnlySpan<byte> password)
    {
        identity = default;
        password = default;
        var first = message.IndexOf((byte)0);
        authorize = first < 0 ? default : message[..first];
        var rest = message[(first + 1)..];
        var second = rest.IndexOf((byte)0);
        if (first < 0 || second < 0)
        {
            return false;
        }
        identity = rest[..second];
        password = rest[(second + 1)..];
        return authorize.Length <= Limits.SaslPartBytes
            && identity.Length is > 0 and <= Limits.SaslPartBytes
            && password.Length is > 0 and <= Limits.SaslPartBytes
            && !password.Contains((byte)0);
    }

    private void TakeUser(ReadOnlySpan<byte> base64, ref ReplyWriter replies)
    {
        if (!StrictBase64.TryDecode(base64, _identity, out _identityLength)
            || _identityLength == 0
            || _identity.AsSpan(0, _identityLength).Contains((byte)0))
        {
            Refuse(SessionReplies.BadBase64, ref replies);
            return;
        }
        _state = SmtpState.SaslPassword;
        replies.Write(SessionReplies.AskPassword.Wire);
    }

    private void TakePassword(ReadOnlySpan<byte> base64, ref ReplyWriter replies)
    {
        Span<byte> password = stackalloc byte[Limits.SaslPartBytes];
        if (StrictBase64.TryDecode(base64, password, out var length) && length > 0
            && !password[..length].Contains((byte)0))
        {
            BeginCheck(password[..length], ref replies);
        }
        else
        {
            Refuse(SessionReplies.BadBase64, ref replies);
        }
        CryptographicOperations.ZeroMemory(password);
    }

    private void BeginCheck(scoped ReadOnlySpan<byte> password, ref ReplyWriter replies)
    {
        if (!_authenticator.TryBegin(_identity.AsSpan(0, _identityLength), password))
        {
            replies.Write(SessionReplies.CannotAuthenticate.Wire);
            return;
        }
        _state = SmtpState.Authenticating;
    }

    private SmtpReply Judge(AuthVerdict verdict)
    {
        switch (verdict)
        {
            case AuthVerdict.Accepted:
                IsAuthenticated = true;
                return SessionReplies.Authenticated;
            case AuthVerdict.Rejected:
                return CountFailure();
            default:
                return SessionReplies.CannotAuthenticate;
        }
    }

    /// <summary>The failure beyond the limit is answered with 421, which closes the session.</summary>
    private SmtpReply CountFailure() =>
        ++_loginFailures <= Limits.SmtpLoginFailures ? SessionReplies.BadCredentials : SessionReplies.TooManyErrors;
}
