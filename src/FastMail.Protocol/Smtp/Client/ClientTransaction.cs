namespace FastMail.Protocol.Smtp.Client;

/// <summary>How far one recipient has come.</summary>
internal enum RecipientState : byte
{
    /// <summary>RCPT is to be said or answered.</summary>
    Open,

    /// <summary>The host takes it; the reply to the content decides.</summary>
    Accepted,

    /// <summary>Answered, and told.</summary>
    Over,

    /// <summary>Told without a word to the host, which could not be told of it: no RCPT is said.</summary>
    Skipped,
}

/// <summary>
/// The state of one mail transaction on its way: how many of its commands are said and how many answered. Owned by one
/// session, reused, and entered by its thread.
/// </summary>
/// <remarks>
/// Commands have numbers: RSET -1, MAIL 0, RCPT 1 to n, DATA or BDAT n + 1, and n + 2 the content with its replies,
/// of which LMTP has one a recipient.
/// </remarks>
internal sealed class ClientTransaction
{
    private RecipientState[] _states = [];

    public IOutgoingMail Mail { get; private set; } = null!;

    public int Recipients { get; private set; }

    /// <summary>The next command to say.</summary>
    public int Said { get; set; }

    /// <summary>The next command whose reply will come.</summary>
    public int Answered { get; set; }

    /// <summary>Recipients that the host takes.</summary>
    public int Accepted { get; private set; }

    /// <summary>Recipients that are not over.</summary>
    public int Left { get; private set; }

    /// <summary>Of an LMTP host's replies to the content: the first recipient whose reply is still to come.</summary>
    public int NextReply { get; set; }

    /// <summary>The host has taken MAIL.</summary>
    public bool IsOpen { get; set; }

    /// <summary>The host has refused MAIL: what else is said can come to nothing only.</summary>
    public bool IsRefused { get; set; }

    /// <summary>354 has come.</summary>
    public bool IsAwaited { get; set; }

    /// <summary>Whether it can be sent to this host was looked at.</summary>
    public bool IsVetted { get; set; }

    public bool NeedsUtf8 { get; set; }

    public bool UsesChunk { get; set; }

    /// <summary>Octets of the chunk that are still to be handed out.</summary>
    public long ChunkLeft { get; set; }

    /// <summary>The first part of the content was handed out.</summary>
    public bool IsContentBegun { get; set; }

    /// <summary>The end of the content was handed out.</summary>
    public bool IsContentOut { get; set; }

    /// <summary>The turn in which content was last handed out.</summary>
    public int ContentTurn { get; set; }

    public int DataNumber => Recipients + 1;

    public int ContentNumber => Recipients + 2;

    /// <summary>Commands that are said and not answered, the content as one.</summary>
    public int Outstanding => Said - Answered;

    /// <summary>A chunk is begun and not ended: nothing else can be said.</summary>
    public bool IsInChunk => UsesChunk && IsContentBegun && !IsContentOut;

    /// <summary>All is told and nothing is owed by either side.</summary>
    public bool IsOver => Left == 0 && Outstanding == 0 && !IsInChunk && (!IsAwaited || IsContentOut);

    /// <summary>A recipient is accepted, or may yet be.</summary>
    public bool HasHope => Accepted > 0 || (Left > 0 && Answered < DataNumber);

    public void Begin(IOutgoingMail mail, bool resets)
    {
        Mail = mail;
        Recipients = mail.Recipients;
        ArgumentOutOfRangeException.ThrowIfLessThan(Recipients, 1, nameof(mail));
        if (_states.Length < Recipients)
        {
            _states = new RecipientState[Recipients];
        }
        _states.AsSpan(0, Recipients).Clear();
        Left = Recipients;
        Said = resets ? -1 : 0;
        Answered = Said;
        Accepted = 0;
        NextReply = 0;
        IsOpen = false;
        IsRefused = false;
        IsAwaited = false;
        IsVetted = false;
        NeedsUtf8 = false;
        UsesChunk = false;
        ChunkLeft = 0;
        IsContentBegun = false;
        IsContentOut = false;
        ContentTurn = -1;
    }

    /// <summary>Goes past what needs no word: recipients that were skipped, and BDAT, whose reply is the content's.</summary>
    public void PassOver()
    {
        while (IsSkipped(Said))
        {
            Said++;
        }
        while (Answered < Said && (IsSkipped(Answered) || (UsesChunk && Answered == DataNumber && IsContentOut)))
        {
            Answered++;
        }
    }

    public RecipientState StateOf(int recipient) => _states[recipient];

    public void Accept(int recipient)
    {
        _states[recipient] = RecipientState.Accepted;
        Accepted++;
    }

    /// <summary>The end of one recipient; nothing for one that is over.</summary>
    public void Answer(int recipient, in DeliveryReply reply)
    {
        if (_states[recipient] is RecipientState.Open or RecipientState.Accepted)
        {
            _states[recipient] = RecipientState.Over;
            Left--;
            Mail.Answered(recipient, reply);
        }
    }

    /// <summary>The host is not told of this one.</summary>
    public void Skip(int recipient, in DeliveryReply reply)
    {
        Answer(recipient, reply);
        _states[recipient] = RecipientState.Skipped;
    }

    /// <summary>The end of all that are not over.</summary>
    public void AnswerAll(in DeliveryReply reply)
    {
        for (var i = 0; i < Recipients && Left > 0; i++)
        {
            Answer(i, reply);
        }
    }

    public void End()
    {
        var mail = Mail;
        Mail = null!;
        mail.Ended();
    }

    private bool IsSkipped(int number) =>
        number > 0 && number < DataNumber && _states[number - 1] == RecipientState.Skipped;
}
