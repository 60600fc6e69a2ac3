using System.Diagnostics;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Smtp;

// The mail transaction: envelope, content and verdict. With full pipelining two are under way, the current message's
// content and the next message's envelope; a chunk goes with its own envelope instead, in one turn.
internal sealed unsafe partial class SmtpConnection
{
    // The next message: claimed, its envelope perhaps on the way. _asked of its commands were sent, _answered answered.
    private LoadMessage _next;
    private long _nextDueAt;
    private bool _hasNext;
    private int _asked;
    private int _answered;
    private bool _isMailAccepted;
    private bool _isContentAsked;
    private bool _needsReset; // a refused chunk may leave the transaction open
    private byte[] _refusal = [];

    // The current message: its content is leaving or has left, its reply is not there yet.
    private LoadMessage _current;
    private long _currentDueAt;
    private bool _awaitsVerdict;
    private bool _isForNobody;
    private bool _isMeasured;
    private long _contentEndsAt;
    private long _contentLeftAt;

    private void BeginTransaction()
    {
        if (!_hasNext && !TryTakeNext())
        {
            if (!IsUsedUp && _run.TryIdle(this))
            {
                _phase = Phase.Idle;
            }
            else
            {
                SendLine(Quit, Phase.Quit);
            }

            return;
        }

        WriteEnvelope();
        if (_isWhole)
        {
            SendWhole();
            return;
        }

        _asked = _run.Plan.Pipelining == Pipelining.None ? 1 : _envelope.Commands;
        _socket.Queue(_envelope.Lines, 0, _envelope.EndOf(_asked - 1));
        _phase = Phase.Envelope;
        Send();
    }

    private bool IsUsedUp =>
        _run.Plan.MessagesPerConnection > 0 && _messagesTaken >= _run.Plan.MessagesPerConnection;

    private bool TryTakeNext()
    {
        if (IsUsedUp || !_run.TryClaim(out _next, out _nextDueAt))
        {
            return false;
        }

        _messagesTaken++;
        _hasNext = true;
        return true;
    }

    /// <summary>The connection ends before the content of the message it has taken up could leave.</summary>
    private void GiveBackNext()
    {
        if (_hasNext)
        {
            _hasNext = false;
            _run.GiveBack(_nextDueAt);
        }
    }

    private void WriteEnvelope()
    {
        _envelope.Write(_next);
        if (_run.IsMeasured(_nextDueAt))
        {
            _run.Times?.Note(_next.Sequence, _nextDueAt != 0 ? _nextDueAt : Stopwatch.GetTimestamp());
        }

        _answered = 0;
        _isMailAccepted = false;
        _isContentAsked = false;
        _refusal = [];
    }

