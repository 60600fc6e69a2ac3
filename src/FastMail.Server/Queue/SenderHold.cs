using FastMail.Storage;

namespace FastMail.Server.Queue;

/// <summary>
/// How the queue tells what a sender holds back (RFC 4865) from what an operator does: it is put off without an attempt
/// having been made. Stateless; any thread.
/// </summary>
internal static class SenderHold
{
    /// <param name="recipient">As the log has it.</param>
    /// <param name="nowMicros">Microseconds since 1970 UTC.</param>
    public static bool IsHeldBySender(this in QueuedRecipient recipient, long nowMicros) =>
        recipient.State == QueueState.Deferred && IsToCome(recipient, nowMicros);

    /// <summary>An operator holds it, and once that is over its sender still does.</summary>
    public static bool IsHeldByBoth(this in QueuedRecipient recipient, long nowMicros) =>
        recipient.State == QueueState.Held && IsToCome(recipient, nowMicros);

    private static bool IsToCome(in QueuedRecipient recipient, long nowMicros) =>
        recipient.Attempts == 0 && recipient.DueMicros > nowMicros;
}
