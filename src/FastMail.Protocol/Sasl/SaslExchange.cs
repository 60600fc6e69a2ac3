using System.Buffers;
using System.Buffers.Text;
using System.Security.Cryptography;

namespace FastMail.Protocol.Sasl;

/// <summary>What an exchange wants after a step.</summary>
internal enum SaslStep
{
    /// <summary>Send <see cref="SaslExchange.WriteChallenge"/>, then take a response.</summary>
    Challenge,

    /// <summary>A check was handed out; its verdict comes through <see cref="SaslExchange.Settle"/>.</summary>
    Waiting,

    /// <summary>The client is <see cref="SaslExchange.Identity"/>.</summary>
    Accepted,

    /// <summary>The credentials are not good.</summary>
    Rejected,

    /// <summary>The check cannot be made now.</summary>
    Unavailable,

    /// <summary>Not base64, or not a message of the mechanism.</summary>
    Malformed,

    /// <summary>The client sent <c>*</c>.</summary>
    Cancelled,
}

/// <summary>
/// The server's side of one SASL exchange at a time, shared by SMTP AUTH (RFC 4954) and POP3 AUTH (RFC 5034): takes
/// responses in base64, gives challenges. Owned by one session and entered by it alone. What an exchange needs beyond
/// the identity is allocated when it begins and dropped when it ends.
/// </summary>
internal sealed partial class SaslExchange
{
    private readonly IAuthenticator _authenticator;
    private OctetCopy _identity;
    private Stage _stage;
    private ReadOnlyMemory<byte> _challenge; // not yet in base64

    public SaslExchange(IAuthenticator authenticator, ServerNonce nonce)
    {
        _authenticator = authenticator;
        _nonce = nonce;
    }

    private enum Stage
    {
        Idle,
        Plain,
        LoginUser,
        LoginPassword,
        ScramFirst,
        ScramFinal,

        /// <summary>The proof is right and v= is sent; the client has nothing more to say.</summary>
        ScramProven,

        Token,

        /// <summary>The reason was sent as a challenge; whatever the client says, it is refused.</summary>
        Refused,

        PasswordVerdict,
        ProofVerdict,
        TokenVerdict,
    }

    /// <summary>Who it is, or claims to be while the exchange goes on.</summary>
    public ReadOnlySpan<byte> Identity => _identity.Span;

    /// <summary>The channel under this session; null when there is none, or none that could be told by.</summary>
    public IChannelBindings? ChannelBindings { get; set; }

    /// <summary>A verdict is under way.</summary>
    public bool IsWaiting => _stage >= Stage.PasswordVerdict;

    /// <summary>Forgets whatever there was.</summary>
    public void Reset()
    {
        End();
        _identity.Clear();
        ChannelBindings = null;
    }

    /// <summary>Begins an exchange.</summary>
    /// <param name="mechanism">One mechanism, offered.</param>
    /// <param name="hasInitial">There is an initial response.</param>
    /// <param name="initial">It, in base64; <c>=</c> is one of no octets, as opposed to none.</param>
    public SaslStep Begin(SaslMechanisms mechanism, bool hasInitial, ReadOnlySpan<byte> initial)
    {
        _identity.Clear();
        _challenge = default;
        _mechanism = mechanism;
        _stage = mechanism switch
        {
            SaslMechanisms.Plain => Stage.Plain,
            SaslMechanisms.Login => Stage.LoginUser,
            SaslMechanisms.ScramSha256 or SaslMechanisms.ScramSha256Plus => Stage.ScramFirst,
            _ => Stage.Token,
        };
        if (hasInitial)
        {
            return Take(initial.SequenceEqual("="u8) ? default : initial);
        }
        _challenge = mechanism == SaslMechanisms.Login ? AskUser : default;
        return SaslStep.Challenge;
    }

    /// <summary>Takes the client's answer to a challenge: a line without its end.</summary>
    public SaslStep Take(ReadOnlySpan<byte> line)
    {
        var step = line.SequenceEqual("*"u8) ? SaslStep.Cancelled : _stage switch
        {
            Stage.Plain => TakePlain(line),
            Stage.LoginUser => TakeUser(line),
            Stage.LoginPassword => TakePassword(line),
            Stage.ScramFirst => TakeScramFirst(line),
            Stage.ScramFinal => TakeScramFinal(line),
            Stage.ScramProven => line.IsEmpty ? SaslStep.Accepted : SaslStep.Malformed,
            Stage.Token => TakeToken(line),
            Stage.Refused => SaslStep.Rejected,
            _ => throw new InvalidOperationException($"No response is taken in {_stage}."),
        };
        return EndUnlessGoingOn(step);
    }

    /// <summary>The verdict that was waited for.</summary>
    /// <param name="verdict">The verdict.</param>
    /// <param name="identity">Who was accepted, when that is not what the client claimed.</param>
    public SaslStep Settle(AuthVerdict verdict, ReadOnlySpan<byte> identity)
    {
        if (verdict == AuthVerdict.Accepted && !identity.IsEmpty)
        {
            _identity.Set(identity); // copied: the caller's view dies with its call
        }
        var step = (_stage, verdict) switch
        {
            (_, AuthVerdict.Unavailable) => SaslStep.Unavailable,
            (Stage.ProofVerdict, _) => AnswerProof(verdict),
            (Stage.TokenVerdict, AuthVerdict.Rejected) => RefuseToken(),
            _ => verdict == AuthVerdict.Accepted ? SaslStep.Accepted : SaslStep.Rejected,
        };
        return EndUnlessGoingOn(step);
    }

    /// <summary>Writes the challenge in base64; at most 320 octets.</summary>
    public void WriteChallenge(ref ReplyWriter replies)
    {
        if (Base64.EncodeToUtf8(_challenge.Span, replies.Rest, out _, out var written) != OperationStatus.Done)
        {
            throw new InvalidOperationException("A challenge was begun without room for it.");
        }
        replies.Advance(written);
        _challenge = default;
    }

    /// <summary>Ends the exchange; only the identity stays.</summary>
    public void End()
    {
        _stage = Stage.Idle;
        _challenge = default;
        _scram = null;
    }

    private SaslStep EndUnlessGoingOn(SaslStep step)
    {
        if (step is not (SaslStep.Challenge or SaslStep.Waiting))
        {
            End();
        }
        return step;
    }

    /// <summary>Sends a reason the way the mechanism does it; the refusal comes after the client's answer.</summary>
    private SaslStep RefuseWith(ReadOnlyMemory<byte> reason)
    {
        _challenge = reason;
        _stage = Stage.Refused;
        return SaslStep.Challenge;
    }

    private bool TryClaim(ReadOnlySpan<byte> identity)
    {
        if (identity.Length is 0 or > Limits.SaslPartBytes || identity.Contains((byte)0))
        {
            return false;
        }
        _identity.Set(identity); // copied: the message dies with this call
        return true;
    }

    private SaslStep BeginCheck(scoped ReadOnlySpan<byte> password)
    {
        if (!_authenticator.TryBegin(Identity, password))
        {
            return SaslStep.Unavailable;
        }
        _stage = Stage.PasswordVerdict;
        return SaslStep.Waiting;
    }

    private static void Wipe(Span<byte> secret) => CryptographicOperations.ZeroMemory(secret);
}
