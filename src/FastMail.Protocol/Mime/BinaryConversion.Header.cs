namespace FastMail.Protocol.Mime;

/// <summary>
/// Header sections, of the message and of its parts. Fields pass as they come; only Content-Transfer-Encoding is held
/// back where it says binary, and written anew at the end of the section, when it is known what the body is.
/// </summary>
internal sealed partial class BinaryConversion
{
    private bool _isMessage; // with a header section of its own, in which MIME-Version says whether it is MIME
    private bool _hasMimeVersion;
    private bool _isMalformed;
    private bool _hasType;
    private bool _hasEncoding;
    private MimeKind _kind;
    private MimeEncoding _encoding;
    private Field _current;
    private int _fieldLength;
    private bool _isRestOfLine; // of one that is too long to be held
    private bool _isRestAfterCr;

    private enum Field
    {
        Other,
        Type,
        Encoding,
    }

    /// <param name="isMessage">Of a message, not of a part.</param>
    /// <param name="isMessageByDefault">The body is a message when nothing else is said.</param>
    private void BeginHeader(bool isMessage, bool isMessageByDefault)
    {
        _place = Place.Header;
        _boundaries.Forget();
        _isMessage = isMessage;
        _hasMimeVersion = false;
        _isMalformed = false;
        _hasType = false;
        _hasEncoding = false;
        _kind = isMessageByDefault ? MimeKind.Message : MimeKind.Leaf;
        _encoding = MimeEncoding.Lines;
        _current = Field.Other;
        _isRestOfLine = false;
        _fieldLength = 0;
    }

    private void TakeHeader(ref ReadOnlySpan<byte> raw, IContentRuns output)
    {
        if (_isRestOfLine)
        {
            TakeRestOfLine(ref raw, output);
            return;
        }
        switch (HoldLine(ref raw))
        {
            case Held.Part:
                return;
            case Held.TooLong:
                TakeFieldLine(output);
                _isRestOfLine = Flaw == MimeFlaw.None;
                return;
            default:
                if (_heldLength > 1 && _held[_heldLength - 2] == '\r')
                {
                    TakeHeaderLine(output);
                }
                return; // a bare LF ends no line
        }
    }

    private void TakeRestOfLine(ref ReadOnlySpan<byte> raw, IContentRuns output)
    {
        var end = raw.IndexOf((byte)'\n') + 1;
        var part = end > 0 ? raw[..end] : raw;
        raw = raw[part.Length..];
        var isAfterCr = part.Length > 1 ? part[^2] == '\r' : _isRestAfterCr;
        _isRestAfterCr = part[^1] == '\r';
        _isRestOfLine = !(end > 0 && isAfterCr);
        output.Take(part);
    }

    private void TakeHeaderLine(IContentRuns output)
    {
        ReadOnlySpan<byte> line = _held.AsSpan(0, _heldLength - 2);
        if (line.StartsWith("--"u8) && _boundaries.TryDelimit(line, out var isPart, out var isMessage))
        {
            EndHeader(output); // a part may have a header section and nothing else (RFC 2046 5.1.1)
            Release(output);
            Enter(isPart, isMessage);
        }
        else if (line.IsEmpty)
        {
            EndHeader(output);
            Release(output);
            EnterBody();
        }
        else
        {
            TakeFieldLine(output);
        }
    }

    /// <summary>The line that is held: of a new field, of the one before, or of none.</summary>
    private void TakeFieldLine(IContentRuns output)
    {
        ReadOnlySpan<byte> line = _held.AsSpan(0, _heldLength);
        if (line[0] is not ((byte)' ' or (byte)'\t'))
        {
            EndField(output);
            var name = line[..Math.Max(line.IndexOf((byte)':'), 0)].TrimEnd(" \t"u8);
            _current = AsciiWord.Is(name, "Content-Type"u8) ? Field.Type
                : AsciiWord.Is(name, "Content-Transfer-Encoding"u8) ? Field.Encoding
                : Field.Other;
            _hasMimeVersion |= AsciiWord.Is(name, "MIME-Version"u8);
        }
        if (_current != Field.Other)
        {
            if (_fieldLength + line.Length > _field.Length || !line.EndsWith("\r\n"u8))
            {
                Flaw = MimeFlaw.Header;
                return;
            }
            line.CopyTo(_field.AsSpan(_fieldLength)); // copied: a field may have several lines
            _fieldLength += line.Length;
        }
        _isRestAfterCr = line[^1] == '\r';
        if (_current == Field.Encoding)
        {
            _heldLength = 0; // passes when its end has been seen, or is written anew
        }
        else
        {
            Release(output);
        }
    }

