using System.Buffers;
using FastMail.Net;
using FastMail.Protocol;

namespace FastMail.Server;

/// <summary>Puts what a session says of its needs into the words of the event loop.</summary>
internal static class SessionTurn
{
    public static Turn Take(
        ISession session,
        ReadOnlySpan<byte> received,
        Span<byte> replies,
        out int consumed,
        out int written,
        out ReadOnlyMemory<byte> body)
    {
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
}
