using System.Buffers;
using FastMail.Protocol.Sasl;

namespace FastMail.Protocol.Pop3;

/// <summary>
/// The server side of one POP3 dialog (RFC 1939, RFC 2449). Owned by one connection and entered by one thread at a
/// time; holds no socket, clock or file. Reusable: <see cref="Reset"/> puts it back to before the greeting.
/// </summary>
public sealed partial class Pop3Session : LineSession
{
    private readonly Pop3SessionOptions _options;
    private readonly IAuthenticator _authenticator;
    private MaildropView? _view; // made by the first login: most of the connections that only wait have none

    private Pop3State _state;
    private LoginVerdict? _loginVerdict; // outcomes, answered by the next Receive
    private bool? _isRemoved;
    private LineReader _lines = new(takesBareLf: true);
    private bool _hasInputBehind; // more came along with the line at hand
    private int _badCommands;
    private int _loginFailures;

    private OctetCopy _user;

    // A multi-line answer that goes on in the next call: a listing, or what comes behind a body.
    private Pop3Verb _listing;
    private int _nextIndex;
    private Owed _owed;
    private bool _isUtf8; // UTF8 was said (RFC 6856 2)

    /// <summary>What ends a multi-line answer whose body does not end it.</summary>
    private enum Owed
    {
        Nothing,
        Terminator,

        /// <summary>The empty line that the message lacks, and the terminator.</summary>
        EndOfHeader,
    }

