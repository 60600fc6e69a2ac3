namespace FastMail.Protocol.Sasl;

/// <summary>PLAIN (RFC 4616) and LOGIN: the password itself comes over the wire.</summary>
internal sealed partial class SaslExchange
{
    private static readonly byte[] AskUser = "Username:"u8.ToArray();
    private static readonly byte[] AskPassword = "Password:"u8.ToArray();

    /// <summary><c>message = [authzid] NUL authcid NUL passwd</c> (RFC 4616 2)</summary>
    private SaslStep TakePlain(ReadOnlySpan<byte> base64)
    {
        Span<byte> decoded = stackalloc byte[(3 * Limits.SaslPartBytes) + 2];
        var step = SaslStep.Malformed;
        if (StrictBase64.TryDecode(base64, decoded, out var length)
            && TrySplitPlain(decoded[..length], out var authorize, out var identity, out var password)
            && TryClaim(identity))
        {
            // Nobody acts for another.
            step = authorize.IsEmpty || authorize.SequenceEqual(identity) ? BeginCheck(password) : SaslStep.Rejected;
        }
        Wipe(decoded);
        return step;
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
            && password.Length is > 0 and <= Limits.SaslPartBytes
            && !password.Contains((byte)0);
    }

    private SaslStep TakeUser(ReadOnlySpan<byte> base64)
    {
        Span<byte> identity = stackalloc byte[Limits.SaslPartBytes];
        if (!StrictBase64.TryDecode(base64, identity, out var length) || !TryClaim(identity[..length]))
        {
            return SaslStep.Malformed;
        }
        _stage = Stage.LoginPassword;
        _challenge = AskPassword;
        return SaslStep.Challenge;
    }

    private SaslStep TakePassword(ReadOnlySpan<byte> base64)
    {
        Span<byte> password = stackalloc byte[Limits.SaslPartBytes];
        var isWhole = StrictBase64.TryDecode(base64, password, out var length)
            && length > 0
            && !password[..length].Contains((byte)0);
        var step = isWhole ? BeginCheck(password[..length]) : SaslStep.Malformed;
        Wipe(password);
        return step;
    }
}
