namespace FastMail.Protocol.Pop3;

/// <summary>The TRANSACTION and UPDATE states (RFC 1939 5 to 7).</summary>
public sealed partial class Pop3Session
{
    private void Stat(ref ReplyWriter replies)
    {
        replies.Write("+OK "u8);
        replies.WriteNumber(View.LiveCount);
        replies.Write((byte)' ');
        replies.WriteNumber(View.LiveOctets);
        replies.WriteLineEnd();
    }

    /// <summary>LIST and UIDL, of one message or of all that are not marked.</summary>
    private void List(Pop3Verb verb, ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!argument.IsEmpty)
        {
            if (TryFind(argument, out var index, ref replies) && !TryWriteListing(verb, "+OK "u8, index, ref replies))
            {
                RefuseContent(ContentStatus.Unavailable, ref replies);
            }
            return;
        }
        if (verb == Pop3Verb.List)
        {
            replies.Write("+OK "u8);
            replies.WriteNumber(View.LiveCount);
            replies.Write(" messages ("u8);
            replies.WriteNumber(View.LiveOctets);
            replies.Write(" octets)\r\n"u8);
        }
        else
        {
            replies.Write("+OK\r\n"u8);
        }
        _listing = verb;
        _nextIndex = 0;
    }

    /// <summary>Writes as much of a listing as fits; the next step or call goes on.</summary>
    private void GoOnListing(ref ReplyWriter replies)
    {
        for (; _nextIndex < View.Count; _nextIndex++)
        {
            if (View.IsMarked(_nextIndex))
            {
                continue;
            }
            if (!replies.Fits(Limits.ReplyBytes))
            {
                return;
            }
            // Without an id the message has no line, and RETR says why: under another id it would be taken for a new one.
            _ = TryWriteListing(_listing, default, _nextIndex, ref replies);
        }
        _listing = Pop3Verb.Unknown;
        _owed = Owed.Terminator;
    }

    /// <summary>A scan listing or a unique-id listing; false, and nothing written, when the id cannot be read now.</summary>
    private bool TryWriteListing(Pop3Verb verb, ReadOnlySpan<byte> start, int index, ref ReplyWriter replies)
    {
        Span<byte> id = stackalloc byte[Limits.UniqueIdBytes];
        var idBytes = 0;
        if (verb == Pop3Verb.Uidl && !View.Maildrop.TryWriteUniqueId(index, id, out idBytes))
        {
            return false;
        }
        replies.Write(start);
        replies.WriteNumber(index + 1);
        replies.Write((byte)' ');
        if (verb == Pop3Verb.List)
        {
            replies.WriteNumber(View.Maildrop.Octets(index));
        }
        else
        {
            replies.Write(id[..idBytes]);
        }
        replies.WriteLineEnd();
        return true;
    }

    private void Retr(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!TryFind(argument, out var index, ref replies)
            || !TryOpen(Pop3Verb.Retr, index, out var content, ref replies))
        {
            return;
        }
        WriteRetrLine(index, ref replies);
        Send(content, content.Wire.Length);
    }

    /// <summary>
    /// Sends the content, or this part of it, up to that length, and notes what must come behind it. If nothing must,
    /// the terminator that is stored leaves together with the last line.
    /// </summary>
    private void Send(in MessageContent content, int length)
    {
        var text = Math.Max(content.Wire.Length + content.RestBytes - ".\r\n".Length, 0);
        _owed = length < content.Wire.Length ? Owed.Terminator : Owed.Nothing;
        if (content.LacksEndOfHeader && length >= text)
        {
            length = (int)text;
            _owed = Owed.EndOfHeader;
        }
        Body = content.Wire[..length];
    }

    private void WriteRetrLine(int index, ref ReplyWriter replies)
    {
        replies.Write("+OK "u8);
        replies.WriteNumber(View.Maildrop.Octets(index));
        replies.Write(" octets\r\n"u8);
    }

    private void Dele(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        if (!TryFind(argument, out var index, ref replies))
        {
            return;
        }
        View.Mark(index);
        replies.Write("+OK message "u8);
        replies.WriteNumber(index + 1);
        replies.Write(" deleted\r\n"u8);
    }

    private void Rset(ref ReplyWriter replies)
    {
        View.Unmark();
        WriteMaildropLine(ref replies);
    }

    /// <summary><c>TOP msg n</c>: the header section, the empty line and n lines of the body.</summary>
    private void Top(ReadOnlySpan<byte> argument, ref ReplyWriter replies)
    {
        var space = argument.IndexOf((byte)' ');
        if (space < 0 || !StrictDecimal.TryParse(argument[(space + 1)..], out var lines))
        {
            Refuse("-ERR a message-number and a number of lines are expected\r\n"u8, ref replies);
            return;
        }
        if (!TryFind(argument[..space], out var index, ref replies))
        {
            return;
        }
        _topLines = lines;
        if (!TryOpen(Pop3Verb.Top, index, out var content, ref replies))
        {
            return;
        }
        replies.Write(TopLine);
        _topHeaderBytes = content.HeaderWireBytes;
        Send(content, TopBytes(content));
    }

    private static ReadOnlySpan<byte> TopLine => "+OK top of message follows\r\n"u8;

    /// <summary>
    /// How much of the content, or of this part of it, TOP shows: what is left of the header section and of the lines.
    /// </summary>
    private int TopBytes(in MessageContent content)
    {
        var wire = content.Wire.Span;
        var end = (int)Math.Min(_topHeaderBytes, wire.Length);
        _topHeaderBytes -= end;
        // The terminator may be split between the last two parts.
        var terminator = (int)Math.Clamp(wire.Length + content.RestBytes - ".\r\n".Length, 0, wire.Length);
        for (; _topLines > 0 && end < terminator; _topLines--)
        {
            var at = wire[end..terminator].IndexOf((byte)'\n'); // content holds CRLF only
            if (at < 0 && terminator == wire.Length && content.RestBytes > 0)
            {
                return wire.Length; // this line goes on in the next part
            }
            end = at < 0 ? terminator : end + at + 1;
        }
        return end < terminator ? end : wire.Length;
    }

    /// <summary>UPDATE is entered from here and from nowhere else; any other end removes nothing.</summary>
    private void Quit(ref ReplyWriter replies)
    {
        if (_state != Pop3State.Transaction || !View.HasMarks)
        {
            AnswerQuit(isRemoved: true, ref replies);
            return;
        }
        _state = Pop3State.Updating;
        View.Maildrop.Remove(View.Marks);
    }

    private void AnswerQuit(bool isRemoved, ref ReplyWriter replies)
    {
        if (isRemoved)
        {
            replies.Write("+OK FastMail POP3 signing off\r\n"u8);
        }
        else
        {
            replies.Write("-ERR [SYS/TEMP] some deleted messages not removed\r\n"u8);
        }
        Abandon();
    }

    /// <summary>A message-number that is not marked; answers when there is none.</summary>
    private bool TryFind(ReadOnlySpan<byte> argument, out int index, ref ReplyWriter replies)
    {
        index = -1;
        if (!StrictDecimal.TryParse(argument, out var number))
        {
            Refuse("-ERR a message-number is expected\r\n"u8, ref replies);
            return false;
        }
        if (number == 0 || number > View.Count)
        {
            replies.Write("-ERR no such message\r\n"u8);
            return false;
        }
        index = (int)number - 1;
        if (View.IsMarked(index))
        {
            replies.Write("-ERR message "u8);
            replies.WriteNumber(number);
            replies.Write(" already deleted\r\n"u8);
            return false;
        }
        return true;
    }

    private bool TryOpen(Pop3Verb verb, int index, out MessageContent content, ref ReplyWriter replies)
    {
        var status = View.Maildrop.TryOpen(index, out content);
        if (status == ContentStatus.Pending)
        {
            _large = verb;
            _largeIndex = index;
            _hasPart = false;
            _isAnswered = false;
            _isEnded = false;
        }
        else if (status != ContentStatus.Ok)
        {
            RefuseContent(status, ref replies);
        }
        else if (IsRefusedUtf8(content))
        {
            replies.Write(NeedsUtf8);
            return false;
        }
        return status == ContentStatus.Ok;
    }

    private static ReadOnlySpan<byte> NeedsUtf8 => "-ERR [UTF8] the message needs a client that says UTF8\r\n"u8;

    private bool IsRefusedUtf8(in MessageContent content) => content.IsUtf8 && !_isUtf8 && _options.IsStrictUtf8;

    private static void RefuseContent(ContentStatus status, ref ReplyWriter replies) =>
        replies.Write(status switch
        {
            ContentStatus.Damaged => "-ERR [SYS/PERM] the message is damaged\r\n"u8,
            ContentStatus.Gone => "-ERR the message has been removed\r\n"u8,
            _ => "-ERR [SYS/TEMP] the message cannot be read now\r\n"u8,
        });
}
