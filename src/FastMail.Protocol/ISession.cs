using System.Buffers;

namespace FastMail.Protocol;

/// <summary>
/// One side of a dialog as a sans-I/O state machine: bytes in, replies out. A session owns no socket, clock, file or
/// thread; it is entered by one thread at a time, so a test is two arrays and a crash is a replay.
/// </summary>
public interface ISession
{
    /// <summary>
    /// Takes what the peer sent and writes what to answer. The caller sends <c>replies[..written]</c>, then
    /// <see cref="Body"/>, and offers the unconsumed rest of <paramref name="received"/> again in the next call.
    /// </summary>
    /// <param name="received">Bytes from the peer, oldest first; may be empty (after a resumption, or to start).</param>
    /// <param name="replies">Room for replies; at least <see cref="MinimumRepliesBytes"/>.</param>
    /// <param name="consumed">Octets of <paramref name="received"/> that are used up.</param>
    /// <param name="written">Octets of <paramref name="replies"/> to send.</param>
    /// <returns>
    /// <see cref="OperationStatus.NeedMoreData"/>: the session wants more input, or, when <see cref="IsWaiting"/> is
    /// true, the outcome of work it handed out. <see cref="OperationStatus.DestinationTooSmall"/>: call again with the
    /// rest once the replies (and the body) are on their way. <see cref="OperationStatus.Done"/>: send, then close.
    /// </returns>
    OperationStatus Receive(ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written);

    /// <summary>
    /// True while handed-out work (a commit, a password check) is under way or the session pauses; no input is taken
    /// meanwhile.
    /// </summary>
    bool IsWaiting { get; }

    /// <summary>
    /// True when the replies end with the go-ahead for TLS (RFC 3207, RFC 2595): the caller sends them, throws away the
    /// unconsumed input, makes the handshake and calls <see cref="Secured"/>, or ends the session.
    /// </summary>
    bool IsStartingTls { get; }

    /// <summary>
    /// The handshake is over: everything the client said before is forgotten (RFC 3207 4.2). Where TLS comes first, the
    /// call comes before the greeting. Call <see cref="Receive"/> afterwards.
    /// </summary>
    void Secured(TlsFacts tls);

    /// <summary>
    /// Bytes of the log to send right after the replies of the last <see cref="Receive"/>; empty when there are none.
    /// The property changes with the next call. The bytes stay as they are until the session next wants input or is
    /// abandoned, so that several turns can leave in one send.
    /// </summary>
    ReadOnlyMemory<byte> Body { get; }

    /// <summary>
    /// Ends the dialog because of a mistake of ours: send what is written, then close. Whatever state the mistake left
    /// behind, an open transaction is abandoned.
    /// </summary>
    /// <returns>Octets written.</returns>
    int Fail(Span<byte> replies);

    /// <summary>The least room <see cref="Receive"/> needs to make progress, octets.</summary>
    const int MinimumRepliesBytes = 1024;
}
