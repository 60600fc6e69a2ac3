using System.Buffers;

namespace FastMail.Protocol.Smtp.Client;

/// <summary>The transactions under way: when one may begin, what of them may be said now.</summary>
public sealed partial class SmtpClientSession
{
    private static readonly ReadOnlyMemory<byte> NoContent = ".\r\n"u8.ToArray();

    // A ring: the oldest is owed the next reply, only the newest has something to say.
    private readonly ClientTransaction[] _ring = new ClientTransaction[Limits.PipelinedTransactions + 1];
    private int _first;
    private int _count;
    private int _begun;
    private bool _needsReset; // the last transaction ended in its midst
    private ContentScanner _scanner;
    private DotUnstuffer _unstuffer; // of a chunk
    private ReadOnlyMemory<byte> _unsaid; // of its piece that was read

    /// <summary>
    /// A transaction may begin: nothing is under way, or the host takes commands ahead and everything of the one before
    /// was said.
    /// </summary>
    public bool CanBegin =>
        _state == State.Ready && !_isQuitting && !IsExhausted && !IsWaiting
        && (_count == 0 || (_offers.Has(SmtpOffers.Pipelining) && _count < _ring.Length && Newest.IsContentOut));

    /// <summary>No further transaction on this connection: our limit or the host's MAILMAX is reached.</summary>
    public bool IsExhausted =>
        _begun >= _options.MaxTransactions || (_offers.MaxMails > 0 && _begun >= _offers.MaxMails);

    private ClientTransaction Oldest => _ring[_first];

    private ClientTransaction Newest => _ring[(_first + _count - 1) % _ring.Length];

    private bool HasContentOfThisTurn
    {
        get
        {
            for (var i = 0; i < _ring.Length && _ring[i] is { } transaction; i++)
            {
                if (transaction.ContentTurn == _turn && !_isTurnOver)
                {
                    return true;
                }
            }
            return false;
        }
    }

    private ClientPhase PhaseOfTransactions =>
        _count == 0 ? ClientPhase.Idle
        : Oldest.Answered < 0 ? ClientPhase.Reset
        : Oldest.Answered == 0 ? ClientPhase.Mail
        : Oldest.Answered < Oldest.DataNumber ? ClientPhase.Rcpt
        : Oldest.Answered == Oldest.DataNumber && !Oldest.UsesChunk ? ClientPhase.Data
        : ClientPhase.EndOfData;

    /// <summary>
    /// Begins a transaction; call <see cref="Receive"/> afterwards. With more recipients than
    /// <see cref="MaxRecipients"/> the host will refuse some for now.
    /// </summary>
    /// <exception cref="InvalidOperationException"><see cref="CanBegin"/> is false.</exception>
    public void Begin(IOutgoingMail mail)
    {
        if (!CanBegin)
        {
            throw new InvalidOperationException("No transaction may begin now.");
        }
        // Behind a chunk whose reply is not known the host may still be in that transaction: if it has refused all of
        // its recipients, say. RSET is harmless where it is not.
        var resets = _count > 0 ? Newest.UsesChunk : _needsReset;
        _needsReset = false;
        _begun++;
        _hasMoved |= _count == 0;
        _count++;
        var at = (_first + _count - 1) % _ring.Length;
        (_ring[at] ??= new ClientTransaction()).Begin(mail, resets);
    }

    /// <summary>What the session waited for is there; call <see cref="Receive"/> afterwards.</summary>
    public void GoOn() => IsWaiting = false;

    private void ResetTransactions()
    {
        _begun = 0;
        _needsReset = false;
        _unsaid = default;
        foreach (var transaction in _ring)
        {
            if (transaction is not null)
            {
                transaction.ContentTurn = -1;
            }
        }
    }

    private OperationStatus? SayTransactions(ref ReplyWriter output)
    {
        if (_count == 0)
        {
            if (!_isQuitting)
            {
                return OperationStatus.NeedMoreData;
            }
            output.Write("QUIT\r\n"u8);
            End(OperationStatus.Done);
            return null;
        }
        var transaction = Newest;
        if (!transaction.IsVetted && !Vet(transaction))
        {
            return null;
        }
        transaction.PassOver();
        if (!MaySay(transaction))
        {
            return OperationStatus.NeedMoreData;
        }
        if (transaction.IsInChunk || transaction.Said == transaction.ContentNumber)
        {
            return SayContent(transaction);
        }
        SayCommand(transaction, ref output);
        return null;
    }

