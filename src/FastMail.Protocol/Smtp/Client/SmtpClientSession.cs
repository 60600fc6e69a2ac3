using System.Buffers;

namespace FastMail.Protocol.Smtp.Client;

/// <summary>
/// The client side of one SMTP or LMTP dialog (RFC 5321, RFC 2033), sans-I/O. Owned by one connection and entered by one
/// thread at a time; holds no socket, clock or file. Reusable: <see cref="Reset"/> puts it back to before the greeting and
/// allocates nothing.
/// </summary>
/// <remarks>
/// Commands go out as far ahead of their replies as the host allows, and replies are matched to them in order: the
/// oldest transaction that is owed one gets it. Nothing that a host says is trusted: a reply that cannot be read, comes
/// unasked or agrees with nothing ends the session, and what was under way is deferred.
/// </remarks>
public sealed partial class SmtpClientSession
{
    private SmtpClientOptions _options = null!;
    private State _state = State.Over;
    private bool _isSaid; // the command of the state at hand
    private OperationStatus _end; // of a session that is over
    private ReplyReader _replies;
    private bool _hasMoved; // since the deadline was last taken
    private bool _isQuitting;

    // A turn lasts until everything that was said in it has left. A reply that is read in the turn of its command was
    // not said to it.
    private int _turn;
    private bool _isTurnOver;

    private enum State
    {
        Greeting,
        Hello,
        Helo,
        StartTls,

        /// <summary>The handshake is under way.</summary>
        Securing,
        Auth,

        /// <summary>Transactions may come.</summary>
        Ready,
        Over,
    }

    /// <summary>
    /// Content is not in memory yet, or there is a <see cref="Derivation"/> to run; no input is taken meanwhile. Call
    /// Receive after <see cref="GoOn"/>.
    /// </summary>
    public bool IsWaiting { get; private set; }

    /// <summary>The host has said go ahead: the caller makes the handshake and calls <see cref="Secured"/>.</summary>
    public bool IsStartingTls => _state == State.Securing;

    /// <summary>To be sent behind the output of the last <see cref="Receive"/>; stays as it is as TryRead says.</summary>
    public ReadOnlyMemory<byte> Body { get; private set; }

    /// <summary>Greeting and EHLO are behind us, TLS and AUTH where they must be.</summary>
    public bool IsReady => _state == State.Ready;

    public bool IsOver => _state == State.Over;

    /// <summary>A transaction is under way, or the session is not ready for one yet.</summary>
    public bool IsBusy => _state is not (State.Ready or State.Over) || _count > 0;

    /// <summary>Why the session is over; null while it is not, and after a QUIT of ours.</summary>
    public SessionFailure? Failure { get; private set; }

