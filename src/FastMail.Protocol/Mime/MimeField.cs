using System.Buffers;

namespace FastMail.Protocol.Mime;

/// <summary>What a body is made of, as far as it matters to who must find the leaves.</summary>
internal enum MimeKind
{
    /// <summary>Anything that is not composite, and what cannot be understood (RFC 2045 5.2).</summary>
    Leaf,
    Multipart,

    /// <summary>message/rfc822 and message/global: another header section and its body.</summary>
    Message,

    /// <summary>Other kinds of message: lines, which may not be encoded (RFC 2046 5.2).</summary>
    Lines,
}

/// <summary>Content-Transfer-Encoding (RFC 2045 6).</summary>
internal enum MimeEncoding
{
    /// <summary>7bit, 8bit, or not said.</summary>
    Lines,
    Binary,

    /// <summary>base64, quoted-printable, or a word nobody knows: what is in it cannot be seen.</summary>
    Encoded,
}

/// <summary>
/// Reads the two fields that say what a body is (RFC 2045 5.1, 6.1), step by step. A view that dies with the call; never
/// throws, has no opinion.
/// </summary>
internal ref struct MimeField
{
    private static readonly SearchValues<byte> EndsOfPlain = SearchValues.Create(" \t\r\n;("u8);

    private ReadOnlySpan<byte> _rest;

    /// <param name="value">All behind the colon, with its line ends.</param>
    private MimeField(ReadOnlySpan<byte> value) => _rest = value;

    /// <summary><c>mechanism</c>, where comments may stand around it.</summary>
    public static MimeEncoding ReadEncoding(ReadOnlySpan<byte> value)
    {
        var field = new MimeField(value);
        var word = field.TakeToken();
        return AsciiWord.Is(word, "binary"u8) ? MimeEncoding.Binary
            : word.IsEmpty || AsciiWord.Is(word, "7bit"u8) || AsciiWord.Is(word, "8bit"u8) ? MimeEncoding.Lines
            : MimeEncoding.Encoded;
    }

    /// <summary><c>type "/" subtype *(";" parameter)</c></summary>
    /// <param name="value">All behind the colon, with its line ends.</param>
    /// <param name="boundary">Room for the boundary of a multipart; one that is longer is cut.</param>
    /// <param name="length">Octets of the boundary; 0 when there is none.</param>
    /// <param name="isDigest">It is multipart/digest.</param>
    public static MimeKind ReadType(ReadOnlySpan<byte> value, Span<byte> boundary, out int length, out bool isDigest)
    {
        var field = new MimeField(value);
        length = 0;
        isDigest = false;
        var type = field.TakeToken();
        if (!field.TryTake((byte)'/'))
        {
            return MimeKind.Leaf;
        }
        var subtype = field.TakeToken();
        if (AsciiWord.Is(type, "message"u8))
        {
            return AsciiWord.Is(subtype, "rfc822"u8) || AsciiWord.Is(subtype, "global"u8) ? MimeKind.Message
                : MimeKind.Lines;
        }
        if (!AsciiWord.Is(type, "multipart"u8))
        {
            return MimeKind.Leaf;
        }
        isDigest = AsciiWord.Is(subtype, "digest"u8);
        while (length == 0 && field.TrySkipToParameter())
        {
            var isBoundary = AsciiWord.Is(field.TakeToken(), "boundary"u8);
            if (field.TryTake((byte)'='))
            {
                var taken = field.TakeValue(boundary);
                length = isBoundary ? boundary[..taken].TrimEnd(" \t"u8).Length : 0; // RFC 2046 5.1.1: ends with no blank
            }
        }
        return MimeKind.Multipart;
    }

    private bool TryTake(byte octet)
    {
        SkipBlanksAndComments();
        if (_rest.IsEmpty || _rest[0] != octet)
        {
            return false;
        }
        _rest = _rest[1..];
        return true;
    }

    private ReadOnlySpan<byte> TakeToken()
    {
        SkipBlanksAndComments();
        var end = 0;
        while (end < _rest.Length && IsTokenOctet(_rest[end]))
        {
            end++;
        }
        var token = _rest[..end];
        _rest = _rest[end..];
        return token;
    }

    /// <summary>
    /// <c>token / quoted-string</c>; without quotes everything up to a blank or the next parameter, because the = that
    /// many boundaries hold would have to be quoted and is not. Returns the octets written, at most what fits.
    /// </summary>
    private int TakeValue(Span<byte> value)
    {
        SkipBlanksAndComments();
        if (_rest.StartsWith("\""u8))
        {
            _rest = _rest[1..];
            return TakeQuoted(value);
        }
        var end = _rest.IndexOfAny(EndsOfPlain);
        var plain = end < 0 ? _rest : _rest[..end];
        _rest = _rest[plain.Length..];
        plain = plain[..Math.Min(plain.Length, value.Length)];
        plain.CopyTo(value);
        return plain.Length;
    }

    /// <summary>Up to the closing quote; a backslash goes, and so do line ends.</summary>
    private int TakeQuoted(Span<byte> value)
    {
        var written = 0;
        while (!_rest.IsEmpty)
        {
            var octet = _rest[0];
            _rest = _rest[1..];
            if (octet == '"')
            {
                break;
            }
            if (octet == '\\' && !_rest.IsEmpty)
            {
                octet = _rest[0];
                _rest = _rest[1..];
            }
            if (octet is not ((byte)'\r' or (byte)'\n') && written < value.Length)
            {
                value[written++] = octet;
            }
        }
        return written;
    }

    /// <summary>To behind the next semicolon that is in no quotes and no comment.</summary>
    private bool TrySkipToParameter()
    {
        while (true)
        {
            SkipBlanksAndComments();
            if (_rest.IsEmpty)
            {
                return false;
            }
            var octet = _rest[0];
            _rest = _rest[1..];
            if (octet == ';')
            {
                return true;
            }
            if (octet == '"')
            {
                TakeQuoted(default);
            }
        }
    }

    /// <summary>Comments may hold comments; counted, because hostile ones are deep.</summary>
    private void SkipBlanksAndComments()
    {
        var depth = 0;
        var at = 0;
        for (; at < _rest.Length; at++)
        {
            var octet = _rest[at];
            if (octet == '(')
            {
                depth++;
            }
            else if (depth > 0)
            {
                at += octet == '\\' ? 1 : 0;
                depth -= octet == ')' ? 1 : 0;
            }
            else if (octet is not ((byte)' ' or (byte)'\t' or (byte)'\r' or (byte)'\n'))
            {
                break;
            }
        }
        _rest = _rest[Math.Min(at, _rest.Length)..];
    }

    /// <summary>Neither blank nor control nor tspecial (RFC 2045 5.1).</summary>
    private static bool IsTokenOctet(byte octet) =>
        octet is > 32 and < 127 && !"()<>@,;:\\\"/[]?="u8.Contains(octet);
}
