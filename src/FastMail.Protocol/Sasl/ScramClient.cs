using System.Buffers.Text;
using System.Security.Cryptography;

namespace FastMail.Protocol.Sasl;

/// <summary>
/// The client's messages of SCRAM-SHA-256 (RFC 5802, RFC 7677) without channel binding. Owned by one session, for one
/// exchange; entered by its thread.
/// </summary>
internal sealed class ScramClient
{
    /// <summary>Octets of the longest message, a name of 255 octets all escaped.</summary>
    public const int MessageBytes = 1280;

    private const int NonceBytes = 96;

    private readonly ClientCredentials _credentials;
    private readonly byte[] _nonce;
    private readonly byte[] _first; // client-first-message-bare
    private byte[] _serverFirst = [];
    private byte[] _serverNonce = [];
    private byte[] _salt = [];
    private int _iterations;
    private byte[] _serverSignature = [];

    public ScramClient(ClientCredentials credentials, ServerNonce makeNonce)
    {
        _credentials = credentials;
        Span<byte> nonce = stackalloc byte[NonceBytes];
        _nonce = nonce[..makeNonce(nonce)].ToArray();
        var message = new List<byte>();
        message.AddRange("n="u8);
        foreach (var octet in credentials.User)
        {
            message.AddRange(octet switch
            {
                (byte)',' => "=2C"u8,
                (byte)'=' => "=3D"u8,
                _ => [octet],
            });
        }
        message.AddRange(",r="u8);
        message.AddRange(_nonce);
        _first = [.. message];
    }

    /// <summary><c>client-first-message = "n,," "n=" saslname "," "r=" nonce</c></summary>
    public byte[] First => [.. "n,,"u8, .. _first];

    /// <summary>
    /// <c>server-first-message = "r=" nonce "," "s=" base64 "," "i=" posit-number</c>. False when it is anything else, or asks
    /// for so many rounds that it is an attack, or so few that the password would be as good as told.
    /// </summary>
    public bool TryTakeFirst(ReadOnlySpan<byte> message)
    {
        Span<byte> salt = stackalloc byte[Limits.ScramSaltBytes];
        var rest = message;
        if (!ScramMessage.TryTakeAttribute(ref rest, (byte)'r', out var nonce)
            || !ScramMessage.IsNonce(nonce) || nonce.Length <= _nonce.Length || !nonce.StartsWith(_nonce)
            || !ScramMessage.TryTakeAttribute(ref rest, (byte)'s', out var saltText)
            || !StrictBase64.TryDecode(saltText, salt, out var saltLength) || saltLength == 0
            || !ScramMessage.TryTakeAttribute(ref rest, (byte)'i', out var rounds)
            || !StrictDecimal.TryParse(rounds, out var iterations)
            || iterations is < Limits.ScramLeastIterations or > Limits.ScramMostIterations)
        {
            return false;
        }
        _serverFirst = message.ToArray();
        _serverNonce = nonce.ToArray();
        _salt = salt[..saltLength].ToArray();
        _iterations = (int)iterations;
        return true;
    }

    /// <summary>What must be done before the proof can be made; null when that was done before.</summary>
    public PasswordDerivation? Needs()
    {
        Span<byte> salted = stackalloc byte[ScramVerifier.KeyBytes];
        var isThere = _credentials.TryFind(_salt, _iterations, salted);
        CryptographicOperations.ZeroMemory(salted);
        return isThere ? null : new PasswordDerivation(_credentials, _salt, _iterations);
    }

    /// <summary><c>client-final-message = "c=biws,r=" nonce ",p=" base64</c>; empty when the salted password is not there.</summary>
    public byte[] Final()
    {
        Span<byte> salted = stackalloc byte[ScramVerifier.KeyBytes];
        if (!_credentials.TryFind(_salt, _iterations, salted))
        {
            return [];
        }
        byte[] bare = [.. "c=biws,r="u8, .. _serverNonce];
        byte[] authMessage = [.. _first, (byte)',', .. _serverFirst, (byte)',', .. bare];
        Span<byte> clientKey = stackalloc byte[ScramVerifier.KeyBytes];
        Span<byte> storedKey = stackalloc byte[ScramVerifier.KeyBytes];
        Span<byte> serverKey = stackalloc byte[ScramVerifier.KeyBytes];
        HMACSHA256.HashData(salted, "Client Key"u8, clientKey);
        SHA256.HashData(clientKey, storedKey);
        HMACSHA256.HashData(salted, "Server Key"u8, serverKey);
        CryptographicOperations.ZeroMemory(salted);
        _serverSignature = HMACSHA256.HashData(serverKey, authMessage);
        Span<byte> proof = stackalloc byte[ScramVerifier.KeyBytes];
        HMACSHA256.HashData(storedKey, authMessage, proof);
        for (var i = 0; i < proof.Length; i++)
        {
            proof[i] ^= clientKey[i];
        }
        CryptographicOperations.ZeroMemory(clientKey); // who has it can log in
        CryptographicOperations.ZeroMemory(serverKey);
        Span<byte> text = stackalloc byte[Base64.GetMaxEncodedToUtf8Length(ScramVerifier.KeyBytes)];
        _ = Base64.EncodeToUtf8(proof, text, out _, out var length);
        return [.. bare, .. ",p="u8, .. text[..length]];
    }

    /// <summary><c>server-final-message = "v=" base64</c>: the host knows the verifier, so it is who we think.</summary>
    public bool IsProven(ReadOnlySpan<byte> message)
    {
        Span<byte> signature = stackalloc byte[ScramVerifier.KeyBytes];
        var rest = message;
        return ScramMessage.TryTakeAttribute(ref rest, (byte)'v', out var text)
            && StrictBase64.TryDecode(text, signature, out var length)
            && length == signature.Length
            && CryptographicOperations.FixedTimeEquals(signature, _serverSignature);
    }
}
