namespace FastMail.Protocol.Mime;

/// <summary>
/// The boundaries of the multiparts that are open, the innermost last (RFC 2046 5.1). Owner of their octets, which are
/// bounded. Belongs to one <see cref="BinaryConversion"/>.
/// </summary>
internal sealed class MimeBoundaries
{
    /// <summary>
    /// Longest boundary that is taken, octets (RFC 2046 5.1.1: 70).
    /// </summary>
    public const int MostOctets = 200;

    /// <summary>Multiparts in each other; nothing honest comes near.</summary>
    public const int MostDepth = 64;

    private readonly byte[] _octets = new byte[(MostDepth + 1) * MostOctets];
    private readonly int[] _ends = new int[MostDepth + 1];
    private readonly bool[] _isDigest = new bool[MostDepth + 1];
    private int _prepared; // octets of the boundary that the header at hand names; 0 for none

    public int Depth { get; private set; }

    /// <summary>The header section at hand names a boundary.</summary>
    public bool IsPrepared => _prepared > 0;

    public void Clear()
    {
        Depth = 0;
        _prepared = 0;
    }

    /// <summary>Notes the boundary that will count when the header section is over.</summary>
    /// <param name="boundary">1 to <see cref="MostOctets"/> octets.</param>
    /// <param name="isDigest">Parts without Content-Type are messages (RFC 2046 5.1.5).</param>
    public void Prepare(ReadOnlySpan<byte> boundary, bool isDigest)
    {
        boundary.CopyTo(_octets.AsSpan(StartOf(Depth))); // copied: the field is gone after this call
        _prepared = boundary.Length;
        _isDigest[Depth] = isDigest;
    }

    public void Forget() => _prepared = 0;

    /// <summary>The body of the multipart begins. False when that is one too many.</summary>
    public bool TryOpen()
    {
        if (Depth == MostDepth)
        {
            return false;
        }
        _ends[Depth] = StartOf(Depth) + _prepared;
        _prepared = 0;
        Depth++;
        return true;
    }

    /// <summary>
    /// Judges a line, without its CRLF, that begins with two hyphens. A delimiter of an outer multipart ends the inner
    /// ones too. All of the line counts but blanks at its end: one boundary may be the beginning of another.
    /// </summary>
    /// <param name="line">The line.</param>
    /// <param name="isPart">A part follows; otherwise that multipart is over.</param>
    /// <param name="isMessage">The part is a message when it does not say otherwise.</param>
    public bool TryDelimit(ReadOnlySpan<byte> line, out bool isPart, out bool isMessage)
    {
        line = line.TrimEnd(" \t"u8)[2..];
        isPart = isMessage = false;
        for (var at = Depth - 1; at >= 0; at--)
        {
            var boundary = _octets.AsSpan(StartOf(at), _ends[at] - StartOf(at));
            if (!line.StartsWith(boundary))
            {
                continue;
            }
            isPart = line.Length == boundary.Length;
            if (isPart || line[boundary.Length..].SequenceEqual("--"u8))
            {
                isMessage = isPart && _isDigest[at];
                Depth = isPart ? at + 1 : at;
                return true;
            }
        }
        return false;
    }

    private int StartOf(int depth) => depth == 0 ? 0 : _ends[depth - 1];
}
