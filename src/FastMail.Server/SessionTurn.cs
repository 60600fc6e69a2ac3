using System.Buffers;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Server.Defence;

namespace FastMail.Server;

/// <summary>
/// Puts what a session says of its needs into the words of the event loop. A mistake of ours in a session ends that
/// session, with a word to its peer, and no other.
/// </summary>
internal static class SessionTurn
{
    /// <inheritdoc cref="Take(ISession, SessionPolicy, ReadOnlySpan{byte}, Span{byte}, out int, out int, out ReadOnlyMemory{byte}, out bool)"/>
    public static Turn Take(
        ISession session,
        SessionPolicy policy,
        ReadOnlySpan<byte> received,
        Span<byte> replies,
        out int consumed,
        out int written,
        out ReadOnlyMemory<byte> body) =>
        Take(session, policy, received, replies, out consumed, out written, out body, out _);

    /// <param name="session">Has the turn.</param>
    /// <param name="policy">Is told of a mistake.</param>
    /// <param name="received">As for the session.</param>
    /// <param name="replies">As for the session.</param>
    /// <param name="consumed">As of the session.</param>
    /// <param name="written">As of the session.</param>
    /// <param name="body">As of the session.</param>
    /// <param name="isOurFault">A mistake of ours ends it.</param>
    public static Turn Take(
        ISession session,
        SessionPolicy policy,
        ReadOnlySpan<byte> received,
        Span<byte> replies,
        out int consumed,
        out int written,
        out ReadOnlyMemory<byte> body,
        out bool isOurFault)
    {
        isOurFault = false;
        try
        {
            policy.Fault?.Invoke(received);
            OperationStatus status = session.Receive(received, replies, out consumed, out written);
            body = session.Body;
            return status switch
            {
                OperationStatus.Done => Turn.Close,
                OperationStatus.DestinationTooSmall => Turn.Continue,
                _ when session.IsStartingTls => Turn.Secure,
                _ => session.IsWaiting ? Turn.Wait : Turn.Receive,
            };
        }
        catch (Exception exception)
        {
            policy.Failed(exception);
            isOurFault = true;
            consumed = received.Length;
            written = session.Fail(replies);
            body = default;
            return Turn.Close;
        }
    }
}
