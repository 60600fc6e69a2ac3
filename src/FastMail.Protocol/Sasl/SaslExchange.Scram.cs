using System.Buffers.Text;
using System.Security.Cryptography;

namespace FastMail.Protocol.Sasl;

/// <summary>
/// Writes the server's part of a nonce, printable ASCII without commas, and returns its length; never the same twice.
/// </summary>
public delegate int ServerNonce(Span<byte> destination);

/// <summary>SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): the password never comes over the wire.</summary>
internal sealed partial class SaslExchange
{
    private const int ClientMessageBytes = 1280; // a name of 255 octets, all escaped, and a nonce
    private const int ClientNonceBytes = 96; // common ones are 18 to 44; both nonces, salt and rounds fit one challenge
    private const int ServerNonceBytes = 32;

    private static readonly byte[] InvalidProof = "e=invalid-proof"u8.ToArray();
    private static readonly byte[] NoExtensions = "e=extensions-not-supported"u8.ToArray();
    private static readonly byte[] BindingsDiffer = "e=channel-bindings-dont-match"u8.ToArray();
    private static readonly byte[] BindingIsOffered = "e=server-does-support-channel-binding"u8.ToArray();
    private static readonly byte[] NoBinding = "e=channel-binding-not-supported"u8.ToArray();
    private static readonly byte[] UnknownBinding = "e=unsupported-channel-binding-type"u8.ToArray();

    private readonly ServerNonce _nonce;
    private ScramState? _scram;

    /// <summary>A nonce of 144 random bits.</summary>
    public static int RandomNonce(Span<byte> destination)
    {
        Span<byte> random = stackalloc byte[18];
        RandomNumberGenerator.Fill(random);
        _ = Base64.EncodeToUtf8(random, destination, out _, out var written);
        return written;
    }

    private SaslStep TakeScramFirst(ReadOnlySpan<byte> base64)
    {
        Span<byte> decoded = stackalloc byte[ClientMessageBytes];
        if (!StrictBase64.TryDecode(base64, decoded, out var length))
        {
            return SaslStep.Malformed;
        }
        ReadOnlySpan<byte> message = decoded[..length];
        if (!ScramMessage.TryReadHeader(message, out var header))
        {
            return SaslStep.Malformed;
        }
        var bare = message[header.Bytes..];
        if (bare.StartsWith("m="u8))
        {
            return RefuseWith(NoExtensions);
        }
        Span<byte> name = stackalloc byte[Limits.SaslPartBytes];
        var rest = bare;
        if (!ScramMessage.TryTakeAttribute(ref rest, (byte)'n', out var escaped)
            || !ScramMessage.TryUnescape(escaped, name, out var nameLength)
            || !TryClaim(name[..nameLength])
            || !ScramMessage.TryTakeAttribute(ref rest, (byte)'r', out var nonce)
            || nonce.Length > ClientNonceBytes
            || !ScramMessage.IsNonce(nonce))
        {
            return SaslStep.Malformed;
        }
        var scram = new ScramState();
        if (TakeBinding(header, message[..header.Bytes], scram) is { } refusal)
        {
            return RefuseWith(refusal);
        }
        // Nobody acts for another; said with the proof's verdict, so that it tells nothing earlier.
        scram.IsForAnother = !header.Authorize.IsEmpty && !header.Authorize.SequenceEqual(escaped);
        return ChallengeScram(scram, bare, nonce);
    }

    /// <summary>Keeps what <c>c=</c> must be: the header and the channel's binding. Returns a reason to refuse.</summary>
    private byte[]? TakeBinding(in ScramMessage.Header header, ReadOnlySpan<byte> headerOctets, ScramState scram)
    {
        Span<byte> binding = stackalloc byte[IChannelBindings.MaxBytes];
        var length = 0;
        if (header.Flag == 'p')
        {
            if (_mechanism != SaslMechanisms.ScramSha256Plus || ChannelBindings is null)
            {
                return NoBinding;
            }
            length = header.BindingName.SequenceEqual("tls-exporter"u8)
                ? ChannelBindings.Write(ChannelBinding.TlsExporter, binding)
                : header.BindingName.SequenceEqual("tls-server-end-point"u8)
                    ? ChannelBindings.Write(ChannelBinding.TlsServerEndPoint, binding)
                    : -1;
            if (length < 0)
            {
                return UnknownBinding;
            }
        }
        else if (_mechanism == SaslMechanisms.ScramSha256Plus)
        {
            return NoBinding;
        }
        else if (header.Flag == 'y' && ChannelBindings is not null)
        {
            return BindingIsOffered; // somebody in between has taken PLUS off the list
        }
        scram.Binding = [.. headerOctets, .. binding[..length]];
        return null;
    }