    private void OnEnvelopeReply(int code, ReadOnlySpan<byte> reply)
    {
        int command = _answered++;
        bool isData = command == _envelope.ContentCommand;
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
            if (_isWhole && command > 0)
            {
                TakeBack(command - 1);
            }
        }
    }

    /// <summary>The recipient for whom content has left already was refused.</summary>
    private void TakeBack(int recipient)
    {
        Span<byte> mailbox = stackalloc byte[Envelope.LongestMailbox];
        _run.Owed?.Forgive(_current.Sequence, recipient);
        _run.Ledger?.Without(_run.Generator.IdOf(_current), _hash, _envelope.Mailbox(recipient, mailbox));
    }

    /// <summary>Every reply of the turn is in.</summary>
    private void Proceed()
    {
        if (_needsReset)
        {
            _needsReset = false;
            SendLine(Rset, Phase.Rset);
        }
        else if (!_hasNext)
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
        else if (_isContentAsked || (_run.Plan.IsChunking && _envelope.AcceptedRecipients > 0))
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
        _isMailAccepted && (_asked < _envelope.ContentCommand || _envelope.AcceptedRecipients > 0);

    /// <summary>MAIL, every RCPT, BDAT and the content; who is accepted shows before the verdict.</summary>
    private void SendWhole()
    {
        MakeCurrent(isForNobody: false);
        _envelope.PresumeAccepted();
        _asked = _envelope.Commands;
        _socket.Queue(_envelope.Lines, 0, _envelope.EndOf(_envelope.ContentCommand));
        QueueMessage();
        AwaitVerdict();
        Send();
    }

    private void SendContent()
    {
        MakeCurrent(isForNobody: _envelope.AcceptedRecipients == 0);
        _asked = 0;
        _answered = 0;
        if (_run.Plan.IsChunking)
        {
            int start = _envelope.StartOf(_envelope.ContentCommand);
            _socket.Queue(_envelope.Lines, start, _envelope.EndOf(_envelope.ContentCommand) - start);
        }

        if (!_isForNobody)
        {
            QueueMessage();
        }

        if (!_run.Plan.IsChunking)
        {
            // RFC 2920 3.1: a 354 although no recipient was accepted is answered by a lone dot.
            _socket.Queue(Dot, 0, Dot.Length);
        }

        AwaitVerdict();
        if (_run.Plan.Pipelining == Pipelining.Full && !_isForNobody && TryTakeNext())
        {
            WriteEnvelope();
            _asked = _envelope.Commands;
            _socket.Queue(_envelope.Lines, 0, _envelope.EndOf(_asked - 1));
        }

        Send();
    }

    private void MakeCurrent(bool isForNobody)
    {
        _current = _next;
        _currentDueAt = _nextDueAt;
        _hasNext = false;
        _isForNobody = isForNobody;
    }

    private void AwaitVerdict()
    {
        _contentEndsAt = _socket.QueuedOctets;
        _contentLeftAt = 0;
        _awaitsVerdict = true;
        _phase = Phase.Content;
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

        if (_run.Owed is { } owed)
        {
            _envelope.Note(owed);
        }

        _isMeasured = _run.IsMeasured(_currentDueAt);
        _socket.Queue(_header, 0, _header.Length);
        int count = generator.CutBody(_current, isStuffed: !_run.Plan.IsChunking, _pieces);
        foreach (ref readonly BodyPiece piece in _pieces.AsSpan(0, count))
        {
            _socket.Queue(piece.Start, piece.Length);
        }
    }

    /// <summary>The reply to the end of content.</summary>
    private void OnVerdict(int code, ReadOnlySpan<byte> reply)
    {
        _awaitsVerdict = false;
        if (_isWhole)
        {
            _asked = 0;
            _answered = 0;
            _isForNobody = _envelope.AcceptedRecipients == 0;
        }

        bool isEarly = _contentLeftAt == 0;
        bool isAccepted = code / 100 == 2;
        _needsReset = _run.Plan.IsChunking && !isAccepted;
        if (_isForNobody)
        {
            Refuse(_current, _refusal);
        }
        else if (isAccepted && !isEarly)
        {
            _run.Ledger?.Acked(_run.Generator.IdOf(_current), _hash, reply);
            _run.Acked(_current, _isMeasured ? LatencyNow() : -1);
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

    /// <summary>
    /// Closed loop: since the last octet left. Open loop: since the message was to leave, so that a server that is slow
    /// for all is not forgiven the messages that had to wait for it.
    /// </summary>
    private long LatencyNow() => Stopwatch.GetTimestamp() - (_currentDueAt != 0 ? _currentDueAt : _contentLeftAt);

    private void Refuse(in LoadMessage message, ReadOnlySpan<byte> reply)
    {
        if (_run.Ledger is not null)
        {
            _run.Generator.WriteHeader(message, _header);
            _run.Generator.Hash(message, _header, _hash);
        }

        RefuseSent(message, reply);
    }

    /// <summary>The connection ends before the reply to the end of content, if that is awaited.</summary>
    private void LeaveInDoubt()
    {
        if (_awaitsVerdict)
        {
            _awaitsVerdict = false;
            _run.Tally.InDoubt++;
            _run.Owed?.Forgive(_current.Sequence);
        }
    }

    private void RefuseSent(ReadOnlySpan<byte> reply) => RefuseSent(_current, reply);

    private void RefuseSent(in LoadMessage message, ReadOnlySpan<byte> reply)
    {
        _run.Tally.Refused++;
        _run.Owed?.Forgive(message.Sequence);
        _run.Ledger?.Refused(_run.Generator.IdOf(message), _hash, reply);
    }
}
