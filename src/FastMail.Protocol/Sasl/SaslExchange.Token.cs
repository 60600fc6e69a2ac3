using System.Buffers;

namespace FastMail.Protocol.Sasl;

/// <summary>OAUTHBEARER (RFC 7628) and XOAUTH2: a bearer token stands for the password.</summary>
internal sealed partial class SaslExchange
{
    private static readonly byte[] InvalidToken = "{\"status\":\"invalid_token\"}"u8.ToArray(); // RFC 7628 3.2.2
    private static readonly byte[] Unauthorized = "{\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"\"}"u8.ToArray();

    private SaslMechanisms _mechanism;

    private SaslStep TakeToken(ReadOnlySpan<byte> base64)
    {
        // 9 KiB for the longest token: too much for the stack of every call, too rare to keep.
        var rented = ArrayPool<byte>.Shared.Rent(StrictBase64.MaxDecodedBytes(base64) + 1);
        try
        {
            if (!StrictBase64.TryDecode(base64, rented, out var length)
                || !TryReadToken(rented.AsSpan(0, length), out var token))
            {
                return SaslStep.Malformed;
            }
            if (!_authenticator.TryBeginToken(Identity, token))
            {
                return SaslStep.Unavailable;
            }
            _stage = Stage.TokenVerdict;
            return SaslStep.Waiting;
        }
        finally
        {
            Wipe(rented);
            ArrayPool<byte>.Shared.Return(rented);
        }
    }

    private SaslStep RefuseToken() =>
        RefuseWith(_mechanism == SaslMechanisms.XOAuth2 ? Unauthorized : InvalidToken);

    private bool TryReadToken(ReadOnlySpan<byte> message, out ReadOnlySpan<byte> token)
    {
        token = default;
        if (_mechanism == SaslMechanisms.XOAuth2)
        {
            // "user=" address ^A "auth=Bearer " token ^A ^A
            var end = message.IndexOf((byte)1);
            return end > 0
                && message.StartsWith("user="u8)
                && TryClaim(message[5..end])
                && TryFindAuth(message[(end + 1)..], out token);
        }
        // gs2-header ^A *( key "=" value ^A ) ^A (RFC 7628 3.1); channel binding is not for tokens
        if (!ScramMessage.TryReadHeader(message, out var header)
            || header.Flag == (byte)'p'
            || header.Bytes == message.Length
            || message[header.Bytes] != 1)
        {
            return false;
        }
        Span<byte> authorize = stackalloc byte[Limits.SaslPartBytes];
        _identity.Clear();
        if (!header.Authorize.IsEmpty
            && (!ScramMessage.TryUnescape(header.Authorize, authorize, out var length) || !TryClaim(authorize[..length])))
        {
            return false;
        }
        return TryFindAuth(message[(header.Bytes + 1)..], out token);
    }

    /// <summary><c>*( key "=" value ^A ) ^A</c> with one <c>auth</c> among them: <c>Bearer b64token</c>.</summary>
    private static bool TryFindAuth(ReadOnlySpan<byte> pairs, out ReadOnlySpan<byte> token)
    {
        token = default;
        while (!pairs.IsEmpty && pairs[0] != 1)
        {
            var end = pairs.IndexOf((byte)1);
            var equals = pairs.IndexOf((byte)'=');
            if (end < 0 || equals <= 0 || equals > end || pairs[..end].ContainsAnyExceptInRange((byte)9, (byte)126))
            {
                return false;
            }
            if (pairs[..equals].SequenceEqual("auth"u8))
            {
                var value = pairs[(equals + 1)..end];
                if (!token.IsEmpty || !AsciiWord.StartsWith(value, "Bearer "u8))
                {
                    return false;
                }
                token = value[7..].Trim((byte)' ');
            }
            pairs = pairs[(end + 1)..];
        }
        return pairs.Length == 1 && !token.IsEmpty && !token.ContainsAnyExceptInRange((byte)'!', (byte)'~');
    }
}
