using System.Buffers;
using System.Diagnostics;
using System.Text;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Smtp;

/// <summary>
/// The client's side of one SMTP connection: what is said next, and what each reply means for the message it answers.
/// Owned by <see cref="SmtpRun"/>, entered by its loop thread only; opened again for the next session. Sends nothing
/// before every reply of the turn before is in.
/// </summary>
internal sealed unsafe partial class SmtpConnection : IDisposable
{
    /// <summary>What the replies now awaited are replies to.</summary>
    private enum Phase
    {
        Closed,
        Handshake,
        Greeting,
        Ehlo,
        StartTls,
        Auth,
        Idle,
        Envelope,
        Content,
        Rset,
        Quit,
    }

    private const int ReceiveOctets = 4096;

    private static readonly byte[] Dot = Pinned(".\r\n"u8);
    private static readonly byte[] Ehlo = Pinned("EHLO load.invalid\r\n"u8);
    private static readonly byte[] StartTls = Pinned("STARTTLS\r\n"u8);
    private static readonly byte[] Rset = Pinned("RSET\r\n"u8);
    private static readonly byte[] Quit = Pinned("QUIT\r\n"u8);

    private readonly SmtpRun _run;
    private readonly GatherSocket _socket;
    private readonly Envelope _envelope;
    private readonly BodyPiece[] _pieces;
    private readonly byte[] _header;
    private readonly byte[] _hash = new byte[MessageGenerator.HashOctets];

    private readonly bool _isWhole; // a transaction leaves in one piece

    private Phase _phase;
    private int _messagesTaken;
    private long _handshakeFrom;

    internal SmtpConnection(SmtpRun run, Epoll epoll, int token)
    {
        _run = run;
        IdlePlace = new LinkedListNode<SmtpConnection>(this);
        _envelope = new Envelope(run.Plan);
        _isWhole = run.Plan is { IsChunking: true, Pipelining: Pipelining.Full };
        _pieces = new BodyPiece[run.Generator.MostPieces];
        _socket = new GatherSocket(epoll, token, _pieces.Length + 3, ReceiveOctets);
        _header = GC.AllocateUninitializedArray<byte>(run.Generator.HeaderOctets, pinned: true);
    }

    /// <summary>Consecutive sessions that ended before the first message could go: the next waits longer.</summary>
    internal int FailedOpens { get; private set; }

    internal long ReopenAt { get; set; }

    /// <summary>Its place among those that have nothing to say.</summary>
    internal LinkedListNode<SmtpConnection> IdlePlace { get; }

    /// <summary>Starts a session for an already claimed message.</summary>
    internal void Open(in LoadMessage first)
    {
        _next = first;
        _nextDueAt = 0;
        _hasNext = true;
        _messagesTaken = 1;
        Connect();
    }

    /// <summary>Starts a session that waits until a message is due.</summary>
    internal void Open()
    {
        _hasNext = false;
        _messagesTaken = 0;
        Connect();
    }

    /// <summary>A message is due, or none will ever be.</summary>
    internal void Wake()
    {
        BeginTransaction();
    }

    public void Dispose() => _socket.Dispose();

    private void Connect()
    {
        _asked = 0;
        _answered = 0;
        _awaitsVerdict = false;
        _needsReset = false;
        _phase = Phase.Greeting;
        _run.Tally.ConnectionsOpened++;
        int errno = _socket.Open(_run.Plan.Target);
        if (errno != 0)
        {
            Lose($"connect: {Linux.ErrorText(errno)}");
        }
        else if (_run.Plan.Tls is { Start: TlsStart.Implicit } tls)
        {
            Secure(tls);
        }
    }

    private void Secure(TlsPlan tls)
    {
        _phase = Phase.Handshake;
        _handshakeFrom = Stopwatch.GetTimestamp();
        _socket.Secure(tls);
    }

    private void OnSecured()
    {
        if (_run.IsMeasuring) // their rate is over the measured time
        {
            _run.Tally.Tls.Record(_handshakeFrom, _socket.IsResumed);
        }

        if (_run.Plan.Tls!.Start == TlsStart.Implicit)
        {
            _phase = Phase.Greeting;
        }
        else
        {
            SendLine(Ehlo, Phase.Ehlo); // RFC 3207 4.2: what was said before is forgotten
        }
    }

    internal void OnReady(uint events)
    {
        if ((events & Linux.PollOut) != 0)
        {
            long before = _socket.WrittenOctets;
            WriteQueued();
            if (_socket.WrittenOctets > before)
            {
                _run.HeardFromServer(); // it takes what it had no room for
            }
        }

        if ((events & ~Linux.PollOut) != 0)
        {
            OnReadable();
        }
    }

    internal void WriteQueued()
    {
        _socket.Write();
        NoteContentLeft();
    }

    private void NoteContentLeft()
    {
        if (_awaitsVerdict && _contentLeftAt == 0 && _socket.WrittenOctets >= _contentEndsAt)
        {
            _contentLeftAt = Stopwatch.GetTimestamp();
        }
    }

    /// <summary>The run is given up: a verdict that is still out stays out.</summary>
    internal void Abandon()
    {
        if (_phase != Phase.Closed)
        {
            LeaveInDoubt();
            GiveBackNext();
            _phase = Phase.Closed;
            _socket.Close();
        }
    }

    private void OnReadable()
    {
        while (TryRead() && _socket.IsSecured)
        {
            // A record may be left: only the kernel's octets are told by readiness.
        }
    }

