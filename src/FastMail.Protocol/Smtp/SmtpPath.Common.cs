using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FastMail.Protocol.Smtp;

/// <content>
/// The paths that nearly all mail has: <c>&lt;local-part@domain&gt;</c> of letters, digits, dots, hyphens and a few other
/// marks, within 64 octets. Each class of octets becomes a word with a bit for each octet, and the grammar a few operations
/// on such words: a quarter of the time that reading octet by octet takes (bench/README.md).
/// </content>
internal readonly ref partial struct SmtpPath
{
    private const int Window = 64;

    /// <summary>False says nothing: it may be a path still.</summary>
    [SkipLocalsInit] // what lies behind the text is not looked at
    private static bool TryParseCommon(ReadOnlySpan<byte> text, out SmtpPath path, out int consumed)
    {
        path = default;
        consumed = 0;
        if (text.IsEmpty || text[0] != '<')
        {
            return false;
        }
        Classes of;
        if (text.Length >= Window)
        {
            of = new Classes(ref MemoryMarshal.GetReference(text));
        }
        else
        {
            Span<byte> window = stackalloc byte[Window];
            text.CopyTo(window);
            of = new Classes(ref MemoryMarshal.GetReference(window));
        }
        var at = BitOperations.TrailingZeroCount(of.AtSigns);
        var close = BitOperations.TrailingZeroCount(of.Closings);
        if (at >= close || close >= Math.Min(text.Length, Window))
        {
            return false;
        }
        var localPart = Below(at) & ~1ul;
        var domain = Below(close) & ~Below(at + 1);
        // What an atom or a label lies between; where two of these touch, one is empty.
        var borders = 1ul | (of.Dots & (localPart | domain)) | (1ul << at) | (1ul << close);
        var isPath = (localPart & ~(of.Letters | of.Hyphens | of.Marks | of.Dots)) == 0
            && (domain & ~(of.Letters | of.Hyphens | of.Dots)) == 0
            && (borders & (borders << 1)) == 0
            && (domain & of.Hyphens & ((borders << 1) | (borders >> 1))) == 0;
        if (!isPath)
        {
            return false;
        }
        path = new SmtpPath(text[1..close], at - 1, isAscii: true);
        consumed = close + 1;
        return true;
    }

    private static ulong Below(int octet) => (1ul << octet) - 1;

    /// <summary>Which of 64 octets belong to a class; the first octet is the lowest bit.</summary>
    private readonly struct Classes
    {
        public readonly ulong Letters; // and digits
        public readonly ulong Hyphens;
        public readonly ulong Dots;
        public readonly ulong Marks; // of local-parts only: the commonest of the rest of atext
        public readonly ulong AtSigns;
        public readonly ulong Closings;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Classes(ref byte octets)
        {
            var first = Vector256.LoadUnsafe(ref octets);
            var second = Vector256.LoadUnsafe(ref octets, (nuint)Vector256<byte>.Count);
            Letters = Bits(LettersOf(first), LettersOf(second));
            Hyphens = BitsOf((byte)'-', first, second);
            Dots = BitsOf((byte)'.', first, second);
            Marks = Bits(MarksOf(first), MarksOf(second));
            AtSigns = BitsOf((byte)'@', first, second);
            Closings = BitsOf((byte)'>', first, second);
        }

        private static Vector256<byte> LettersOf(Vector256<byte> octets)
        {
            var lower = octets | Vector256.Create((byte)0x20); // folds nothing but letters onto letters
            return Vector256.LessThanOrEqual(lower - Vector256.Create((byte)'a'), Vector256.Create((byte)('z' - 'a')))
                | Vector256.LessThanOrEqual(octets - Vector256.Create((byte)'0'), Vector256.Create((byte)9));
        }

        private static Vector256<byte> MarksOf(Vector256<byte> octets) =>
            Vector256.Equals(octets, Vector256.Create((byte)'_'))
            | Vector256.Equals(octets, Vector256.Create((byte)'+'))
            | Vector256.Equals(octets, Vector256.Create((byte)'='));

        private static ulong BitsOf(byte octet, Vector256<byte> first, Vector256<byte> second) =>
            Bits(Vector256.Equals(first, Vector256.Create(octet)), Vector256.Equals(second, Vector256.Create(octet)));

        private static ulong Bits(Vector256<byte> first, Vector256<byte> second) =>
            first.ExtractMostSignificantBits() | ((ulong)second.ExtractMostSignificantBits() << 32);
    }
}
