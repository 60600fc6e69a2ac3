using FastMail.Protocol.Sasl;

namespace FastMail.Protocol;

/// <summary>
/// Judges credentials somewhere off the session; the verdict comes back through the session that asked, never from
/// inside the call. All spans die with the call. An authenticator of passwords alone has no verifiers and begins nothing else.
/// </summary>
public interface IAuthenticator
{
    /// <summary>
    /// Starts the check of a password. False when the queue is full: the session answers <c>454 4.7.0</c> or
    /// <c>-ERR [SYS/TEMP]</c> and goes on.
    /// </summary>
    bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password);

    /// <summary>
    /// The SCRAM verifier of an identity, at once. Who is unknown gets one that nobody's proof matches and that looks
    /// the same each time. Null when it cannot be told now.
    /// </summary>
    ScramVerifier? FindVerifier(ReadOnlySpan<byte> identity);

    /// <summary>
    /// Starts the verdict on a SCRAM proof that the session has checked itself: its refusals are delayed and counted as
    /// those of passwords are. False as in <see cref="TryBegin"/>.
    /// </summary>
    bool TryBeginProof(ReadOnlySpan<byte> identity, bool isRight);

    /// <summary>
    /// Starts the check of a bearer token (RFC 6750). The identity may be empty: then the token says whose it is. False
    /// as in <see cref="TryBegin"/>.
    /// </summary>
    bool TryBeginToken(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> token);
}

/// <summary>How a check of credentials ended.</summary>
public enum AuthVerdict
{
    /// <summary>The credentials belong to the identity.</summary>
    Accepted,

    /// <summary>Unknown identity or wrong credentials; the two are not told apart.</summary>
    Rejected,

    /// <summary>The check could not be made (account store down, too many failures from there).</summary>
    Unavailable,
}
