using System.Runtime.InteropServices;

namespace FastMail.LoadTest.Messages;

/// <summary>
/// A seeded run of lines from which every body is cut: kept twice, as content and in wire form (dot-stuffed), so a
/// message costs no generation, no stuffing and no copy. A body is whole lines from a start line on, going round at
/// the end, then filler up to its exact size. Immutable and pinned; any thread.
/// </summary>
internal sealed unsafe class BodyText
{
    /// <summary>Octets of a text line without CRLF that RFC 5322 2.1.1 allows.</summary>
    internal const int LongestLine = 998;

    private const int LongestLineWithEnd = LongestLine + 2;

    private readonly byte[] _content;
    private readonly byte[] _wire;
    private readonly byte[] _filler;
    private readonly int[] _contentStart; // of line i, one more entry than lines
    private readonly int[] _wireStart;

    internal BodyText(ulong seed, int octets, bool eightBit)
    {
        var random = new Random((int)(seed ^ (seed >> 32)));
        List<byte> content = [];
        List<byte> wire = [];
        List<int> contentStart = [];
        List<int> wireStart = [];
        Span<byte> line = stackalloc byte[LongestLine];
        while (content.Count < octets)
        {
            contentStart.Add(content.Count);
            wireStart.Add(wire.Count);
            int length = MakeLine(random, line, eightBit);
            content.AddRange(line[..length]);
            content.AddRange("\r\n"u8);
            if (length > 0 && line[0] == (byte)'.')
            {
                wire.Add((byte)'.');
            }

            wire.AddRange(line[..length]);
            wire.AddRange("\r\n"u8);
        }

        contentStart.Add(content.Count);
        wireStart.Add(wire.Count);
        _contentStart = [.. contentStart];
        _wireStart = [.. wireStart];
        _content = Pin([.. content]);
        _wire = Pin([.. wire]);
        _filler = GC.AllocateArray<byte>(LongestLineWithEnd, pinned: true);
        _filler.AsSpan().Fill((byte)'x');
        "\r\n"u8.CopyTo(_filler.AsSpan(LongestLine));
    }

    internal int Lines => _contentStart.Length - 1;

    internal int Octets => _content.Length;

    /// <summary>No body needs more pieces than this.</summary>
    internal int PiecesFor(long bodyOctets) => (int)(bodyOctets / _content.Length) + 4;

    /// <summary>
    /// Cuts a body of 0 or at least 2 octets into pieces of pinned memory, in wire form or as content; returns their
    /// number. The last piece ends with CRLF.
    /// </summary>
    internal int Cut(int startLine, long octets, bool wireForm, Span<BodyPiece> pieces)
    {
        ArgumentOutOfRangeException.ThrowIfEqual(octets, 1);
        byte[] text = wireForm ? _wire : _content;
        int[] starts = wireForm ? _wireStart : _contentStart;
        int count = 0;
        int line = startLine;
        long left = octets;
        while (left > 0)
        {
            int end = EndOfWholeLines(line, left);
            if (end > line)
            {
                pieces[count++] = PieceOf(text, starts[line], starts[end] - starts[line]);
                left -= _contentStart[end] - _contentStart[line];
            }

            if (end < Lines)
            {
                count += CutFiller((int)left, pieces[count..]);
                return count;
            }

            line = 0;
        }

        return count;
    }

    /// <summary>The line after the last one that fits whole, leaving a rest of 0 or at least a CRLF.</summary>
    private int EndOfWholeLines(int line, long octets)
    {
        int[] starts = _contentStart;
        long limit = starts[line] + octets;
        if (limit == starts[Lines] || limit >= starts[Lines] + 2)
        {
            return Lines;
        }

        int found = Array.BinarySearch(starts, line, Lines + 1 - line, (int)limit);
        int end = found >= 0 ? found : ~found - 1;
        return limit - starts[end] == 1 ? end - 1 : end;
    }

    private int CutFiller(int octets, Span<BodyPiece> pieces)
    {
        if (octets == 0)
        {
            return 0;
        }

        if (octets <= LongestLineWithEnd)
        {
            pieces[0] = PieceOf(_filler, LongestLineWithEnd - octets, octets);
            return 1;
        }

        // One octet over the longest line: giving a line back left room for two.
        int first = octets / 2;
        pieces[0] = PieceOf(_filler, LongestLineWithEnd - first, first);
        pieces[1] = PieceOf(_filler, LongestLineWithEnd - (octets - first), octets - first);
        return 2;
    }

    // Sorts of line that have broken servers: leading dots, a lone dot, empty, as long as allowed, mbox "From ".
    private static int MakeLine(Random random, Span<byte> line, bool eightBit)
    {
        int length = random.Next(100) switch
        {
            < 4 => 0,
            < 88 => random.Next(20, 77),
            < 98 => random.Next(1, 200),
            < 99 => random.Next(500, LongestLine),
            _ => LongestLine,
        };
        for (int i = 0; i < length; i++)
        {
            line[i] = eightBit && random.Next(10) == 0 ? (byte)random.Next(0x80, 0x100)
                : i % 7 == 6 ? (byte)' '
                : (byte)random.Next('a', 'z' + 1);
        }

        switch (random.Next(40))
        {
            case 0:
                line[0] = (byte)'.';
                return 1;
            case 1:
                ".."u8.CopyTo(line);
                return 2;
            case 2 or 3 when length > 0:
                line[0] = (byte)'.';
                return length;
            case 4 when length >= 5:
                "From "u8.CopyTo(line);
                return length;
            default:
                return length;
        }
    }

    private static byte[] Pin(byte[] octets)
    {
        byte[] pinned = GC.AllocateUninitializedArray<byte>(octets.Length, pinned: true);
        octets.CopyTo(pinned, 0);
        return pinned;
    }

    private static BodyPiece PieceOf(byte[] pinned, int start, int length)
    {
        fixed (byte* memory = pinned)
        {
            return new BodyPiece(memory + start, length);
        }
    }
}

/// <summary>A view of pinned memory that lives as long as the <see cref="BodyText"/> it was cut from.</summary>
[StructLayout(LayoutKind.Auto)]
internal readonly unsafe struct BodyPiece(byte* start, int length)
{
    internal readonly byte* Start = start;
    internal readonly int Length = length;

    internal ReadOnlySpan<byte> Octets => new(Start, Length);
}
