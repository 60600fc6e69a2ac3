namespace FastMail.Protocol.Pop3;

/// <summary>
/// RETR and TOP of a message whose content comes in parts. While the body of one part is on its way the next is being
/// read; behind the last one more is awaited, so that its memory is given back only when it has been sent.
/// </summary>
public sealed partial class Pop3Session
{
    private Pop3Verb _large; // RETR or TOP; Unknown when no content comes in parts
    private int _largeIndex;
    private bool _hasPart;
    private bool _isAnswered; // +OK was said: from here on only the content itself or the end of the session can follow
    private bool _isEnded; // all that is wanted has been said
    private ContentStatus _partStatus;
    private MessageContent _part;

    private long _topHeaderBytes; // still to be shown, as the lines behind them
    private long _topLines;

    /// <summary>
    /// A part of the content has been read, or could not be; call <see cref="Receive"/> afterwards. Ignored when the
    /// dialog is over.
    /// </summary>
    public void ContentRead(ContentStatus status, in MessageContent part)
    {
        if (_large != Pop3Verb.Unknown)
        {
            _partStatus = status;
            _part = part;
            _hasPart = true;
        }
    }

    private void TakePart(ref ReplyWriter replies)
    {
        var part = _part;
        _part = default;
        _hasPart = false;
        if (_isEnded)
        {
            CloseLarge();
            return;
        }
        if (_partStatus != ContentStatus.Ok)
        {
            CloseLarge();
            if (_isAnswered)
            {
                Abandon(); // no terminator: the client must not take what it has for the whole
            }
            else
            {
                RefuseContent(_partStatus, ref replies);
            }
            return;
        }
        if (!_isAnswered && IsRefusedUtf8(part))
        {
            CloseLarge();
            replies.Write(NeedsUtf8);
            return;
        }
        if (!_isAnswered)
        {
            Answer(part, ref replies);
        }
        Send(part, _large == Pop3Verb.Top ? TopBytes(part) : part.Wire.Length);
        if (_owed == Owed.Nothing && IsTopOver && part.RestBytes > ".\r\n".Length)
        {
            _owed = Owed.Terminator;
        }
        _isEnded = _owed != Owed.Nothing || part.RestBytes == 0;
        View.Maildrop.ReadOn();
    }

    /// <summary>Nothing more of the content is to be shown.</summary>
    private bool IsTopOver => _large == Pop3Verb.Top && _topHeaderBytes == 0 && _topLines == 0;

    private void Answer(in MessageContent first, ref ReplyWriter replies)
    {
        _isAnswered = true;
        if (_large == Pop3Verb.Top)
        {
            _topHeaderBytes = first.HeaderWireBytes;
            replies.Write(TopLine);
        }
        else
        {
            WriteRetrLine(_largeIndex, ref replies);
        }
    }

    private void CloseLarge()
    {
        _large = Pop3Verb.Unknown;
        View.Maildrop.CloseContent();
    }
}
