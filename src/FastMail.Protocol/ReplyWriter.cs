using System.Buffers.Text;

namespace FastMail.Protocol;

/// <summary>
/// Writes replies of both protocols into the caller's span. Lives on the stack for one call of a session. The session
/// asks <see cref="Fits"/> before it consumes a command, so a write that does not fit is our mistake and throws.
/// </summary>
internal ref struct ReplyWriter(Span<byte> destination)
{
    private readonly Span<byte> _destination = destination;

    /// <summary>Octets written so far.</summary>
    public int Written { get; private set; }

    public readonly bool Fits(int octets) => _destination.Length - Written >= octets;

    public void Write(scoped ReadOnlySpan<byte> text)
    {
        text.CopyTo(_destination[Written..]);
        Written += text.Length;
    }

    public void Write(byte octet) => _destination[Written++] = octet;

    public void WriteNumber(long number)
    {
        if (!Utf8Formatter.TryFormat(number, _destination[Written..], out var length))
        {
            throw new InvalidOperationException("A reply was begun without room for it.");
        }
        Written += length;
    }

    public void WriteLineEnd() => Write("\r\n"u8);

    /// <summary>
    /// The rest of the destination, for a writer of its own; report its length to <see cref="Advance"/>.
    /// </summary>
    public readonly Span<byte> Rest => _destination[Written..];

    public void Advance(int octets)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan((uint)octets, (uint)(_destination.Length - Written));
        Written += octets;
    }
}
