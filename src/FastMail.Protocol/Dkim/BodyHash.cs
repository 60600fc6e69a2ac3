using System.Security.Cryptography;

namespace FastMail.Protocol.Dkim;

/// <summary>
/// Canonicalizes a body as it passes (RFC 6376 3.4.3 and 3.4.4) and hashes it. Cuts do not matter, and what it holds does
/// not grow. Owned by a <see cref="DkimSigner"/>, entered by its thread.
/// </summary>
internal sealed class BodyHash : IDisposable
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private readonly byte[] _buffer = new byte[16 * 1024];
    private readonly bool _isRelaxed;
    private int _filled;
    private long _emptyLines; // so far at the end; they count only when something follows
    private bool _isEmpty;
    private bool _hasText; // in the current line
    private bool _hasBlank; // relaxed: blanks that count as one when text follows them in their line
    private bool _isAfterCr;

    public BodyHash(DkimCanonicalization form) => _isRelaxed = form == DkimCanonicalization.Relaxed;

    public void Begin()
    {
        _hash.TryGetHashAndReset(stackalloc byte[SHA256.HashSizeInBytes], out _);
        _filled = 0;
        _emptyLines = 0;
        _isEmpty = true;
        _hasText = false;
        _hasBlank = false;
        _isAfterCr = false;
    }

    /// <summary>The next run of the body without dot-stuffing.</summary>
    public void Take(ReadOnlySpan<byte> text)
    {
        while (!text.IsEmpty)
        {
            if (_isAfterCr)
            {
                _isAfterCr = false;
                if (text[0] == '\n')
                {
                    EndLine();
                    text = text[1..];
                    continue;
                }
                PutText("\r"u8);
            }
            var plain = _isRelaxed ? text.IndexOfAny((byte)'\r', (byte)' ', (byte)'\t') : text.IndexOf((byte)'\r');
            plain = plain < 0 ? text.Length : plain;
            if (plain > 0)
            {
                PutText(text[..plain]);
            }
            if (plain < text.Length)
            {
                _isAfterCr = text[plain] == '\r';
                _hasBlank |= !_isAfterCr;
                plain++;
            }
            text = text[plain..];
        }
    }

    /// <summary>The end of the body.</summary>
    /// <param name="destination">32 octets.</param>
    public void End(Span<byte> destination)
    {
        if (_isAfterCr)
        {
            PutText("\r"u8);
        }
        if (_hasText || (_isEmpty && !_isRelaxed))
        {
            Put("\r\n"u8); // a line without end gets one; an empty body is one empty line, and nothing when relaxed
        }
        Flush();
        _hash.GetHashAndReset(destination);
    }

    public void Dispose() => _hash.Dispose();

    private void EndLine()
    {
        _hasBlank = false; // at the end of a line
        if (_hasText)
        {
            Put("\r\n"u8);
            _hasText = false;
        }
        else
        {
            _emptyLines++;
        }
    }

    private void PutText(ReadOnlySpan<byte> text)
    {
        for (; _emptyLines > 0; _emptyLines--)
        {
            Put("\r\n"u8);
        }
        if (_hasBlank)
        {
            Put(" "u8);
            _hasBlank = false;
        }
        Put(text);
        _hasText = true;
        _isEmpty = false;
    }

    private void Put(ReadOnlySpan<byte> text)
    {
        if (text.Length > _buffer.Length - _filled)
        {
            Flush();
        }
        if (text.Length > _buffer.Length)
        {
            _hash.AppendData(text);
            return;
        }
        text.CopyTo(_buffer.AsSpan(_filled));
        _filled += text.Length;
    }

    private void Flush()
    {
        _hash.AppendData(_buffer.AsSpan(0, _filled));
        _filled = 0;
    }
}
