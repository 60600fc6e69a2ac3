using System.Buffers;
using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Smtp;

/// <summary>
/// The server side of one SMTP dialog (RFC 5321). Owned by one connection and entered by one thread at a time; holds no
/// socket, clock or file. Reusable: <see cref="Reset"/> puts it back to before the greeting and allocates nothing.
/// </summary>
/// <remarks>
/// Replies depend on the octets received and never on how they were cut into segments. So input that a client sends
/// early behind EHLO or DATA is not punished as such: behind EHLO it is simply the next command, behind an accepted
/// DATA it is content. Behind a refused DATA it would be content run as commands; its first header field ends the
/// session (<see cref="AsciiWord.IsForeign"/>). The exception is STARTTLS: input behind it in the clear is never run,
/// and where it came along with the command the session ends, because no honest client sends it.
/// </remarks>
public sealed partial class SmtpSession : LineSession
{
    private readonly SmtpSessionOptions _options;
    private readonly IMailSink _sink;

    private SmtpState _state;
    private SmtpReply? _outcome; // of the work handed out; written by the next Receive
    private LineReader _lines = new(takesBareLf: false);
    private int _badCommands;
    private int _idleCommands;
    private bool _hasInputBehind; // more came along with the line at hand

    // What must outlive the call that brought it, copied into memory of the session.
    private OctetCopy _helo;
    private bool _isExtended;

