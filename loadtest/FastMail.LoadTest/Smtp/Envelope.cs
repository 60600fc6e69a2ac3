using System.Buffers.Text;
using System.Text;
using FastMail.LoadTest.Messages;

namespace FastMail.LoadTest.Smtp;

/// <summary>
/// The MAIL, RCPT and DATA or BDAT lines of one transaction in one pinned buffer, and which recipients were accepted.
/// Owned by its connection; rewritten for every message once the socket has taken the last one.
/// </summary>
internal sealed class Envelope
{
    internal const int LongestMailbox = 512;

    private const int LongestContentLine = 32; // BDAT with its size

    private readonly MailboxPattern _senders;
    private readonly MailboxPattern _recipients;
    private readonly bool _isChunking;
    private readonly byte[] _endOfMail;
    private readonly int[] _commandEnd;
    private readonly bool[] _isAccepted;
    private long _sequence;

    internal Envelope(SmtpPlan plan)
    {
        _recipients = plan.Recipients;
        _isChunking = plan.IsChunking;
        _senders = new MailboxPattern(plan.From, plan.Recipients.Users, perMessage: 1);
        _endOfMail = Encoding.UTF8.GetBytes($">{(plan.IsEightBit ? " BODY=8BITMIME" : "")}\r\n");
        _isAccepted = new bool[_recipients.PerMessage];
        _commandEnd = new int[_recipients.PerMessage + 2];
        int longest = "MAIL FROM:<".Length + _senders.LongestMailbox + _endOfMail.Length
            + (_recipients.PerMessage * (_recipients.LongestMailbox + 12)) + LongestContentLine;
        Lines = GC.AllocateUninitializedArray<byte>(longest, pinned: true);
    }

    /// <summary>Those with a reply of their own: MAIL, one RCPT for each recipient and, if said, DATA.</summary>
    internal int Commands => _isChunking ? _commandEnd.Length - 1 : _commandEnd.Length;

    /// <summary>Number of the command that brings the content: DATA; or BDAT, answered once, behind it.</summary>
    internal int ContentCommand => _commandEnd.Length - 1;

    internal byte[] Lines { get; }

    /// <summary>By reply.</summary>
    internal int AcceptedRecipients { get; private set; }

    internal void Write(in LoadMessage message)
    {
        _sequence = message.Sequence;
        AcceptedRecipients = 0;
        Array.Clear(_isAccepted);
        int at = Append("MAIL FROM:<"u8, 0);
        at += _senders.Write(_sequence, 0, Lines.AsSpan(at));
        at = Append(_endOfMail, at);
        _commandEnd[0] = at;
        for (int i = 0; i < _recipients.PerMessage; i++)
        {
            at = Append("RCPT TO:<"u8, at);
            at += _recipients.Write(_sequence, i, Lines.AsSpan(at));
            at = Append(">\r\n"u8, at);
            _commandEnd[i + 1] = at;
        }

        _commandEnd[^1] = _isChunking ? AppendChunk(message.Octets, at) : Append("DATA\r\n"u8, at);
    }

    internal int StartOf(int command) => command == 0 ? 0 : _commandEnd[command - 1];

    internal int EndOf(int command) => _commandEnd[command];

    internal void Accept(int recipient)
    {
        _isAccepted[recipient] = true;
        AcceptedRecipients++;
    }

    /// <summary>Content leaves before the replies are there: all are noted as if accepted, until one is refused.</summary>
    internal void PresumeAccepted() => Array.Fill(_isAccepted, true);

    internal ReadOnlySpan<byte> Mailbox(int recipient, Span<byte> buffer) =>
        buffer[.._recipients.Write(_sequence, recipient, buffer)];

    /// <summary>Notes the accepted recipients in the ledger.</summary>
    internal void Note(Ledgers.LedgerWriter ledger)
    {
        Span<byte> mailbox = stackalloc byte[LongestMailbox];
        bool isFirst = true;
        for (int i = 0; i < _isAccepted.Length; i++)
        {
            if (_isAccepted[i])
            {
                ledger.Recipient(Mailbox(i, mailbox), isFirst);
                isFirst = false;
            }
        }
    }

    /// <summary>Notes that the accepted recipients are to get the message.</summary>
    internal void Note(OwedArrivals owed)
    {
        for (int i = 0; i < _isAccepted.Length; i++)
        {
            if (_isAccepted[i])
            {
                owed.Owe(_sequence, i);
            }
        }
    }

    private int AppendChunk(long octets, int at)
    {
        at = Append("BDAT "u8, at);
        _ = Utf8Formatter.TryFormat(octets, Lines.AsSpan(at), out int digits);
        return Append(" LAST\r\n"u8, at + digits);
    }

    private int Append(ReadOnlySpan<byte> text, int at)
    {
        text.CopyTo(Lines.AsSpan(at));
        return at + text.Length;
    }
}