    private bool TryRead()
    {
        int read = _socket.Read();
        NoteContentLeft(); // over TLS the end of a record may leave when one is read
        if (_phase == Phase.Handshake && _socket.IsSecured)
        {
            OnSecured();
        }

        if (read <= 0)
        {
            if (_phase == Phase.Idle && -read is not (Linux.AgainError or Linux.InterruptedError))
            {
                EndIdle();
                return false;
            }

            if (-read is not (Linux.AgainError or Linux.InterruptedError))
            {
                Lose(read == 0 ? "the server closed the connection" : _socket.ErrorText(read));
            }

            return false;
        }

        _run.HeardFromServer();
        while (_phase != Phase.Closed && !_socket.Received.IsEmpty)
        {
            OperationStatus status = ReplyParser.Parse(_socket.Received, out int consumed, out int code);
            if (status == OperationStatus.NeedMoreData && !_socket.IsReceiveFull)
            {
                return true;
            }

            if (status != OperationStatus.Done)
            {
                Lose($"not an SMTP reply: {ReplyParser.Printable(_socket.Received)}");
                return false;
            }

            OnReply(code, _socket.Received[..consumed]);
            if (_phase != Phase.Closed)
            {
                _socket.Consume(consumed);
            }

            if (_phase == Phase.Handshake && !_socket.Received.IsEmpty)
            {
                Lose("octets in the clear after the reply to STARTTLS");
            }
        }

        return _phase != Phase.Closed;
    }

    private void OnReply(int code, ReadOnlySpan<byte> reply)
    {
        if (_awaitsVerdict && !(_isWhole && _answered < _asked))
        {
            OnVerdict(code, reply);
        }
        else if (_phase == Phase.Idle && code == 421)
        {
            EndIdle();
            return;
        }
        else if (code == 421)
        {
            Fault(code, reply);
            Lose("the server said 421");
            return;
        }
        else if (_phase is Phase.Envelope or Phase.Content && _answered < _asked)
        {
            OnEnvelopeReply(code, reply);
        }
        else
        {
            OnSessionReply(code, reply);
            return;
        }

        if (_phase is Phase.Envelope or Phase.Content && !_awaitsVerdict && _answered == _asked)
        {
            Proceed();
        }
    }

    private void OnSessionReply(int code, ReadOnlySpan<byte> reply)
    {
        switch (_phase)
        {
            case Phase.Greeting when code == 220:
                SendLine(Ehlo, Phase.Ehlo);
                break;
            case Phase.Ehlo when code == 250:
                if (_run.Plan.Tls is { Start: TlsStart.StartTls } && !_socket.IsSecured)
                {
                    SendLine(StartTls, Phase.StartTls);
                    break;
                }

                if (!_run.CheckKeywords(reply))
                {
                    Lose("the server does not offer CHUNKING, which --bdat needs", isHopeless: true);
                    break;
                }

                if (_run.AuthLine is { } line)
                {
                    SendLine(line, Phase.Auth);
                    break;
                }

                FailedOpens = 0;
                BeginTransaction();
                break;
            case Phase.StartTls when code == 220:
                Secure(_run.Plan.Tls!);
                break;
            case Phase.Auth when code == 235:
                FailedOpens = 0;
                BeginTransaction();
                break;
            case Phase.Rset when code == 250:
                BeginTransaction();
                break;
            case Phase.Quit:
                Finish();
                break;
            default:
                Fault(code, reply);
                Lose($"unexpected reply {code}", isHopeless: _phase == Phase.Auth && code / 100 == 5);
                break;
        }
    }

    private void SendLine(byte[] pinned, Phase phase)
    {
        _phase = phase;
        _socket.Queue(pinned, 0, pinned.Length);
        Send();
    }

    private void Send()
    {
        if (_run.Ledger is null)
        {
            WriteQueued();
        }
        else
        {
            _run.Defer(this); // the ledger's lines go to the kernel first
        }
    }

    private void Fault(int code, ReadOnlySpan<byte> reply)
    {
        _run.Tally.CountReply(code);
        if (_run.Tally.CountFault())
        {
            _run.ShowError($"{Asked()}: {ReplyParser.Printable(reply)}");
        }
    }

    private string Asked() => _phase switch
    {
        Phase.Greeting => "greeting",
        Phase.Envelope or Phase.Content when _answered > 0 =>
            Encoding.UTF8.GetString(_envelope.Lines.AsSpan()[
                _envelope.StartOf(_answered - 1)..(_envelope.EndOf(_answered - 1) - 2)]),
        Phase.Content => "end of content",
        _ => _phase.ToString().ToUpperInvariant(),
    };

    private void Lose(string why, bool isHopeless = false)
    {
        if (_phase == Phase.Quit)
        {
            Finish(); // the work was done; how the server hangs up is its own affair
            return;
        }

        _run.Tally.ConnectionsLost++;
        if (_run.Tally.CountFault())
        {
            _run.ShowError($"connection lost ({_phase}): {why}");
        }

        LeaveInDoubt();
        GiveBackNext();
        FailedOpens += _phase is Phase.Handshake or Phase.Greeting or Phase.Ehlo or Phase.StartTls or Phase.Auth ? 1 : 0;
        Finish(isLost: true, isHopeless);
    }

    /// <summary>The server ends a connection that had nothing to say, as it may (RFC 5321 4.5.3.2.7): no fault.</summary>
    private void EndIdle()
    {
        _run.EndIdle(this);
        _phase = Phase.Closed;
        _socket.Close();
    }

    private void Finish(bool isLost = false, bool isHopeless = false)
    {
        _phase = Phase.Closed;
        _socket.Close();
        _run.Ended(this, isLost, isHopeless);
    }

    private static byte[] Pinned(ReadOnlySpan<byte> text)
    {
        byte[] pinned = GC.AllocateUninitializedArray<byte>(text.Length, pinned: true);
        text.CopyTo(pinned);
        return pinned;
    }
}
