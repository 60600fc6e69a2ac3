using System.Buffers;
using System.Diagnostics;
using System.Text;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Smtp;

/// <summary>
/// The client's side of one SMTP connection: what is said next, and what each reply means for the message it answers.
/// Owned by <see cref="SmtpRun"/>, entered by its loop thread only; opened again for the next session. Sends nothing
/// before every reply of the turn before is in.
/// </summary>
internal sealed unsafe class SmtpConnection
{
    private enum Phase
    {
        Closed,
        Greeting,
        Ehlo,
        Auth,
        Envelope,
        Content,
        Rset,
        Quit,
    }

    private static readonly byte[] Dot = Pinned(".\r\n"u8);
    private static readonly byte[] Ehlo = Pinned("EHLO load.invalid\r\n"u8);
    private static readonly byte[] Rset = Pinned("RSET\r\n"u8);
    private static readonly byte[] Quit = Pinned("QUIT\r\n"u8);

    private readonly SmtpRun _run;
    private readonly GatherSocket _socket;
    private readonly Envelope _envelope;
    private readonly BodyPiece[] _pieces;
    private readonly byte[] _header;
    private readonly byte[] _hash = new byte[MessageGenerator.HashOctets];

    private Phase _phase;
    private int _messagesTaken;

    // The next message: claimed, its envelope perhaps on the way. _asked of its commands were sent, _answered answered.
    private LoadMessage _next;
    private bool _hasNext;
    private int _asked;
    private int _answered;
    private bool _isMailAccepted;
    private bool _isContentAsked;
    private byte[] _refusal = [];

    // The current message: its content is leaving or has left, its reply is not there yet.
    private LoadMessage _current;
    private bool _awaitsVerdict;
    private bool _isForNobody;
    private bool _isMeasured;
    private long _contentEndsAt;
    private long _contentLeftAt;

    internal SmtpConnection(SmtpRun run, Epoll epoll, int token)
    {
        _run = run;
        _envelope = new Envelope(run.Plan);
        _pieces = new BodyPiece[run.Generator.MostPieces];
        _socket = new GatherSocket(epoll, token, _pieces.Length + 3);
        _header = GC.AllocateUninitializedArray<byte>(run.Generator.HeaderOctets, pinned: true);
    }

    /// <summary>Consecutive sessions that ended before EHLO was answered: the next waits longer.</summary>
    internal int FailedOpens { get; private set; }

    internal long ReopenAt { get; set; }

    /// <summary>Starts a session for an already claimed message.</summary>
    internal void Open(in LoadMessage first)
    {
        _next = first;
        _hasNext = true;
        _asked = 0;
        _answered = 0;
        _messagesTaken = 1;
        _awaitsVerdict = false;
        _phase = Phase.Greeting;
        _run.Tally.ConnectionsOpened++;
        int errno = _socket.Open(_run.Plan.Target);
        if (errno != 0)
        {
            Lose($"connect: {Linux.ErrorText(errno)}");
        }
    }

    internal void OnReady(uint events)
    {
        if ((events & Linux.PollOut) != 0)
        {
            WriteQueued();
        }

        if ((events & ~Linux.PollOut) != 0)
        {
            OnReadable();
        }
    }