    private void EndField(IContentRuns output)
    {
        ReadOnlySpan<byte> field = _field.AsSpan(0, _fieldLength);
        _fieldLength = 0;
        if (_current == Field.Type)
        {
            _isMalformed |= _hasType;
            _hasType = true;
            ReadType(ValueOf(field));
        }
        else if (_current == Field.Encoding)
        {
            _isMalformed |= _hasEncoding;
            _hasEncoding = true;
            _encoding = MimeField.ReadEncoding(ValueOf(field));
            if (_encoding != MimeEncoding.Binary)
            {
                output.Take(field);
            }
        }
        _current = Field.Other;
    }

    private void ReadType(ReadOnlySpan<byte> value)
    {
        Span<byte> boundary = stackalloc byte[MimeBoundaries.MostOctets + 1];
        _kind = MimeField.ReadType(value, boundary, out var length, out var isDigest);
        _boundaries.Forget();
        if (length > MimeBoundaries.MostOctets)
        {
            _isMalformed = true;
        }
        else if (length > 0)
        {
            _boundaries.Prepare(boundary[..length], isDigest);
        }
    }

    private static ReadOnlySpan<byte> ValueOf(ReadOnlySpan<byte> field) => field[(field.IndexOf((byte)':') + 1)..];

    /// <summary>All fields have been seen. The label comes last: its body decides it.</summary>
    private void EndHeader(IContentRuns output)
    {
        EndField(output);
        var isMime = !_isMessage || _hasMimeVersion;
        if (isMime && _isMalformed)
        {
            Flaw = MimeFlaw.Header; // of two fields readers differ in which counts
            return;
        }
        if (_encoding == MimeEncoding.Binary)
        {
            output.Take("Content-Transfer-Encoding: "u8);
            output.Take(!isMime ? "binary\r\n"u8 : _kind == MimeKind.Leaf ? "base64\r\n"u8 : "8bit\r\n"u8);
        }
        if (!isMime)
        {
            _encoding = MimeEncoding.Lines; // RFC 2045 4: without MIME-Version it is text, whatever else it says
            _kind = MimeKind.Leaf;
        }
    }

    /// <summary>Behind the empty line.</summary>
    private void EnterBody()
    {
        var isOpen = _encoding != MimeEncoding.Encoded; // a composite may not be encoded; one that is stays as it is
        if (isOpen && _kind == MimeKind.Message)
        {
            BeginHeader(isMessage: true, isMessageByDefault: false);
            return;
        }
        if (isOpen && _kind == MimeKind.Multipart && _boundaries.IsPrepared && !_boundaries.TryOpen())
        {
            Flaw = MimeFlaw.Depth;
            return;
        }
        BeginBody(_encoding == MimeEncoding.Binary && _kind == MimeKind.Leaf ? Place.Binary : Place.Lines);
    }

    /// <summary>The content ends within a header section, perhaps within a line of it.</summary>
    private void EndInHeader(IContentRuns output)
    {
        if (_isRestOfLine)
        {
            output.Take("\r\n"u8); // the end of content is the end of its line
        }
        else if (_heldLength > 0)
        {
            "\r\n"u8.CopyTo(_held.AsSpan(_heldLength));
            _heldLength += 2;
            TakeHeaderLine(output);
        }
        if (_place == Place.Header && Flaw == MimeFlaw.None)
        {
            EndHeader(output);
        }
    }
}
