using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// What a crash may have left of a segment's own records behind its last valid one. In a segment that was filled with
/// zeros that is whatever is not zero. In one that was used before (<see cref="Segment.IsReused"/>) octets of its
/// earlier life are everywhere, records that are whole among them: there it is what looks like a header with its own
/// address, and addresses are never used twice. Nothing else could ever line up with a later record. Stateless.
/// </summary>
internal static class Leftovers
{
    private const int BlockBytes = 1024 * 1024;
    private const int LsnOffset = 16;

    /// <summary>
    /// Says it of one boundary: <paramref name="block"/> is the alignment's worth of octets at
    /// <paramref name="offset"/>, or what the file has of it.
    /// </summary>
    public static bool IsAt(Segment segment, long offset, ReadOnlySpan<byte> block)
    {
        return segment.IsReused
            ? block.Length >= LsnOffset + sizeof(ulong)
                && MemoryMarshal.Read<uint>(block) == RecordHeader.MagicNumber
                && MemoryMarshal.Read<ulong>(block[LsnOffset..]) == segment.BaseLsn + (ulong)offset
            : block.ContainsAnyExcept((byte)0);
    }

    /// <summary>
    /// The record boundary at or before the first of it, from <paramref name="offset"/> on, which is such a boundary;
    /// the segment's length when there is none.
    /// </summary>
    /// <exception cref="IOException">The segment cannot be read.</exception>
    public static long Next(Segment segment, long offset)
    {
        while (offset < segment.Length)
        {
            ReadOnlySpan<byte> bytes = Read(segment, offset);
            int index = segment.IsReused ? IndexOfHeader(segment, offset, bytes) : bytes.IndexOfAnyExcept((byte)0);
            if (index >= 0)
            {
                return offset + (index & -RecordHeader.Alignment);
            }

            offset += bytes.Length;
        }

        return segment.Length;
    }

    /// <summary>Behind the last of it; <paramref name="from"/> when there is none.</summary>
    /// <exception cref="IOException">The segment cannot be read.</exception>
    public static long End(Segment segment, long from)
    {
        long end = from;
        for (long offset = from; (offset = Next(segment, offset)) < segment.Length;)
        {
            ReadOnlySpan<byte> bytes = Read(segment, offset);
            end = segment.IsReused
                ? Math.Min(offset + RecordHeader.Bytes, segment.Length)
                : offset + bytes.LastIndexOfAnyExcept((byte)0) + 1;
            offset += segment.IsReused ? RecordHeader.Alignment : bytes.Length;
        }

        return end;
    }

    private static ReadOnlySpan<byte> Read(Segment segment, long offset)
    {
        int length = (int)Math.Min(BlockBytes, segment.Length - offset);
        ReadableWindow.Require(segment, offset, length);
        return segment.Span(offset, length);
    }

    private static int IndexOfHeader(Segment segment, long offset, ReadOnlySpan<byte> bytes)
    {
        for (int at = 0; at < bytes.Length; at += RecordHeader.Alignment)
        {
            if (IsAt(segment, offset + at, bytes[at..]))
            {
                return at;
            }
        }

        return -1;
    }
}
