namespace FastMail.Protocol.Notifications;

/// <summary>
/// Encodes text as quoted-printable (RFC 2045 6.7) while it passes; cuts do not matter. No line it writes begins with a
/// dot. A field of its one owner; entered by the owner's thread.
/// </summary>
internal struct QuotedPrintable
{
    private const int LineOctets = 76; // with the = of a soft line break

    private int _column;
    private byte _blank; // one that may turn out to stand at the end of a line, where it would be lost; 0 for none
    private bool _isAfterCr;

    public void Encode(ReadOnlySpan<byte> text, WireOutput output)
    {
        foreach (var octet in text)
        {
            if (_isAfterCr)
            {
                _isAfterCr = false;
                if (octet == '\n')
                {
                    EndLine(output);
                    continue;
                }
                PutBlank(output);
                PutCode((byte)'\r', output);
            }
            if (octet == '\r')
            {
                _isAfterCr = true;
                continue;
            }
            PutBlank(output);
            if (octet is (byte)' ' or (byte)'\t')
            {
                _blank = octet;
            }
            else
            {
                Put(octet, output);
            }
        }
    }

    /// <summary>Writes what was held back; the next text begins anew.</summary>
    public void End(WireOutput output)
    {
        if (_blank != 0)
        {
            PutCode(_blank, output);
        }
        if (_isAfterCr)
        {
            PutCode((byte)'\r', output);
        }
        this = default;
    }

    private void EndLine(WireOutput output)
    {
        if (_blank != 0)
        {
            PutCode(_blank, output);
            _blank = 0;
        }
        output.WritePlain("\r\n"u8);
        _column = 0;
    }

    private void PutBlank(WireOutput output)
    {
        if (_blank != 0)
        {
            var blank = _blank;
            _blank = 0;
            MakeRoom(1, output);
            output.WritePlain([blank]);
            _column++;
        }
    }

    private void Put(byte octet, WireOutput output)
    {
        var isPlain = octet is >= 33 and <= 126 and not (byte)'=';
        if (isPlain)
        {
            MakeRoom(1, output);
        }
        if (!isPlain || (_column == 0 && octet == '.'))
        {
            PutCode(octet, output);
            return;
        }
        output.WritePlain([octet]);
        _column++;
    }

    private void PutCode(byte octet, WireOutput output)
    {
        MakeRoom(3, output);
        output.WritePlain([(byte)'=', HexDigit(octet >> 4), HexDigit(octet & 15)]);
        _column += 3;
    }

    private void MakeRoom(int octets, WireOutput output)
    {
        if (_column + octets >= LineOctets)
        {
            output.WritePlain("=\r\n"u8);
            _column = 0;
        }
    }

    private static byte HexDigit(int value) => "0123456789ABCDEF"u8[value];
}
