using System.Buffers;
using FastMail.Storage;

namespace FastMail.Server.Maildrops;

/// <summary>
/// Turns the text of a message into wire form while it is written into a record: every CRLF, bare LF and bare CR ends
/// a line, a last line without an end gets one, dots at line starts are doubled. Nothing else is changed. Owned by
/// whoever builds the record; its thread.
/// </summary>
internal sealed class WireWriter
{
    private const int LongestLine = 998; // RFC 5321 4.5.3.1.6

    private readonly PendingMessage _message;
    private long _octets;
    private long _wireBytes;
    private long _headerWireBytes = -1;
    private long _lineOctets;
    private bool _hasCr;
    private MessageFlags _flags;

    public WireWriter(PendingMessage message) => _message = message;

    /// <summary>A NUL was seen: mail has none (RFC 5321 4.5.2 of content), so these octets are damaged.</summary>
    public bool HasNul { get; private set; }

    public void Write(ReadOnlySpan<byte> text)
    {
        HasNul |= text.Contains((byte)0);
        while (!text.IsEmpty)
        {
            if (_hasCr)
            {
                _hasCr = false;
                EndLine();
                text = text[0] == '\n' ? text[1..] : text;
                continue;
            }

            int end = text.IndexOfAny((byte)'\r', (byte)'\n');
            if (end != 0)
            {
                AddToLine(end < 0 ? text : text[..end]);
            }

            if (end < 0)
            {
                return;
            }

            _hasCr = text[end] == '\r';
            if (!_hasCr)
            {
                EndLine();
            }

            text = text[(end + 1)..];
        }
    }

    /// <summary>Ends the body. The record can be sealed with what this answers.</summary>
    public BodyFacts End()
    {
        if (_hasCr || _lineOctets > 0)
        {
            EndLine();
        }

        if (_headerWireBytes < 0)
        {
            _headerWireBytes = _wireBytes;
            _flags |= MessageFlags.NoEndOfHeader;
        }

        _message.AppendBody(".\r\n"u8);
        return new BodyFacts { Octets = _octets, HeaderWireBytes = _headerWireBytes, Flags = _flags };
    }

    private void AddToLine(ReadOnlySpan<byte> run)
    {
        if (_lineOctets == 0 && run[0] == '.')
        {
            _message.AppendBody("."u8);
            _wireBytes++;
        }

        _message.AppendBody(run);
        _wireBytes += run.Length;
        _octets += run.Length;
        _lineOctets += run.Length;
        _flags |= run.ContainsAnyInRange((byte)0x80, (byte)0xFF) ? MessageFlags.Has8Bit : MessageFlags.None;
    }

    private void EndLine()
    {
        _message.AppendBody("\r\n"u8);
        _wireBytes += 2;
        _octets += 2;
        if (_lineOctets == 0 && _headerWireBytes < 0)
        {
            _headerWireBytes = _wireBytes;
        }

        _flags |= _lineOctets > LongestLine ? MessageFlags.LongLine : MessageFlags.None;
        _lineOctets = 0;
    }
}

/// <summary>
/// Turns wire form back into the text of a message, run by run: stuffed dots go; the end of data is left out by the
/// caller. A value; owned by whoever reads the message.
/// </summary>
internal struct WireReader
{
    /// <summary>Octets behind the text of every stored message: <c>.CRLF</c>.</summary>
    public const int EndBytes = 3;

    private bool _isWithinLine;

    /// <summary>Writes the text of the next run; lines end with CRLF.</summary>
    public void Copy(ReadOnlySpan<byte> wire, IBufferWriter<byte> text)
    {
        while (!wire.IsEmpty)
        {
            if (!_isWithinLine && wire[0] == '.')
            {
                wire = wire[1..];
                _isWithinLine = true;
                continue;
            }

            int feed = wire.IndexOf("\n."u8); // LF comes behind CR only
            int length = feed < 0 ? wire.Length : feed + 1;
            text.Write(wire[..length]);
            _isWithinLine = wire[length - 1] != '\n';
            wire = wire[length..];
        }
    }
}
