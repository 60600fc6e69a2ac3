using System.Buffers;
using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// The end of the last segment, where a crash may have left anything: tells a torn tail from damage, and makes a torn
/// tail safe to append to. Owned by the thread that opens the log.
/// </summary>
internal static class Tail
{
    private const int BlockBytes = 1024 * 1024;

    /// <summary>
    /// Looks behind the first invalid record for a GROUP that was written when that place was durable already, or a
    /// SEAL, which follows only what is durable. Such a proof means the record was acknowledged and is damaged, not
    /// torn.
    /// </summary>
    /// <returns>Offset of the proof, or -1.</returns>
    public static long FindProofBehind(Segment segment, long invalid, out bool hasLeftovers)
    {
        hasLeftovers = false;
        for (long offset = invalid; offset < segment.Length;)
        {
            offset = Leftovers.Next(segment, offset);
            if (offset >= segment.Length)
            {
                return -1;
            }

            hasLeftovers = true;
            // A block of candidates at a time; a proof may begin in this block and end in the next.
            long blockEnd = Math.Min(offset + BlockBytes, segment.Length);
            long populatedEnd = Math.Min(blockEnd + GroupMeta.TotalBytes, segment.Length);
            ReadableWindow.Require(segment, offset, populatedEnd - offset);
            for (; offset < blockEnd; offset += RecordHeader.Alignment)
            {
                if (offset > invalid && IsProofOf(segment, offset, invalid))
                {
                    return offset;
                }
            }
        }

        return -1;
    }

    /// <summary>
    /// Writes the unproven records again, the same bytes to the same places: after a failed flush the page cache may
    /// hold what the disk does not, and only a new write forces it there. Then zeros what was begun behind them, so that
    /// no left-over record can line up with a later one and be taken for valid; not in a file that was cut, where nothing
    /// will be written any more. Running it twice does no harm.
    /// </summary>
    public static void Rewrite(Segment segment, long proof, long end)
    {
        byte[] block = ArrayPool<byte>.Shared.Rent(BlockBytes);
        for (long offset = proof; offset < end;)
        {
            int length = (int)Math.Min(BlockBytes, end - offset);
            ReadableWindow.Require(segment, offset, length);
            segment.Span(offset, length).CopyTo(block);
            Errno.Check(segment.File.WriteAll(block.AsSpan(0, length), offset), "write", segment.Path);
            offset += length;
        }

        block.AsSpan(0, BlockBytes).Clear();
        long rest = segment.IsCut ? segment.Length : Leftovers.Next(segment, end);
        for (long offset = rest; offset < segment.Length; offset = Leftovers.Next(segment, offset))
        {
            int length = (int)Math.Min(BlockBytes, segment.Length - offset);
            Errno.Check(segment.File.WriteAll(block.AsSpan(0, length), offset), "write", segment.Path);
            offset += length;
        }

        ArrayPool<byte>.Shared.Return(block);
        Errno.Check(segment.File.Flush(), "flush", segment.Path);
    }

    private static bool IsProofOf(Segment segment, long offset, long invalid)
    {
        long room = segment.Length - offset;
        if (room < RecordHeader.Bytes)
        {
            return false;
        }

        ReadOnlySpan<byte> start = segment.Span(offset, RecordHeader.Bytes);
        if (MemoryMarshal.Read<uint>(start) != RecordHeader.MagicNumber
            || !RecordHeader.TryRead(start, segment.Header.Salt, segment.BaseLsn + (ulong)offset, room, out var header)
            || header.TotalBytes > GroupMeta.TotalBytes)
        {
            return false;
        }

        ReadOnlySpan<byte> record = segment.Span(offset, (int)header.TotalBytes);
        if (!RecordReader.HasIntactMeta(header, record))
        {
            return false;
        }

        return header.Type == RecordType.Seal
            || (header.Type == RecordType.Group
                && GroupMeta.TryRead(record.Slice(RecordHeader.Bytes, (int)header.MetaBytes), out GroupMeta group)
                && group.DurableLsn > segment.BaseLsn + (ulong)invalid);
    }
}