    /// <summary>
    /// Takes part in no I/O; the sink and the authenticator are entered only from this session's calls.
    /// </summary>
    public SmtpSession(SmtpSessionOptions options, IMailSink sink, IAuthenticator authenticator)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Hostname.Length, Limits.DomainBytes);
        if (options.OffersAuth && options.Role != SmtpRole.Submission)
        {
            throw new ArgumentException("AUTH is for submission only.", nameof(options));
        }
        _options = options;
        _sink = sink;
        _authenticator = authenticator;
        Reset();
    }

    /// <inheritdoc/>
    public override bool IsWaiting =>
        _isHeld || _state is SmtpState.Committing or SmtpState.Authenticating || Pause > TimeSpan.Zero;

    /// <inheritdoc/>
    public override bool IsStartingTls => _state == SmtpState.StartingTls;

    /// <summary>A mail transaction is open, or its commit is under way.</summary>
    public bool IsInTransaction => _isOpen || _state == SmtpState.Committing;

    /// <summary>The sink may still be asked: of a transaction, or of its outcome while that is not said yet.</summary>
    public bool NeedsSink => IsInTransaction || _outcome is not null;

    /// <summary>Content is on its way: behind 354, or within a chunk.</summary>
    public bool IsInContent => _state is SmtpState.InData or SmtpState.InChunk;

    /// <summary>AUTH has succeeded.</summary>
    public bool IsAuthenticated { get; private set; }

    /// <summary>
    /// Back to before the greeting. The transaction must be over (see <see cref="Abandon"/>), and an outcome that is
    /// still under way must have come back first, or it would be taken for one of the next dialog.
    /// </summary>
    public void Reset()
    {
        _state = SmtpState.Connected;
        _isHeld = false;
        _outcome = null;
        _lines.Reset();
        _badCommands = 0;
        _idleCommands = 0;
        _helo.Clear();
        _isExtended = false;
        _tls = null;
        HasPauses = false;
        Pause = TimeSpan.Zero;
        ResetTransaction();
        ResetAuth();
        ResetXclient();
    }

    /// <summary>Holds the greeting back for <see cref="SessionLimits.GreetingPause"/>. After <see cref="Reset"/>.</summary>
    public void PauseBeforeGreeting() => Pause = _options.Limits.GreetingPause;

    /// <inheritdoc/>
    /// <remarks>A client waits for the greeting (RFC 5321 3.1); what does not wait is no client.</remarks>
    public override void EndPause(bool hasInput)
    {
        base.EndPause(hasInput);
        if (hasInput && _state == SmtpState.Connected)
        {
            _outcome = SessionReplies.SpokeTooEarly;
        }
    }

    /// <summary>How the commit ended; call <see cref="Receive"/> afterwards. Ignored when the dialog is over.</summary>
    public void Committed(SmtpReply reply)
    {
        if (_state != SmtpState.Committing)
        {
            return; // closed meanwhile; the message is safe, its reply has no reader
        }
        if (reply.IsPositive)
        {
            _badCommands = 0;
            _idleCommands = 0;
        }
        OweOutcome(reply, _recipients);
        _isCommitted = true;
        _state = SmtpState.Ready;
    }

    /// <summary>The sink can take content again or has judged the client; call <see cref="Receive"/> afterwards.</summary>
    public void GoOn()
    {
        _isHeld = false;
    }

    /// <summary>How the check of credentials ended; call <see cref="Receive"/> afterwards. Ignored when it is over.</summary>
    /// <param name="verdict">How it ended.</param>
    /// <param name="identity">Whose credentials they are, when accepted; empty for who the client said.</param>
    public void Authenticated(AuthVerdict verdict, ReadOnlySpan<byte> identity = default)
    {
        if (_state != SmtpState.Authenticating)
        {
            return;
        }
        var step = Sasl.Settle(verdict, identity);
        _owesChallenge = step == SaslStep.Challenge;
        _outcome = _owesChallenge ? null : Judge(step);
        _state = _owesChallenge ? SmtpState.SaslResponse : SmtpState.Ready;
    }

    /// <summary>
    /// Ends the dialog from our side with 421 (RFC 5321 3.8): send what is written, then close. A commit that is under
    /// way goes on without us.
    /// </summary>
    /// <param name="isTimeout">The client was too slow; otherwise the service shuts down.</param>
    /// <param name="replies">Room for the reply.</param>
    /// <returns>Octets written.</returns>
    public int LastWords(bool isTimeout, Span<byte> replies)
    {
        if (_state == SmtpState.Closed)
        {
            return 0;
        }
        Abandon();
        var writer = new ReplyWriter(replies);
        writer.Write((isTimeout ? SessionReplies.TimedOut : SessionReplies.ShuttingDown).Wire);
        return writer.Written;
    }

    /// <inheritdoc/>
    public override int Fail(Span<byte> replies)
    {
        Abandon();
        var writer = new ReplyWriter(replies);
        writer.Write(SessionReplies.Failed.Wire);
        return writer.Written;
    }

    /// <summary>The connection is gone: an open transaction is abandoned, nothing more is said.</summary>
    public void Abandon()
    {
        CloseTransaction();
        _sasl?.End();
        _isHeld = false;
        _outcome = null;
        _owesChallenge = false;
        Pause = TimeSpan.Zero;
        _state = SmtpState.Closed;
    }

    /// <inheritdoc/>
    private protected override OperationStatus? Step(ReadOnlySpan<byte> received, ref ReplyWriter replies, out int taken)
    {
        taken = 0;
        if (_state == SmtpState.Closed)
        {
            taken = received.Length;
            return OperationStatus.Done;
        }
        if (IsWaiting || IsStartingTls)
        {
            return OperationStatus.NeedMoreData;
        }
        var isDue = _outcome is not null || _owesChallenge || _state == SmtpState.Connected || IsChunkComplete;
        if (received.IsEmpty && !isDue)
        {
            return OperationStatus.NeedMoreData;
        }
        if (!replies.Fits(_state == SmtpState.Connected ? Limits.LongReplyBytes : Limits.ReplyBytes))
        {
            return OperationStatus.DestinationTooSmall;
        }
        if (_outcome is not null)
        {
            WriteOutcome(ref replies);
            return null;
        }
        if (_owesChallenge)
        {
            _owesChallenge = false;
            WriteChallenge(ref replies);
            return null;
        }
        switch (_state)
        {
            case SmtpState.Connected:
                Greet(ref replies);
                return null;
            case SmtpState.InData:
                taken = TakeData(received);
                _isHeld = _isOpen && _sink.MustWait;
                return null;
            case SmtpState.InChunk:
                taken = TakeChunk(received, ref replies);
                _isHeld = _isOpen && _chunkRefusal is null && _sink.MustWait;
                return null;
            default:
                return StepLine(received, ref replies, out taken);
        }
    }

    private OperationStatus? StepLine(ReadOnlySpan<byte> received, ref ReplyWriter replies, out int taken)
    {
        var isAuth = _state == SmtpState.SaslResponse || SmtpVerbs.IsAuth(received);
        var limit = isAuth ? _options.Limits.AuthLineBytes : _options.Limits.CommandLineBytes;
        switch (_lines.Read(received, limit, out var line, out taken))
        {
            case LineStatus.Incomplete:
                return OperationStatus.NeedMoreData;
            case LineStatus.TooLong:
                // The verb is lost with its line; nothing of it is remembered and the rest is skipped.
                EndSasl();
                Refuse(isAuth ? SessionReplies.AuthLineTooLong : SessionReplies.LineTooLong, ref replies);
                return null;
            case LineStatus.Skipped:
                return null;
            case LineStatus.Endless:
                taken = received.Length;
                Abandon();
                return null;
            case LineStatus.Malformed:
                taken = received.Length;
                replies.Write(SessionReplies.BadLine.Wire);
                Abandon();
                return null;
            default:
                _hasInputBehind = received.Length > taken;
                return TakeLine(line, ref replies, ref taken);
        }
    }

    private OperationStatus? TakeLine(ReadOnlySpan<byte> line, ref ReplyWriter replies, ref int taken)
    {
        var isSasl = _state == SmtpState.SaslResponse;
        var verb = SmtpVerb.Auth;
        ReadOnlySpan<byte> argument = default;
        if (!isSasl)
        {
            verb = SmtpVerbs.Parse(line, out argument);
        }
        const SmtpVerb takesRoom = SmtpVerb.Ehlo | SmtpVerb.Helo | SmtpVerb.Lhlo | SmtpVerb.Auth
            | SmtpVerb.Xclient;
        if ((verb & takesRoom) != 0 && !replies.Fits(Limits.LongReplyBytes))
        {
            taken = 0;
            return OperationStatus.DestinationTooSmall;
        }
        if (isSasl)
        {
            Answer(Sasl.Take(line), ref replies);
            return null;
        }
        if (verb == SmtpVerb.Unknown)
        {
            RefuseUnknown(line, ref replies);
            return null;
        }
        if (verb != SmtpVerb.Bdat && !_state.Admits(verb))
        {
            Refuse(verb == SmtpVerb.Data ? DataOutOfPlace() : SessionReplies.BadSequence, ref replies);
            return null;
        }
        if (verb == SmtpVerb.Rcpt && _sink.IsJudgingClient)
        {
            taken = 0; // the line is read again when the verdict is there
            _isHeld = true;
            return OperationStatus.NeedMoreData;
        }
        Dispatch(verb, argument, ref replies);
        return null;
    }

    private void Dispatch(SmtpVerb verb, ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        switch (verb)
        {
            case SmtpVerb.Ehlo: Introduce(verb, argument, ref replies); break;
            case SmtpVerb.Helo: Introduce(verb, argument, ref replies); break;
            case SmtpVerb.Lhlo: Introduce(verb, argument, ref replies); break;
            case SmtpVerb.Mail: Mail(argument, ref replies); break;
            case SmtpVerb.Rcpt: Rcpt(argument, ref replies); break;
            case SmtpVerb.Data: Data(argument, ref replies); break;
            case SmtpVerb.Rset: Rset(argument, ref replies); break;
            case SmtpVerb.Vrfy: Idle(SessionReplies.CannotVerify, ref replies); break;
            case SmtpVerb.Expn: Refuse(SessionReplies.NotOffered, ref replies); break;
            case SmtpVerb.Etrn: Etrn(argument, ref replies); break;
            case SmtpVerb.Help: Idle(SessionReplies.Help, ref replies); break;
            case SmtpVerb.Noop: Idle(SessionReplies.Ok, ref replies); break;
            case SmtpVerb.Quit: Quit(argument, ref replies); break;
            case SmtpVerb.Bdat: Bdat(argument, ref replies); break;
            case SmtpVerb.Auth: Auth(argument, ref replies); break;
            case SmtpVerb.StartTls: StartTls(argument, ref replies); break;
            case SmtpVerb.Xclient: Xclient(argument, ref replies); break;
            default: throw new InvalidOperationException($"No method for {verb}.");
        }
    }

    private void WriteOutcome(ref ReplyWriter replies)
    {
        var reply = NextOutcome();
        if (ReferenceEquals(reply, SmtpReply.Accepted))
        {
            replies.Write(reply.Wire[..^2]);
            replies.Write(" as "u8);
            replies.Advance(_sink.WriteTransactionId(replies.Rest));
            replies.WriteLineEnd();
            return;
        }
        replies.Write(reply.Wire);
        if (reply.Code == 421 || ReferenceEquals(reply, SessionReplies.SpokeTooEarly))
        {
            Abandon();
        }
    }

    /// <summary>Answers the client's mistake; the one too many ends the session.</summary>
    private void Refuse(SmtpReply reply, ref ReplyWriter replies)
    {
        if (++_badCommands <= _options.Limits.BadCommands && !ReferenceEquals(reply, SessionReplies.TooManyErrors))
        {
            replies.Write(reply.Wire);
            PauseAfterError(_badCommands, _options.Limits);
            return;
        }
        replies.Write(SessionReplies.TooManyErrors.Wire);
        Abandon();
    }

    private void RefuseUnknown(ReadOnlySpan<byte> line, ref ReplyWriter replies)
    {
        if (!AsciiWord.IsForeign(line))
        {
            Refuse(SessionReplies.UnknownCommand, ref replies);
            return;
        }
        replies.Write(SessionReplies.NotACommand.Wire);
        Abandon();
    }
}
