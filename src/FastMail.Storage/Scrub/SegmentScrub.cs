using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// One look through one segment: header page, and of every record header, meta, body and padding. Behind damage it goes
/// on at the next 32-byte boundary with a header of its own address, so one flip is one finding. Used once, on the
/// thread of its pass.
/// </summary>
/// <param name="segment">What is looked at; its map is never touched.</param>
/// <param name="isComplete">It has a successor: a SEAL stands at its end.</param>
/// <param name="end">Everything below is durable.</param>
/// <param name="window">Shows its file.</param>
internal sealed class SegmentScrub(Segment segment, bool isComplete, long end, ScrubWindow window)
{
    private const int MostMetaBytes = 16 << 20; // more is nobody's envelope

    /// <summary>What is wrong.</summary>
    public List<LogProblem> Problems { get; } = [];

    /// <summary>Bodies that are wrong; which of them anybody misses is to be seen.</summary>
    public List<WrongBody> Bodies { get; } = [];

    /// <summary>Messages whose bodies are files of their own.</summary>
    public List<LogRecord> External { get; } = [];

    public void Run()
    {
        CheckPage();
        long offset = SegmentHeader.Bytes;
        while (offset < end)
        {
            if (TryReadHeader(offset, out RecordHeader header))
            {
                Check(offset, header);
                offset += header.TotalBytes;
                if (header.Type == RecordType.Seal)
                {
                    return;
                }
            }
            else
            {
                long next = FindRecord(offset, out long used);
                if (next == end && isComplete && used == offset)
                {
                    break;
                }

                long lost = next == end && isComplete ? used - offset : next - offset;
                Add(offset, LogProblemKind.Header, lost, $"{lost} bytes are no valid record{Reason}");
                if (next == end)
                {
                    return;
                }

                offset = next;
            }
        }

        if (isComplete)
        {
            Add(offset, LogProblemKind.Seal, 0, "the segment has a successor and no SEAL at its end");
        }
    }

    private void CheckPage()
    {
        byte[] page = new byte[SegmentHeader.Bytes]; // a copy: the check writes into it
        bool isRead = window.TryGet(0, SegmentHeader.Bytes, out ReadOnlySpan<byte> bytes);
        bytes.CopyTo(page);
        if (!isRead || !SegmentHeader.TryRead(page, out SegmentHeader header) || header != segment.Header)
        {
            Add(0, LogProblemKind.SegmentHeader, SegmentHeader.Bytes,
                isRead ? "the header page is not what was written" : $"the header page cannot be read{Reason}");
        }
    }

    private bool TryReadHeader(long offset, out RecordHeader header)
    {
        header = default;
        return window.TryGet(offset, RecordHeader.Bytes, out ReadOnlySpan<byte> bytes)
            && RecordHeader.TryRead(
                bytes, segment.Header.Salt, segment.BaseLsn + (ulong)offset, end - offset, out header);
    }

    /// <summary>
    /// The next place with a header; the end when there is none. Behind <paramref name="used"/> all up to there is zeros.
    /// </summary>
    private long FindRecord(long offset, out long used)
    {
        used = offset;
        for (long at = offset; at < end;)
        {
            ReadOnlySpan<byte> run = window.Run(at, end - at);
            if (run.Length < RecordHeader.Alignment)
            {
                at = (at & -ScrubWindow.PageBytes) + ScrubWindow.PageBytes; // unreadable, or the odd rest of a cut file
                used = Math.Min(at, end);
                continue;
            }

            run = run[..(run.Length & -RecordHeader.Alignment)];
            int last = run.LastIndexOfAnyExcept((byte)0);
            if (last < 0)
            {
                at += run.Length;
                continue;
            }

            used = at + last + 1;
            int found = FindMagic(run, at == offset ? RecordHeader.Alignment : 0);
            at += found;
            if (found < run.Length && TryReadHeader(at, out _))
            {
                return at;
            }

            at += found < run.Length ? RecordHeader.Alignment : 0;
        }

        return end;
    }

