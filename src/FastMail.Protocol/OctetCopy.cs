namespace FastMail.Protocol;

/// <summary>
/// Octets that must outlive the call that brought them. Empty it holds no memory, so that a connection that has said
/// nothing costs nothing; what it has grown to it keeps, so that a session in steady state allocates nothing. A field
/// of its one owner, never copied; entered by the owner's thread.
/// </summary>
public struct OctetCopy
{
    private const int Step = 16; // octets; what many connections hold at once, the name a client gives, is often that short

    private byte[]? _octets;

    /// <summary>Octets held.</summary>
    public int Length { get; private set; }

    /// <summary>A view that dies with the next <see cref="Set"/>.</summary>
    public readonly ReadOnlySpan<byte> Span => _octets.AsSpan(0, Length);

    /// <summary>Copies these in place of what was held.</summary>
    public void Set(ReadOnlySpan<byte> octets) => octets.CopyTo(Take(octets.Length));

    /// <summary>Room for so many octets in place of what was held; the caller writes all of them.</summary>
    public Span<byte> Take(int length)
    {
        if (length > (_octets?.Length ?? 0))
        {
            _octets = new byte[(length + Step - 1) / Step * Step];
        }
        Length = length;
        return _octets.AsSpan(0, length);
    }

    /// <summary>Holds nothing, and keeps its memory.</summary>
    public void Clear() => Length = 0;
}