    private bool MaySay(ClientTransaction transaction)
    {
        if (transaction.IsInChunk)
        {
            return true;
        }
        if (transaction.IsContentOut)
        {
            return false;
        }
        if (transaction.Said == transaction.ContentNumber)
        {
            return transaction.IsAwaited; // and so everything before it is answered
        }
        var isAhead = _offers.Has(SmtpOffers.Pipelining);
        if (isAhead ? transaction.Outstanding >= Limits.PipelinedCommands : transaction.Outstanding > 0)
        {
            return false;
        }
        // What is known to be in vain is not said.
        return !transaction.IsRefused && (transaction.Said < transaction.DataNumber || transaction.HasHope);
    }

    private void SayCommand(ClientTransaction transaction, ref ReplyWriter output)
    {
        _hasMoved |= _count == 1 && transaction.Outstanding == 0;
        var number = transaction.Said;
        if (number < 0)
        {
            output.Write("RSET\r\n"u8);
        }
        else if (number == 0)
        {
            CommandWriter.Mail(transaction.Mail, transaction.NeedsUtf8, IsAuthenticated, Offers, ref output);
        }
        else if (number < transaction.DataNumber)
        {
            var mail = transaction.Mail;
            CommandWriter.Rcpt(
                mail.Recipient(number - 1), transaction.NeedsUtf8, MustReportDelay(mail.Mail), Offers, ref output);
        }
        else if (transaction.UsesChunk)
        {
            output.Write("BDAT "u8);
            output.WriteNumber(transaction.ChunkLeft);
            output.Write(" LAST\r\n"u8);
            transaction.IsContentBegun = true;
            _scanner.Start();
            _unstuffer = default;
            return; // said when its octets are
        }
        else
        {
            output.Write("DATA\r\n"u8);
            _scanner.Start();
        }
        transaction.Said++;
    }

    /// <summary>Hands out the next piece of content. What must not leave ends the session before it does.</summary>
    private OperationStatus? SayContent(ClientTransaction transaction)
    {
        if (transaction.Accepted == 0 && !transaction.UsesChunk)
        {
            // 354 although every recipient was refused, as may come when commands are sent ahead: content without a
            // line, which the host will refuse too (RFC 2920 3.1).
            HandOut(transaction, NoContent, isLast: true);
            return OperationStatus.DestinationTooSmall;
        }
        if (!_unsaid.IsEmpty)
        {
            return SayRun(transaction);
        }
        if (!transaction.Mail.TryRead(out var piece))
        {
            IsWaiting = true;
            return OperationStatus.NeedMoreData;
        }
        if (piece.IsEmpty)
        {
            Refuse(transaction, ClientReplies.Unreadable);
            return null;
        }
        var taken = _scanner.Scan(piece.Span);
        var isLast = _scanner.HasEnded;
        var content = transaction.Mail.Content;
        if (_scanner.IsFlawed || taken < piece.Length || (isLast && (_scanner.WireBytes != content.WireBytes
            || (transaction.UsesChunk && _scanner.Octets != content.Octets))))
        {
            Refuse(transaction, ClientReplies.Flawed);
            return null;
        }
        if (transaction.UsesChunk)
        {
            _unsaid = piece;
            return SayRun(transaction);
        }
        HandOut(transaction, piece, isLast);
        return OperationStatus.DestinationTooSmall;
    }

    /// <summary>Hands out what of a chunk lies before the next stuffed dot.</summary>
    private OperationStatus? SayRun(ClientTransaction transaction)
    {
        var wire = _unsaid.Span;
        var isRun = _unstuffer.TryTake(ref wire, out var run, out _);
        if (run.Length > transaction.ChunkLeft)
        {
            Refuse(transaction, ClientReplies.Flawed);
            return null;
        }
        var piece = _unsaid.Slice(_unsaid.Length - wire.Length - run.Length, run.Length);
        transaction.ChunkLeft -= run.Length;
        var isLast = _scanner.HasEnded && transaction.ChunkLeft == 0; // a lone dot is all that may be left
        _unsaid = isLast || !isRun ? default : _unsaid[^wire.Length..];
        HandOut(transaction, piece, isLast);
        return piece.IsEmpty ? null : OperationStatus.DestinationTooSmall;
    }

    private void HandOut(ClientTransaction transaction, ReadOnlyMemory<byte> piece, bool isLast)
    {
        _hasMoved = true;
        Body = piece;
        transaction.IsContentBegun = true;
        transaction.ContentTurn = _turn;
        if (isLast)
        {
            transaction.IsContentOut = true;
            transaction.Said = transaction.ContentNumber + 1;
        }
    }

    /// <summary>A mistake of ours in the midst of a transaction: nothing but a cut keeps the host from taking it.</summary>
    private void Refuse(ClientTransaction transaction, SmtpReply words)
    {
        transaction.AnswerAll(new DeliveryReply(ClientPhase.Data, words));
        Fail(ClientReplies.Lost);
    }
}
