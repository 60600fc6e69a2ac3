namespace FastMail.Net;

/// <summary>What a handler wants after a call.</summary>
public enum Turn
{
    /// <summary>More input; what it did not consume is offered again in front of it.</summary>
    Receive,

    /// <summary>Send what there is, then call again with the unconsumed rest, even if that is empty.</summary>
    Continue,

    /// <summary>No input until <see cref="Connection.Resume"/>; what was said so far is sent at once.</summary>
    Wait,

    /// <summary>
    /// Send what there is, then begin TLS: <see cref="IConnectionHandler.Secured"/> tells of success, Closed of anything
    /// else. Input that is not consumed is thrown away, for it came in the clear; where the listener begins with TLS it is
    /// the handshake's.
    /// </summary>
    Secure,

    /// <summary>Send what there is, then close.</summary>
    Close,
}

/// <summary>Why the loop, and not the handler, ends a connection.</summary>
public enum CloseReason
{
    Timeout,
    Stopping,
}

/// <summary>
/// One side of a conversation: bytes in, bytes out. Rented from its factory for one connection at a time and entered on
/// the loop thread only, never while an earlier turn's output is still being sent.
/// </summary>
public interface IConnectionHandler
{
    /// <summary>
    /// A peer has connected. The next call is a <see cref="Receive"/> without input, for the greeting; where TLS comes
    /// first, <see cref="Secured"/> comes before it.
    /// </summary>
    void Opened(Connection connection);

    /// <summary>
    /// The TLS handshake is over, before the greeting or in answer to <see cref="Turn.Secure"/>. The next call is a
    /// <see cref="Receive"/> without input. Handlers of listeners without TLS throw: it is never called.
    /// </summary>
    void Secured(TlsParameters tls);

    /// <summary>Takes input and says what to answer: <paramref name="replies"/> first, then the body.</summary>
    /// <param name="received">Octets from the peer, oldest first; dies with the call.</param>
    /// <param name="replies">Room for replies, at least <see cref="EventLoopOptions.LeastReplyBytes"/>.</param>
    /// <param name="consumed">Octets of <paramref name="received"/> that are used up.</param>
    /// <param name="written">Octets of <paramref name="replies"/> to send.</param>
    /// <param name="body">
    /// Sent after the replies, without a copy; may be native memory behind a MemoryManager. It must stay as it is until
    /// the next turn or <see cref="Closed"/>. A next turn is the first call after <see cref="Turn.Receive"/> or
    /// <see cref="Turn.Wait"/>; several calls of one turn leave in one send.
    /// </param>
    Turn Receive(
        ReadOnlySpan<byte> received,
        Span<byte> replies,
        out int consumed,
        out int written,
        out ReadOnlyMemory<byte> body);

    /// <summary>Says what to send before the loop closes the connection; 0 octets is an answer.</summary>
    /// <returns>Octets written to <paramref name="replies"/>.</returns>
    int LastWords(CloseReason reason, Span<byte> replies);

    /// <summary>
    /// Over, for whatever reason; exactly once after <see cref="Opened"/>, and no send touches a body any more. The
    /// factory gets the handler back right after.
    /// </summary>
    void Closed();
}

/// <summary>
/// Lends one handler for each connection of a listener. Owned by whoever listens; entered on the loop thread only.
/// </summary>
public interface IHandlerFactory
{
    IConnectionHandler Rent();

    void Return(IConnectionHandler handler);

    /// <summary>Said to a connection over the cap before it is closed, such as <c>421 4.3.2 Too many\r\n</c>.</summary>
    ReadOnlyMemory<byte> Refusal { get; }

    /// <summary>Said to a client that <see cref="IAdmission"/> does not let in, before it is closed.</summary>
    ReadOnlyMemory<byte> ClientRefusal { get; }

    /// <summary>
    /// The handlers call <see cref="Connection.TryDeclareClient"/>: until then the connection counts for no client, and a
    /// listener that begins with TLS waits with it for their <see cref="Turn.Secure"/>.
    /// </summary>
    bool DeclaresClients { get; }
}