    internal void WriteQueued()
    {
        _socket.Write();
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
            _run.Tally.InDoubt += _awaitsVerdict ? 1 : 0;
            _phase = Phase.Closed;
            _socket.Close();
        }
    }

    private void OnReadable()
    {
        int read = _socket.Read();
        if (read <= 0)
        {
            if (-read is not (Linux.AgainError or Linux.InterruptedError))
            {
                Lose(read == 0 ? "the server closed the connection" : Linux.ErrorText(-read));
            }

            return;
        }

        _run.HeardFromServer();
        while (_phase != Phase.Closed && !_socket.Received.IsEmpty)
        {
            OperationStatus status = ReplyParser.Parse(_socket.Received, out int consumed, out int code);
            if (status == OperationStatus.NeedMoreData && !_socket.IsReceiveFull)
            {
                return;
            }

            if (status != OperationStatus.Done)
            {
                Lose($"not an SMTP reply: {SmtpRun.Printable(_socket.Received)}");
                return;
            }

            OnReply(code, _socket.Received[..consumed]);
            if (_phase != Phase.Closed)
            {
                _socket.Consume(consumed);
            }
        }
    }

    private void OnReply(int code, ReadOnlySpan<byte> reply)
    {
        if (_awaitsVerdict)
        {
            OnVerdict(code, reply);
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
                FailedOpens = 0;
                _run.CheckKeywords(reply);
                if (_run.AuthLine is { } line)
                {
                    SendLine(line, Phase.Auth);
                    break;
                }

                BeginTransaction();
                break;
            case Phase.Auth when code == 235:
            case Phase.Rset when code == 250:
                BeginTransaction();
                break;
            case Phase.Quit:
                Finish();
                break;
            default:
                Fault(code, reply);
                Lose($"unexpected reply {code}");
                break;
        }
    }

    private void BeginTransaction()
    {
        if (!_hasNext && !TryTakeNext())
        {
            SendLine(Quit, Phase.Quit);
            return;
        }

        WriteEnvelope();
        _asked = _run.Plan.Pipelining == Pipelining.None ? 1 : _envelope.Commands;
        _socket.Queue(_envelope.Lines, 0, _envelope.EndOf(_asked - 1));
        _phase = Phase.Envelope;
        Send();
    }

    private bool TryTakeNext()
    {
        int most = _run.Plan.MessagesPerConnection;
        if ((most > 0 && _messagesTaken >= most) || !_run.TryClaim(out _next))
        {
            return false;
        }

        _messagesTaken++;
        _hasNext = true;
        return true;
    }

    private void WriteEnvelope()
    {
        _envelope.Write(_next.Sequence);
        _answered = 0;
        _isMailAccepted = false;
        _isContentAsked = false;
        _refusal = [];
    }

    private void OnEnvelopeReply(int code, ReadOnlySpan<byte> reply)
    {
        int command = _answered++;
        bool isData = command == _envelope.Commands - 1;
        if (isData && code == 354)
        {
            _isContentAsked = true;
            return;
        }

        if (!isData && code / 100 == 2)
        {
            if (command == 0)
            {
                _isMailAccepted = true;
            }
            else
            {
                _envelope.Accept(command - 1);
            }

            return;
        }

        // What follows from an earlier refusal (503 to the rest of a pipelined envelope) is no news.
        bool isConsequence = command > 0 && (!_isMailAccepted || (isData && _envelope.AcceptedRecipients == 0));
        if (!isConsequence)
        {
            _run.Tally.RecipientsRefused += command > 0 && !isData ? 1 : 0;
            _refusal = reply.ToArray(); // copied: the receive buffer is reused
            Fault(code, reply);
        }
    }

    /// <summary>Every reply of the turn is in.</summary>
    private void Proceed()
    {
        if (!_hasNext)
        {
            BeginTransaction();
        }
        else if (_asked < _envelope.Commands && MayGoOn())
        {
            int start = _envelope.StartOf(_asked);
            _socket.Queue(_envelope.Lines, start, _envelope.EndOf(_asked) - start);
            _asked++;
            Send();
        }
        else if (_isContentAsked)
        {
            SendContent();
        }
        else
        {
            _hasNext = false;
            Refuse(_next, _refusal);
            SendLine(Rset, Phase.Rset);
        }
    }

    // One command at a time: DATA is not worth saying when nobody would get the message.
    private bool MayGoOn() =>
        _isMailAccepted && (_asked < _envelope.Commands - 1 || _envelope.AcceptedRecipients > 0);

    private void SendContent()
    {
        _current = _next;
        _hasNext = false;
        _isForNobody = _envelope.AcceptedRecipients == 0;
        if (!_isForNobody)
        {
            QueueMessage();
        }

        // RFC 2920 3.1: a 354 although no recipient was accepted is answered by a lone dot.
        _socket.Queue(Dot, 0, Dot.Length);
        _contentEndsAt = _socket.QueuedOctets;
        _contentLeftAt = 0;
        _awaitsVerdict = true;
        _asked = 0;
        _answered = 0;
        _phase = Phase.Content;
        if (_run.Plan.Pipelining == Pipelining.Full && !_isForNobody && TryTakeNext())
        {
            WriteEnvelope();
            _asked = _envelope.Commands;
            _socket.Queue(_envelope.Lines, 0, _envelope.EndOf(_asked - 1));
        }

        Send();
    }

    private void QueueMessage()
    {
        MessageGenerator generator = _run.Generator;
        generator.WriteHeader(_current, _header);
        if (_run.Ledger is { } ledger)
        {
            generator.Hash(_current, _header, _hash);
            ledger.Sent(generator.IdOf(_current), _hash);
            _envelope.Note(ledger);
            ledger.EndLine();
        }

        _isMeasured = _run.IsMeasuring;
        _socket.Queue(_header, 0, _header.Length);
        int count = generator.CutBody(_current, _pieces);
        foreach (ref readonly BodyPiece piece in _pieces.AsSpan(0, count))
        {
            _socket.Queue(piece.Start, piece.Length);
        }
    }

    /// <summary>The reply to the end of content.</summary>
    private void OnVerdict(int code, ReadOnlySpan<byte> reply)
    {
        _awaitsVerdict = false;
        bool isEarly = _contentLeftAt == 0;
        bool isAccepted = code / 100 == 2;
        if (_isForNobody)
        {
            Refuse(_current, _refusal);
        }
        else if (isAccepted && !isEarly)
        {
            _run.Ledger?.Acked(_run.Generator.IdOf(_current), _hash, reply);
            _run.Acked(_current, _isMeasured ? Stopwatch.GetTimestamp() - _contentLeftAt : -1);
        }
        else
        {
            Fault(code, reply);
            RefuseSent(reply);
        }

        if (isEarly || code == 421 || (_isForNobody && isAccepted))
        {
            Lose(isEarly ? "a reply before the end of content"
                : code == 421 ? "the server said 421"
                : "the server accepted a message without recipients");
        }
    }

    private void Refuse(in LoadMessage message, ReadOnlySpan<byte> reply)
    {
        if (_run.Ledger is not null)
        {
            _run.Generator.WriteHeader(message, _header);
            _run.Generator.Hash(message, _header, _hash);
        }

        RefuseSent(message, reply);
    }

    private void RefuseSent(ReadOnlySpan<byte> reply) => RefuseSent(_current, reply);

    private void RefuseSent(in LoadMessage message, ReadOnlySpan<byte> reply)
    {
        _run.Tally.Refused++;
        _run.Ledger?.Refused(_run.Generator.IdOf(message), _hash, reply);
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
            _run.ShowError($"{Asked()}: {SmtpRun.Printable(reply)}");
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

    private void Lose(string why)
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

        if (_awaitsVerdict)
        {
            _awaitsVerdict = false;
            _run.Tally.InDoubt++;
        }

        if (_hasNext)
        {
            _hasNext = false;
            _run.GiveBack();
        }

        FailedOpens += _phase is Phase.Greeting or Phase.Ehlo ? 1 : 0;
        bool isHopeless = _phase == Phase.Auth;
        Finish(isLost: true, isHopeless);
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