    /// <summary>Back to before the greeting; what was under way must be over (<see cref="Lost"/>).</summary>
    public void Reset(SmtpClientOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Hostname.Length, Limits.DomainBytes);
        if (_count > 0)
        {
            throw new InvalidOperationException("A transaction is still under way.");
        }
        _options = options;
        _state = State.Greeting;
        _isSaid = true; // the host speaks first
        _replies.Reset();
        _hasMoved = true;
        _isQuitting = false;
        _turn = 0;
        _isTurnOver = false;
        IsWaiting = false;
        Body = default;
        Failure = null;
        ResetOpening();
        ResetTransactions();
    }

    /// <summary>
    /// Takes what the host sent and writes what to say. The caller sends <c>output[..written]</c>, then
    /// <see cref="Body"/>, and offers the unconsumed rest again in the next call.
    /// </summary>
    /// <param name="received">Octets from the host, oldest first; may be empty.</param>
    /// <param name="output">Room for commands, at least <see cref="ISession.MinimumRepliesBytes"/>.</param>
    /// <param name="consumed">Octets of <paramref name="received"/> that are used up.</param>
    /// <param name="written">Octets of <paramref name="output"/> to send.</param>
    /// <returns>
    /// <see cref="OperationStatus.NeedMoreData"/>: wants a reply or the next transaction, or is waiting, or begins TLS.
    /// <see cref="OperationStatus.DestinationTooSmall"/>: call again in this turn. <see cref="OperationStatus.Done"/>:
    /// send, then close. <see cref="OperationStatus.InvalidData"/>: close without sending anything more, not even what
    /// was handed out before in this turn.
    /// </returns>
    public OperationStatus Receive(ReadOnlySpan<byte> received, Span<byte> output, out int consumed, out int written)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(output.Length, ISession.MinimumRepliesBytes);
        if (_isTurnOver)
        {
            _turn++;
            _isTurnOver = false;
        }
        var writer = new ReplyWriter(output);
        Body = default;
        consumed = 0;
        OperationStatus? status;
        do
        {
            status = Step(received[consumed..], ref writer, out var taken);
            consumed += taken;
        }
        while (status is null);
        written = writer.Written;
        _isTurnOver = status == OperationStatus.NeedMoreData;
        return status.Value;
    }

    /// <summary>Says QUIT when nothing is under way any more; call <see cref="Receive"/> afterwards.</summary>
    public void Quit() => _isQuitting = true;

    /// <summary>What to say before we close an idle connection: QUIT, or nothing where something is under way.</summary>
    /// <returns>Octets written.</returns>
    public int LastWords(Span<byte> output)
    {
        if (_state != State.Ready || _count > 0)
        {
            return 0;
        }
        End(OperationStatus.Done);
        var writer = new ReplyWriter(output);
        writer.Write("QUIT\r\n"u8);
        return writer.Written;
    }

    /// <summary>
    /// The connection is gone: what is not answered is deferred, and in doubt where its content had left. To be called
    /// whenever a connection is over, however it ended; does nothing when the session is over already.
    /// </summary>
    public void Lost(ClientLoss loss)
    {
        if (_state != State.Over)
        {
            Fail(loss switch
            {
                ClientLoss.TimedOut => ClientReplies.TimedOut,
                ClientLoss.TlsFailed => ClientReplies.TlsFailed,
                ClientLoss.Stopping => ClientReplies.Stopping,
                _ => ClientReplies.Lost,
            });
        }
    }

    /// <summary>
    /// How long the host has for what it owes now; infinite when it owes nothing. True when the time starts anew: a
    /// reply has come, or something was said after which one is owed.
    /// </summary>
    public bool TryTakeDeadline(out TimeSpan patience)
    {
        var hasMoved = _hasMoved;
        _hasMoved = false;
        var timeouts = _options.Timeouts;
        patience = Phase switch
        {
            ClientPhase.Greeting => timeouts.Greeting,
            ClientPhase.Idle => Timeout.InfiniteTimeSpan,
            ClientPhase.Mail => timeouts.Mail,
            ClientPhase.Rcpt => timeouts.Rcpt,
            ClientPhase.Data => timeouts.Data,
            ClientPhase.EndOfData when !Oldest.IsContentOut => timeouts.Block,
            ClientPhase.EndOfData => timeouts.EndOfData,
            _ => timeouts.Hello,
        };
        return hasMoved;
    }

    /// <summary>What the host owes a reply to.</summary>
    public ClientPhase Phase => _state switch
    {
        State.Greeting => ClientPhase.Greeting,
        State.Hello or State.Helo => ClientPhase.Hello,
        State.StartTls or State.Securing => ClientPhase.StartTls,
        State.Auth => ClientPhase.Auth,
        _ => PhaseOfTransactions,
    };

    /// <summary>One reply, or as much output as goes in one piece; null means go on.</summary>
    private OperationStatus? Step(ReadOnlySpan<byte> received, ref ReplyWriter output, out int taken)
    {
        taken = 0;
        if (_state == State.Over)
        {
            taken = received.Length;
            return _end;
        }
        if (IsWaiting || _state == State.Securing)
        {
            return OperationStatus.NeedMoreData;
        }
        if (!received.IsEmpty)
        {
            switch (_replies.Read(received, out var reply, out taken))
            {
                case ReplyStatus.Complete:
                    _hasMoved = true;
                    TakeReply(reply, hasMore: taken < received.Length);
                    return null;
                case ReplyStatus.Malformed:
                    Fail(ClientReplies.Malformed);
                    return null;
                case ReplyStatus.TooLong:
                    Fail(ClientReplies.TooLong);
                    return null;
                default:
                    break;
            }
        }
        if (!output.Fits(Limits.ClientCommandBytes))
        {
            return OperationStatus.DestinationTooSmall;
        }
        return _state == State.Ready ? SayTransactions(ref output) : SayOpening(ref output);
    }

    private void TakeReply(in HostReply reply, bool hasMore)
    {
        switch (_state)
        {
            case State.Greeting: TakeGreeting(reply); break;
            case State.Hello: TakeHello(reply); break;
            case State.Helo: TakeHelo(reply); break;
            case State.StartTls: TakeStartTls(reply, hasMore); break;
            case State.Auth: TakeAuth(reply); break;
            default: TakeTransactionReply(reply); break;
        }
    }

    /// <summary>The session is over because of the host's words.</summary>
    private void Fail(in HostReply reply)
    {
        Failure = new SessionFailure(Phase, reply);
        EndTransactions();
        End(OperationStatus.Done);
    }

    /// <summary>The session is over because of what happened; nothing more is said.</summary>
    private void Fail(SmtpReply words)
    {
        Failure = new SessionFailure(Phase, words);
        EndTransactions();
        End(OperationStatus.InvalidData);
    }

    private void End(OperationStatus end)
    {
        // Content that is handed out and has not left must not leave any more: nobody keeps it from now on.
        _end = HasContentOfThisTurn ? OperationStatus.InvalidData : end;
        _state = State.Over;
        IsWaiting = false;
    }
}