    /// <summary><c>server-first-message = nonce "," salt "," iteration-count</c></summary>
    private SaslStep ChallengeScram(ScramState scram, ReadOnlySpan<byte> bare, ReadOnlySpan<byte> clientNonce)
    {
        if (_authenticator.FindVerifier(Identity) is not { } verifier)
        {
            return SaslStep.Unavailable;
        }
        Span<byte> first = stackalloc byte[Limits.SaslChallengeBytes];
        var writer = new ReplyWriter(first);
        writer.Write("r="u8);
        writer.Write(clientNonce);
        writer.Advance(_nonce(writer.Rest[..ServerNonceBytes]));
        var nonceEnd = writer.Written;
        writer.Write(",s="u8);
        _ = Base64.EncodeToUtf8(verifier.Salt, writer.Rest, out _, out var written);
        writer.Advance(written);
        writer.Write(",i="u8);
        writer.WriteNumber(verifier.Iterations);
        ReadOnlySpan<byte> message = first[..writer.Written];
        scram.Verifier = verifier;
        scram.Messages = [.. bare, (byte)',', .. message];
        scram.Nonce = message[2..nonceEnd].ToArray();
        _scram = scram;
        _challenge = scram.Messages.AsMemory(bare.Length + 1);
        _stage = Stage.ScramFinal;
        return SaslStep.Challenge;
    }

    /// <summary><c>client-final-message = "c=" base64 "," "r=" nonce ["," extensions] "," "p=" base64</c></summary>
    private SaslStep TakeScramFinal(ReadOnlySpan<byte> base64)
    {
        var scram = _scram!;
        Span<byte> decoded = stackalloc byte[ClientMessageBytes];
        Span<byte> binding = stackalloc byte[ClientMessageBytes];
        Span<byte> proof = stackalloc byte[ScramVerifier.KeyBytes];
        if (!StrictBase64.TryDecode(base64, decoded, out var length))
        {
            return SaslStep.Malformed;
        }
        ReadOnlySpan<byte> message = decoded[..length];
        var proofAt = message.LastIndexOf(",p="u8);
        var rest = message;
        if (proofAt < 0
            || !ScramMessage.TryTakeAttribute(ref rest, (byte)'c', out var boundText)
            || !StrictBase64.TryDecode(boundText, binding, out var boundLength)
            || !ScramMessage.TryTakeAttribute(ref rest, (byte)'r', out var nonce)
            || !nonce.SequenceEqual(scram.Nonce)
            || !StrictBase64.TryDecode(message[(proofAt + 3)..], proof, out var proofLength)
            || proofLength != proof.Length)
        {
            return SaslStep.Malformed;
        }
        if (!CryptographicOperations.FixedTimeEquals(binding[..boundLength], scram.Binding))
        {
            return RefuseWith(BindingsDiffer);
        }
        var isRight = scram.IsProof(message[..proofAt], proof) & !scram.IsForAnother;
        if (!_authenticator.TryBeginProof(Identity, isRight))
        {
            return SaslStep.Unavailable;
        }
        _stage = Stage.ProofVerdict;
        return SaslStep.Waiting;
    }

    /// <summary>
    /// <c>server-final-message</c>. SMTP and POP3 have no room for it beside their success, so it is a challenge that
    /// the client answers with nothing (RFC 4954 4).
    /// </summary>
    private SaslStep AnswerProof(AuthVerdict verdict)
    {
        if (verdict != AuthVerdict.Accepted)
        {
            return RefuseWith(InvalidProof);
        }
        _challenge = _scram!.ServerFinal;
        _stage = Stage.ScramProven;
        return SaslStep.Challenge;
    }

    /// <summary>What SCRAM remembers between its two messages; lives for one exchange.</summary>
    private sealed class ScramState
    {
        public ScramVerifier Verifier { get; set; } = null!;

        /// <summary>What the client must send back: header and binding.</summary>
        public byte[] Binding { get; set; } = [];

        /// <summary>client-first-message-bare, a comma, server-first-message.</summary>
        public byte[] Messages { get; set; } = [];

        public byte[] Nonce { get; set; } = [];

        public bool IsForAnother { get; set; }

        /// <summary><c>v=</c> and the server's signature.</summary>
        public byte[] ServerFinal { get; private set; } = [];

        /// <summary>ClientKey = proof XOR HMAC(StoredKey, AuthMessage), and its hash is the StoredKey.</summary>
        public bool IsProof(ReadOnlySpan<byte> finalWithoutProof, ReadOnlySpan<byte> proof)
        {
            byte[] authMessage = [.. Messages, (byte)',', .. finalWithoutProof];
            Span<byte> key = stackalloc byte[ScramVerifier.KeyBytes];
            HMACSHA256.HashData(Verifier.StoredKey, authMessage, key);
            for (var i = 0; i < key.Length; i++)
            {
                key[i] ^= proof[i];
            }
            SHA256.HashData(key, key);
            Span<byte> signature = stackalloc byte[ScramVerifier.KeyBytes];
            HMACSHA256.HashData(Verifier.ServerKey, authMessage, signature);
            ServerFinal = [.. "v="u8, .. System.Text.Encoding.ASCII.GetBytes(Convert.ToBase64String(signature))];
            return CryptographicOperations.FixedTimeEquals(key, Verifier.StoredKey);
        }
    }
}
