using System.Buffers.Text;
using System.Runtime.CompilerServices;

namespace FastMail.Protocol.Mime;

/// <summary>
/// Encodes octets as base64 in lines of 76 (RFC 2045 6.8) while they pass; cuts do not matter. CRLF stands between the
/// lines and not behind the last: what ends it belongs to whatever follows. A field of its one owner.
/// </summary>
internal struct Base64Lines
{
    private const int OctetsOfLine = 57;
    private const int TextOfLine = 76;

    private Line _line; // octets that do not fill a line yet
    private int _length;
    private bool _hasLines;

    /// <param name="octets">What is to be encoded.</param>
    /// <param name="text">Room to work in, at least two lines.</param>
    /// <param name="output">Gets every line as soon as it is full.</param>
    public void Take(ReadOnlySpan<byte> octets, Span<byte> text, IContentRuns output)
    {
        Span<byte> line = _line;
        var written = 0;
        while (_length + octets.Length >= OctetsOfLine)
        {
            if (_length == 0)
            {
                written += Write(octets[..OctetsOfLine], text[written..]);
                octets = octets[OctetsOfLine..];
            }
            else
            {
                var missing = OctetsOfLine - _length;
                octets[..missing].CopyTo(line[_length..]); // copied: a line may be cut in two by a segment edge
                written += Write(line, text[written..]);
                octets = octets[missing..];
                _length = 0;
            }
            if (text.Length - written < TextOfLine + 2)
            {
                output.Take(text[..written]);
                written = 0;
            }
        }
        if (written > 0)
        {
            output.Take(text[..written]);
        }
        octets.CopyTo(line[_length..]); // copied: the receive buffer is reused after this call
        _length += octets.Length;
    }

    /// <summary>Writes the line that is not full; the next octets begin anew.</summary>
    public void End(Span<byte> text, IContentRuns output)
    {
        if (_length > 0)
        {
            Span<byte> line = _line;
            output.Take(text[..Write(line[.._length], text)]);
        }
        _length = 0;
        _hasLines = false;
    }

    private int Write(ReadOnlySpan<byte> octets, Span<byte> text)
    {
        var start = 0;
        if (_hasLines)
        {
            "\r\n"u8.CopyTo(text);
            start = 2;
        }
        _hasLines = true;
        Base64.EncodeToUtf8(octets, text[start..], out _, out var written);
        return start + written;
    }

    [InlineArray(OctetsOfLine)]
    private struct Line
    {
        private byte _first;
    }
}
