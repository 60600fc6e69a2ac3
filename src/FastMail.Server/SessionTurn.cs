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
    public static Turn Take(
        ISession session,
        SessionPolicy policy,
        ReadOnlySpan<byte> received,
        Span<byte> replies,
        out int consumed,
        out int written,
        out ReadOnlyMemory<byte> body)
    {
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
            consumed = received.Length;
            written = session.Fail(replies);
            body = default;
            return Turn.Close;
        }
    }
}
