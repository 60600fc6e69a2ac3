using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FastMail.Protocol.Smtp;

/// <summary>
/// Reads content in wire form once and learns everything the server must know of it: where <c>CRLF.CRLF</c> ends it,
/// bare CR, bare LF, NUL, octets above 127, stuffed dots, the end of the header section, over-long lines. Owned by one
/// session and entered by its thread.
/// </summary>
/// <remarks>
/// Works on blocks of 64 octets as bit masks, one bit an octet. What a block must know of the octets before it is
/// carried in a few bits, so a block may end anywhere: the last block of a segment is simply shorter, and nothing
/// depends on segment edges. There is no second, slower state machine that could disagree with the first.
/// </remarks>
internal struct ContentScanner
{
    private const int BlockBytes = 64;

    // 1 when the octet before the block is CR; is LF of a CRLF; is the CR of a line that holds nothing else.
    private ulong _carryCr;
    private ulong _carryLineStart;
    private ulong _carryEmptyCr;

    // Bit 1: a dot at line start right before the block; bit 0: one octet earlier.
    private ulong _carryDots;

    private ulong _bareCr;
    private ulong _bareLf;
    private ulong _nul;
    private ulong _high;
    private long _lineBytes; // of the current line, without a stuffed dot
    private long _dots;
    private long _headerWireBytes;
    private long _longestLine; // with its CRLF; of those that have ended
    private int _headerLines;

    /// <summary>Octets scanned, the end of data included.</summary>
    public long WireBytes { get; private set; }

    /// <summary><c>CRLF.CRLF</c> has been seen.</summary>
    public bool HasEnded { get; private set; }

    /// <summary>A CR without LF or a LF without CR has been seen (RFC 5321 2.3.8).</summary>
    public readonly bool HasBareLineEnd => (_bareCr | _bareLf) != 0;

    /// <summary>A NUL has been seen.</summary>
    public readonly bool HasNul => _nul != 0;

    /// <summary>Content must not be stored.</summary>
    public readonly bool IsFlawed => (_bareCr | _bareLf | _nul) != 0;

    /// <summary>Octets without stuffing and end of data; before the end at most 3 more than what is certain.</summary>
    public readonly long Octets => WireBytes - _dots - (HasEnded ? 2 : 0);

    /// <summary>A line of more than so many octets has been seen, ended or not.</summary>
    public readonly bool HasLineOver(long octets) => Math.Max(_longestLine - 2, _lineBytes - 1) > octets;

    /// <summary>
    /// The header section is longer than so many octets or lines, ended or not. Before the end of data up to 3 octets
    /// may turn out to be its mark.
    /// </summary>
    public readonly bool HasHeaderOver(long octets, int lines) =>
        _headerLines > lines
        || (_headerWireBytes > 0 ? _headerWireBytes : WireBytes - 3) > octets;

    /// <summary>Forgets everything; the next octet is the first of a content, which counts as a line start.</summary>
    public void Start()
    {
        this = default;
        _carryLineStart = 1;
    }

    /// <summary>
    /// Octets of the header section with the empty line that ends it; 0 as long as that has not been seen.
    /// </summary>
    public readonly long HeaderWireBytes => _headerWireBytes;

    /// <summary>Scans until the end of data or of the span; returns the octets that belong to the content.</summary>
    public int Scan(ReadOnlySpan<byte> received)
    {
        var at = 0;
        ref var first = ref MemoryMarshal.GetReference(received);
        while (received.Length - at >= BlockBytes)
        {
            at += _headerWireBytes > 0 ? TakeCleanBlocks(ref Unsafe.Add(ref first, at), received.Length - at) : 0;
            if (received.Length - at < BlockBytes)
            {
                break;
            }
            at += Take(ref Unsafe.Add(ref first, at), BlockBytes);
            if (HasEnded)
            {
                return at;
            }
        }
        if (at < received.Length)
        {
            at += TakeShort(received[at..]);
        }
        return at;
    }

    /// <summary>What the scan found; meant for after the end.</summary>
    public readonly ContentFacts Facts() => new()
    {
        WireBytes = WireBytes,
        Octets = Octets,
        HeaderWireBytes = _headerWireBytes > 0 ? _headerWireBytes : WireBytes - 3,
        HasEndOfHeader = _headerWireBytes > 0,
        Has8Bit = _high != 0,
        HasLongLine = _longestLine - 2 > Limits.PlainContentLineBytes,
    };

    [SkipLocalsInit] // the octets behind the copied ones are masked away
    private int TakeShort(ReadOnlySpan<byte> tail)
    {
        Span<byte> block = stackalloc byte[BlockBytes];
        tail.CopyTo(block);
        return Take(ref MemoryMarshal.GetReference(block), tail.Length);
    }

