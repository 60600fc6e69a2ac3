namespace FastMail.Protocol;

/// <summary>Checks passwords somewhere off the loop; the verdict comes back through the session that asked.</summary>
public interface IAuthenticator
{
    /// <summary>
    /// Starts a check. Both spans die with the call. False when the queue is full: the session answers
    /// <c>454 4.7.0</c> or <c>-ERR [SYS/TEMP]</c> and goes on.
    /// </summary>
    bool TryBegin(ReadOnlySpan<byte> identity, ReadOnlySpan<byte> password);
}

/// <summary>How a password check ended.</summary>
public enum AuthVerdict
{
    /// <summary>The password belongs to the identity.</summary>
    Accepted,

    /// <summary>Unknown identity or wrong password; the two are not told apart.</summary>
    Rejected,

    /// <summary>The check could not be made (account store down).</summary>
    Unavailable,
}