    /// <summary>
    /// Takes part in no I/O. The authenticator is entered only from this session's calls; what it begins ends with
    /// <see cref="LoggedIn"/>, which also brings the maildrop: credentials, lock and snapshot are one step to the client.
    /// </summary>
    public Pop3Session(Pop3SessionOptions options, IAuthenticator authenticator)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.Hostname.Length, Limits.DomainBytes);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(options.ImplementationName.Length, 64);
        _options = options;
        _authenticator = authenticator;
        Reset();
    }

    /// <inheritdoc/>
    public override bool IsWaiting =>
        (_state == Pop3State.LoggingIn && _loginVerdict is null)
        || (_state == Pop3State.Updating && _isRemoved is null)
        || (_large != 0 && !_hasPart)
        || Pause > TimeSpan.Zero;

    /// <inheritdoc/>
    public override bool IsStartingTls => _state == Pop3State.StartingTls;

    private MaildropView View => _view ??= new MaildropView();

    /// <summary>The maildrop is locked and ours.</summary>
    public bool IsAuthenticated => _state is Pop3State.Transaction or Pop3State.Updating;

    /// <summary>
    /// Back to before the greeting. A maildrop still held is released and keeps all its messages. An outcome that is
    /// still under way must have come back first, or it would be taken for one of the next dialog.
    /// </summary>
    public void Reset()
    {
        Abandon();
        _state = Pop3State.Connected;
        _lines.Reset();
        _badCommands = 0;
        _loginFailures = 0;
        _user.Clear();
        _sasl?.Reset();
        _tls = null;
        HasPauses = false;
        _isUtf8 = false;
    }

    /// <summary>
    /// How the login ended; call <see cref="Receive"/> afterwards. A maildrop that arrives when the dialog is over is
    /// closed at once, or its lock would stay for ever.
    /// </summary>
    /// <param name="verdict">How it ended.</param>
    /// <param name="maildrop">The maildrop exactly when it was accepted.</param>
    public void LoggedIn(LoginVerdict verdict, IMaildrop? maildrop)
    {
        if (_state != Pop3State.LoggingIn)
        {
            maildrop?.Close();
            return;
        }
        if (verdict == LoginVerdict.Accepted)
        {
            View.Open(maildrop ?? throw new ArgumentNullException(nameof(maildrop)));
        }
        _loginVerdict = verdict;
        if (_sasl is { IsWaiting: true })
        {
            SettleSasl(verdict);
        }
    }

    /// <summary>
    /// How the removal ended; call <see cref="Receive"/> afterwards. Ignored when the dialog is over.
    /// </summary>
    public void Removed(bool isDurable)
    {
        if (_state == Pop3State.Updating)
        {
            _isRemoved = isDurable;
        }
    }

    /// <summary>
    /// Ends the dialog from our side: send what is written, then close. Nothing is removed. A timeout says nothing at
    /// all (RFC 1939 3).
    /// </summary>
    /// <returns>Octets written.</returns>
    public int LastWords(bool isTimeout, Span<byte> replies)
    {
        var isSilent = isTimeout || _state == Pop3State.Closed || _listing != 0 || _owed != Owed.Nothing
            || (_large != 0 && _isAnswered);
        Abandon();
        var writer = new ReplyWriter(replies);
        if (!isSilent)
        {
            writer.Write("-ERR [SYS/TEMP] shutting down, try again later\r\n"u8);
        }
        return writer.Written;
    }

    /// <inheritdoc/>
    public override int Fail(Span<byte> replies)
    {
        Abandon();
        var writer = new ReplyWriter(replies);
        writer.Write("-ERR [SYS/TEMP] internal error, closing connection\r\n"u8);
        return writer.Written;
    }

    /// <summary>The connection is gone: the maildrop is released and keeps all its messages.</summary>
    public void Abandon()
    {
        _state = Pop3State.Closed;
        _sasl?.End();
        _owesChallenge = false;
        Pause = TimeSpan.Zero;
        _loginVerdict = null;
        _isRemoved = null;
        _listing = Pop3Verb.Unknown;
        _large = Pop3Verb.Unknown;
        _hasPart = false;
        _part = default;
        _owed = Owed.Nothing;
        Body = default;
        _view?.Close();
    }

    /// <inheritdoc/>
    private protected override OperationStatus? Step(ReadOnlySpan<byte> received, ref ReplyWriter replies, out int taken)
    {
        taken = 0;
        if (_state == Pop3State.Closed)
        {
            taken = received.Length;
            return OperationStatus.Done;
        }
        if (IsWaiting || IsStartingTls)
        {
            return OperationStatus.NeedMoreData;
        }
        if (!Body.IsEmpty)
        {
            return OperationStatus.DestinationTooSmall; // the body comes before any further reply
        }
        var isDue = _state is Pop3State.Connected or Pop3State.LoggingIn or Pop3State.Updating
            || _listing != 0 || _owed != Owed.Nothing || _owesChallenge || _large != 0;
        if (received.IsEmpty && !isDue)
        {
            return OperationStatus.NeedMoreData;
        }
        if (!replies.Fits(_state == Pop3State.Connected ? Limits.LongReplyBytes : Limits.ReplyBytes))
        {
            return OperationStatus.DestinationTooSmall;
        }
        if (!isDue)
        {
            return StepLine(received, ref replies, out taken);
        }
        WriteDue(ref replies);
        return null;
    }

    private void WriteDue(ref ReplyWriter replies)
    {
        if (_owesChallenge)
        {
            _owesChallenge = false;
            WriteChallenge(ref replies);
        }
        else if (_large != 0)
        {
            TakePart(ref replies);
        }
        else if (_owed != Owed.Nothing)
        {
            replies.Write(_owed == Owed.EndOfHeader ? "\r\n.\r\n"u8 : ".\r\n"u8);
            _owed = Owed.Nothing;
        }
        else if (_listing != 0)
        {
            GoOnListing(ref replies);
        }
        else if (_state == Pop3State.Connected)
        {
            replies.Write("+OK "u8);
            replies.Write(_options.Hostname.Span);
            replies.Write(" POP3 FastMail ready\r\n"u8);
            _state = Pop3State.Authorization;
        }
        else if (_state == Pop3State.LoggingIn)
        {
            AnswerLogin(ref replies);
        }
        else
        {
            AnswerQuit(_isRemoved == true, ref replies);
        }
    }

    private OperationStatus? StepLine(ReadOnlySpan<byte> received, ref ReplyWriter replies, out int taken)
    {
        var isAuth = _state == Pop3State.SaslResponse || Pop3Verbs.IsAuth(received);
        var limit = isAuth ? _options.Limits.AuthLineBytes : Limits.Pop3CommandLineBytes;
        switch (_lines.Read(received, limit, out var line, out taken))
        {
            case LineStatus.Incomplete:
                return OperationStatus.NeedMoreData;
            case LineStatus.TooLong:
                EndSasl();
                Refuse("-ERR line too long\r\n"u8, ref replies);
                return null;
            case LineStatus.Skipped:
                return null;
            case LineStatus.Endless:
                taken = received.Length;
                Abandon();
                return null;
            default:
                _hasInputBehind = received.Length > taken;
                return TakeLine(line, ref replies, ref taken);
        }
    }

    private OperationStatus? TakeLine(ReadOnlySpan<byte> line, ref ReplyWriter replies, ref int taken)
    {
        var isSasl = _state == Pop3State.SaslResponse;
        var verb = Pop3Verb.Auth;
        ReadOnlySpan<byte> argument = default;
        if (!isSasl)
        {
            verb = Pop3Verbs.Parse(line, out argument);
        }
        if ((verb & (Pop3Verb.Capa | Pop3Verb.Auth)) != 0 && !replies.Fits(Limits.LongReplyBytes))
        {
            taken = 0;
            return OperationStatus.DestinationTooSmall;
        }
        if (isSasl)
        {
            Answer(Sasl.Take(line), ref replies);
            return null;
        }
        if (verb == Pop3Verb.Unknown || line.Contains((byte)0))
        {
            RefuseUnknown(line, ref replies);
            return null;
        }
        if (!_state.Admits(verb))
        {
            Refuse("-ERR not in this state\r\n"u8, ref replies);
            return null;
        }
        if (verb != Pop3Verb.Pass)
        {
            argument = AsciiWord.TrimEnd(argument);
        }
        Dispatch(verb, argument, ref replies);
        return null;
    }

    private void Dispatch(Pop3Verb verb, ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        const Pop3Verb takesNothing = Pop3Verb.Quit | Pop3Verb.Stat | Pop3Verb.Noop | Pop3Verb.Rset | Pop3Verb.Capa
            | Pop3Verb.Stls | Pop3Verb.Utf8;
        if ((verb & takesNothing) != 0 && !argument.IsEmpty)
        {
            Refuse("-ERR no argument expected\r\n"u8, ref replies);
            return;
        }
        switch (verb)
        {
            case Pop3Verb.User: User(argument, ref replies); break;
            case Pop3Verb.Pass: Pass(argument, ref replies); break;
            case Pop3Verb.Quit: Quit(ref replies); break;
            case Pop3Verb.Stat: Stat(ref replies); break;
            case Pop3Verb.List: List(Pop3Verb.List, argument, ref replies); break;
            case Pop3Verb.Retr: Retr(argument, ref replies); break;
            case Pop3Verb.Dele: Dele(argument, ref replies); break;
            case Pop3Verb.Noop: replies.Write("+OK\r\n"u8); break;
            case Pop3Verb.Rset: Rset(ref replies); break;
            case Pop3Verb.Top: Top(argument, ref replies); break;
            case Pop3Verb.Uidl: List(Pop3Verb.Uidl, argument, ref replies); break;
            case Pop3Verb.Capa: Capa(ref replies); break;
            case Pop3Verb.Auth: Auth(argument, ref replies); break;
            case Pop3Verb.Stls: Stls(ref replies); break;
            case Pop3Verb.Utf8: Utf8(ref replies); break;
            case Pop3Verb.Lang: Lang(argument, ref replies); break;
            default: throw new InvalidOperationException($"No method for {verb}.");
        }
    }

    /// <summary>Answers the client's mistake; the one too many ends the session.</summary>
    private void Refuse(ReadOnlySpan<byte> reply, ref ReplyWriter replies)
    {
        if (++_badCommands <= _options.Limits.BadCommands)
        {
            replies.Write(reply);
            PauseAfterError(_badCommands, _options.Limits);
            return;
        }
        replies.Write("-ERR too many errors\r\n"u8);
        Abandon();
    }

    private void RefuseUnknown(ReadOnlySpan<byte> line, ref ReplyWriter replies)
    {
        Refuse("-ERR unknown command\r\n"u8, ref replies);
        if (AsciiWord.IsForeign(line))
        {
            Abandon();
        }
    }
}