    /// <summary>
    /// Takes whole blocks of body as long as they hold text in lines and nothing else of interest: no control octet but
    /// CRLF, no dot at a line start. What is carried from block to block stays in registers (8.5 us for 64 KiB became
    /// 3.2). Returns the octets taken, maybe none.
    /// </summary>
    private int TakeCleanBlocks(ref byte first, int length)
    {
        if (_carryDots != 0)
        {
            return 0;
        }
        var (carryCr, carryLineStart, lineBytes, longest) = (_carryCr, _carryLineStart, _lineBytes, _longestLine);
        var high = Vector512<byte>.Zero;
        var at = 0;
        for (; length - at >= BlockBytes; at += BlockBytes)
        {
            var block = Vector512.LoadUnsafe(ref first, (nuint)at);
            var special = Vector512.LessThanOrEqual(block, Vector512.Create((byte)'\r')).ExtractMostSignificantBits();
            if ((special | carryCr | carryLineStart) == 0)
            {
                high |= block;
                lineBytes += BlockBytes;
                continue;
            }
            var cr = Find(block, (byte)'\r');
            var lf = Find(block, (byte)'\n');
            var lineStart = (lf << 1) | carryLineStart;
            var isOdd = (special ^ (cr | lf)) | (lf ^ ((cr << 1) | carryCr)) | (lineStart & Find(block, (byte)'.'));
            if (isOdd != 0)
            {
                break;
            }
            high |= block;
            (carryCr, carryLineStart) = (cr >> 63, lf >> 63);
            if (lf == 0)
            {
                lineBytes += BlockBytes;
                continue;
            }
            longest = Math.Max(longest, lineBytes + BitOperations.TrailingZeroCount(lf) + 1);
            lineBytes = BitOperations.LeadingZeroCount(lf);
        }
        (_carryCr, _carryLineStart, _lineBytes, _longestLine) = (carryCr, carryLineStart, lineBytes, longest);
        _high |= high.ExtractMostSignificantBits();
        WireBytes += at;
        return at;
    }

    /// <summary>Takes 1 to 64 octets; returns how many of them belong to the content.</summary>
    private int Take(ref byte octets, int length)
    {
        var block = Vector512.LoadUnsafe(ref octets);
        var keep = ulong.MaxValue >> (BlockBytes - length);
        var cr = Find(block, (byte)'\r') & keep;
        var lf = Find(block, (byte)'\n') & keep;
        var dot = Find(block, (byte)'.') & keep;

        var afterCr = (cr << 1) | _carryCr;
        var lineEnd = lf & afterCr; // at the LF
        var lineStart = (lineEnd << 1) | _carryLineStart;
        var dotted = dot & lineStart;
        var end = lineEnd & ((dotted << 2) | _carryDots);
        if (end != 0)
        {
            HasEnded = true;
            length = BitOperations.TrailingZeroCount(end) + 1;
            keep &= ulong.MaxValue >> (BlockBytes - length);
        }
        _bareCr |= afterCr & ~lf & keep;
        _bareLf |= lf & ~afterCr & keep;
        _nul |= Find(block, 0) & keep;
        _high |= block.ExtractMostSignificantBits() & keep;
        _dots += BitOperations.PopCount(dotted & keep);

        var emptyCr = lineStart & cr;
        if (_headerWireBytes == 0)
        {
            var empty = lf & ((emptyCr << 1) | _carryEmptyCr) & keep;
            var headerLine = lineEnd & keep & ~end; // the end-of-data mark is no line of it
            if (empty != 0)
            {
                _headerWireBytes = WireBytes + BitOperations.TrailingZeroCount(empty) + 1;
                headerLine &= (empty & (0 - empty)) - 1; // those before the first empty line
            }
            _headerLines += BitOperations.PopCount(headerLine);
        }
        MeasureLines(lineEnd & keep, dotted & keep, length);

        WireBytes += length;
        var last = length - 1;
        _carryCr = (cr >> last) & 1;
        _carryLineStart = (lineEnd >> last) & 1;
        _carryEmptyCr = (emptyCr >> last) & 1;
        _carryDots = length == 1 ? ((dotted & 1) << 1) | (_carryDots >> 1) : (dotted >> (length - 2)) & 3;
        return length;
    }

    /// <summary>Lines inside one block are short; only the first line end can close a long line.</summary>
    private void MeasureLines(ulong lineEnd, ulong dotted, int length)
    {
        if ((dotted & _carryLineStart) != 0)
        {
            _lineBytes--; // the stuffed dot does not count
        }
        if (lineEnd == 0)
        {
            _lineBytes += length;
            return;
        }
        _longestLine = Math.Max(_longestLine, _lineBytes + BitOperations.TrailingZeroCount(lineEnd) + 1);
        var next = BlockBytes - BitOperations.LeadingZeroCount(lineEnd);
        _lineBytes = length - next;
        if (next < length && ((dotted >> next) & 1) != 0)
        {
            _lineBytes--;
        }
    }

    private static ulong Find(Vector512<byte> block, byte octet) =>
        Vector512.Equals(block, Vector512.Create(octet)).ExtractMostSignificantBits();
}
