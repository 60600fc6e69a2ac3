using System.Diagnostics;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Smtp;

// The mail transaction: envelope, content and verdict. With full pipelining two are under way, the current message's
// content and the next message's envelope.
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

    private void WriteEnvelope()
    {
        _envelope.Write(_next.Sequence);
        if (_run.IsMeasuring)
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
        _currentDueAt = _nextDueAt;
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

        if (_run.Owed is { } owed)
        {
            _envelope.Note(owed);
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
