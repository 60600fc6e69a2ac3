using System.Text;

namespace FastMail.LoadTest.Smtp;

/// <summary>
/// The MAIL, RCPT and DATA lines of one transaction in one pinned buffer, and which recipients were accepted. Owned by
/// its connection; rewritten for every message once the socket has taken the last one.
/// </summary>
internal sealed class Envelope
{
    private readonly RecipientPattern _recipients;
    private readonly byte[] _mail;
    private readonly int[] _commandEnd;
    private readonly bool[] _isAccepted;
    private long _sequence;

    internal Envelope(SmtpPlan plan)
    {
        _recipients = plan.Recipients;
        _mail = Encoding.UTF8.GetBytes($"MAIL FROM:<{plan.From}>{(plan.IsEightBit ? " BODY=8BITMIME" : "")}\r\n");
        _isAccepted = new bool[_recipients.PerMessage];
        _commandEnd = new int[_recipients.PerMessage + 2];
        int longest = _mail.Length + (_recipients.PerMessage * (_recipients.LongestMailbox + 12)) + 6;
        Lines = GC.AllocateUninitializedArray<byte>(longest, pinned: true);
    }

    /// <summary>MAIL, one RCPT for each recipient, DATA.</summary>
    internal int Commands => _commandEnd.Length;

    internal byte[] Lines { get; }

    internal int AcceptedRecipients { get; private set; }

    internal void Write(long sequence)
    {
        _sequence = sequence;
        AcceptedRecipients = 0;
        Array.Clear(_isAccepted);
        _mail.CopyTo(Lines, 0);
        int at = _mail.Length;
        _commandEnd[0] = at;
        for (int i = 0; i < _recipients.PerMessage; i++)
        {
            at = Append("RCPT TO:<"u8, at);
            at += _recipients.Write(sequence, i, Lines.AsSpan(at));
            at = Append(">\r\n"u8, at);
            _commandEnd[i + 1] = at;
        }

        _commandEnd[^1] = Append("DATA\r\n"u8, at);
    }

    internal int StartOf(int command) => command == 0 ? 0 : _commandEnd[command - 1];

    internal int EndOf(int command) => _commandEnd[command];

    internal void Accept(int recipient)
    {
        _isAccepted[recipient] = true;
        AcceptedRecipients++;
    }

    /// <summary>Notes the accepted recipients in the ledger.</summary>
    internal void Note(Ledgers.LedgerWriter ledger)
    {
        Span<byte> mailbox = stackalloc byte[512];
        bool isFirst = true;
        for (int i = 0; i < _isAccepted.Length; i++)
        {
            if (_isAccepted[i])
            {
                ledger.Recipient(mailbox[.._recipients.Write(_sequence, i, mailbox)], isFirst);
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

    private int Append(ReadOnlySpan<byte> text, int at)
    {
        text.CopyTo(Lines.AsSpan(at));
        return at + text.Length;
    }
}