    private static int FindMagic(ReadOnlySpan<byte> run, int from)
    {
        int at = from;
        while (at < run.Length && MemoryMarshal.Read<uint>(run[at..]) != RecordHeader.MagicNumber)
        {
            at += RecordHeader.Alignment;
        }

        return at;
    }

    private void Check(long offset, in RecordHeader header)
    {
        long checkedBytes = (long)header.MetaBytes + header.TraceBytes;
        if (!TryExtend(offset + RecordHeader.Bytes, checkedBytes, out uint crc) || crc != header.MetaCrc)
        {
            Add(offset, LogProblemKind.Meta, header.TotalBytes,
                $"the envelope of {header.Type} record {header.Seq} fails its checksum{Reason}");
        }
        else if (header.HasExternalBody)
        {
            External.Add(new LogRecord(segment.Path, offset, header, ReadMeta(offset, header)));
        }
        else if (!TryExtend(offset + RecordHeader.Bytes + checkedBytes, header.BodyBytes, out crc)
            || crc != header.BodyCrc)
        {
            AddBody(offset, header);
        }

        int padding = (int)(header.TotalBytes - RecordHeader.Bytes - header.ContentBytes);
        if (padding > 0
            && (!window.TryGet(offset + header.TotalBytes - padding, padding, out ReadOnlySpan<byte> zeros)
                || zeros.ContainsAnyExcept((byte)0)))
        {
            Add(offset, LogProblemKind.Padding, header.TotalBytes,
                $"the padding of record {header.Seq} is not 0; its content is whole");
        }
    }

    /// <summary>A body whose first whole page is zeros may have been punched out after its message was removed.</summary>
    private void AddBody(long offset, in RecordHeader header)
    {
        string text = $"the body of message {header.Seq} fails its checksum{Reason}";
        (long start, long end) = HolePunch.PagesOf(offset, header);
        bool isHole = start < end && window.TryGet(start, ScrubWindow.PageBytes, out ReadOnlySpan<byte> bytes)
            && !bytes.ContainsAnyExcept((byte)0);
        Bodies.Add(new(new LogRecord(segment.Path, offset, header, ReadMeta(offset, header)), isHole, text));
    }

    private bool TryExtend(long offset, long length, out uint crc)
    {
        return TryExtend(window, offset, length, out crc);
    }

    /// <summary>The CRC-32C of a range of what a window shows; false when some of it cannot be read.</summary>
    public static bool TryExtend(ScrubWindow window, long offset, long length, out uint crc)
    {
        crc = 0;
        while (length > 0)
        {
            ReadOnlySpan<byte> run = window.Run(offset, length);
            if (run.IsEmpty)
            {
                return false;
            }

            crc = Crc32C.Extend(crc, run);
            offset += run.Length;
            length -= run.Length;
        }

        return true;
    }

    /// <summary>Empty when the disk changes its mind about what it has just read.</summary>
    private byte[] ReadMeta(long offset, in RecordHeader header)
    {
        if (header.MetaBytes > MostMetaBytes)
        {
            return [];
        }

        byte[] meta = new byte[header.MetaBytes];
        for (int at = 0; at < meta.Length;)
        {
            ReadOnlySpan<byte> run = window.Run(offset + RecordHeader.Bytes + at, meta.Length - at);
            if (run.IsEmpty)
            {
                return [];
            }

            run.CopyTo(meta.AsSpan(at));
            at += run.Length;
        }

        return meta;
    }

    private string Reason => window.Error == 0 ? "" : $": {Errno.Text(window.Error)}";

    private void Add(long offset, LogProblemKind kind, long bytes, string text)
    {
        Problems.Add(Problem(offset, kind, bytes, text));
    }

    private LogProblem Problem(long offset, LogProblemKind kind, long bytes, string text)
    {
        return new LogProblem(segment.Path, offset, segment.BaseLsn + (ulong)offset, kind, bytes, text);
    }
}

/// <summary>A body that fails its checksum. A value.</summary>
/// <param name="Message">Whose.</param>
/// <param name="IsHole">It looks as if it had been punched out, which is no damage when nobody lists the message.</param>
/// <param name="Text">What is wrong, for people.</param>
internal readonly record struct WrongBody(LogRecord Message, bool IsHole, string Text);
