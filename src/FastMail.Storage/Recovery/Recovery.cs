using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Rebuilds the state of the log from its segments and decides where it ends. Nothing on disk is touched before all
/// of it has been found sound. Owned by the thread that opens the log, used once.
/// </summary>
internal sealed class Recovery(
    IDisk disk, string directory, StoreFormat format, MaildropTable maildrops, SegmentList segments,
    Action<string> notice)
{
    // Below this a proof of a clean end could not have been followed by the opening proof of the next run.
    private const long CleanRoomBytes = GroupWriter.ReserveBytes;

    private readonly List<UidRange> _ranges = [];
    private readonly LogEnd _end = new();
    private bool _isClean;

    /// <summary>Runs the recovery; the segments are open afterwards, also when it throws.</summary>
    /// <exception cref="DamagedLogException">
    /// Acknowledged records are missing or invalid; nothing was modified.
    /// </exception>
    /// <exception cref="IncompatibleFormatException">A later program wrote here; nothing was modified.</exception>
    /// <exception cref="IOException">The disk failed.</exception>
    public LogEnd Run(IEnumerable<string> fileNames)
    {
        OpenAll(fileNames);
        ReadOnlySpan<Segment> all = segments.All;
        foreach (Segment segment in all[..^1])
        {
            ReadComplete(segment);
        }

        ReadLast(all[^1]);
        return _end;
    }

    private void OpenAll(IEnumerable<string> fileNames)
    {
        ulong next = 0;
        ulong previous = 0;
        foreach (string name in fileNames.Where(SegmentHeader.IsSegmentName).Order(StringComparer.Ordinal))
        {
            Segment segment = OpenOne(name);
            segments.Add(segment);
            if (segment.BaseLsn != next || segment.Header.PreviousBaseLsn != previous)
            {
                throw new DamagedLogException(
                    $"{segment.Path}: a segment is missing: position 0x{next:x} is not followed by this file");
            }

            next = segment.EndLsn;
            previous = segment.BaseLsn;
        }

        if (segments.All.IsEmpty)
        {
            throw new DamagedLogException($"{directory}: the store has no segment, though it was made with one");
        }
    }

    private Segment OpenOne(string name)
    {
        string path = Path.Join(directory, name);
        Errno.Check(disk.Open(path, FileUse.Existing, out IDiskFile? file), "open", path);
        try
        {
            byte[] page = new byte[SegmentHeader.Bytes];
            Errno.Check(file!.Read(page, 0, out int read), "read", path);
            Errno.Check(file.Length(out long length), "measure", path);
            if (read < page.Length || !SegmentHeader.TryRead(page, out SegmentHeader header)
                || header.StoreId != format.StoreId || header.FileName != name)
            {
                throw new DamagedLogException($"{path}: the header page is damaged or belongs to another store");
            }

            if (header.SegmentBytes != length)
            {
                throw new DamagedLogException(
                    $"{path}: the file has {length} bytes; it was made with {header.SegmentBytes}");
            }

            Errno.Check(Segment.Open(file, header, path, out Segment? segment), "map", path);
            return segment!;
        }
        catch (IOException)
        {
            file!.Dispose();
            throw;
        }
    }

    /// <summary>
    /// A segment with a successor was sealed and flushed before that came to be: all of it must be valid.
    /// </summary>
    private void ReadComplete(Segment segment)
    {
        SegmentWalk walk = new(segment, _end.Seq);
        while (walk.MoveNext())
        {
            Apply(segment, walk);
        }

        if (!walk.IsSealed)
        {
            throw Damaged(segment, walk.Offset, "the segment has a successor, so all of it was durable");
        }

        segment.ReadableEnd = walk.Offset;
        _end.Seq = walk.Seq;
    }

    private void ReadLast(Segment segment)
    {
        long end = FindEnd(segment, out long proof, out bool isSealed);
        bool hasLeftovers = false;
        if (!isSealed && !(_isClean && segment.Length - end > CleanRoomBytes))
        {
            long laterProof = Tail.FindProofBehind(segment, end, out hasLeftovers);
            if (laterProof >= 0)
            {
                throw Damaged(segment, end, $"the record at offset {laterProof} proves that it was durable");
            }
        }

        SegmentWalk walk = new(segment, _end.Seq);
        while (walk.Offset < end && walk.MoveNext())
        {
            Apply(segment, walk);
        }

        if (!isSealed)
        {
            Tail.Rewrite(segment, proof, end);
        }

        if (hasLeftovers)
        {
            notice($"{segment.Path}: cut a torn tail, never acknowledged, at offset {end}");
        }

        segment.ReadableEnd = end;
        _end.MoveTo(segment);
        _end.Offset = end;
        _end.Seq = walk.Seq;
        _end.Seal = walk.Seal;
        _end.IsSealed = isSealed;
    }

    /// <summary>
    /// Where the valid records of the last segment end. Behind the last proof a body that fails its CRC ends them too:
    /// its record was torn, and never acknowledged.
    /// </summary>
    private long FindEnd(Segment segment, out long proof, out bool isSealed)
    {
        proof = SegmentHeader.Bytes;
        SegmentWalk walk = new(segment, _end.Seq);
        while (walk.MoveNext())
        {
            _isClean = false;
            if (walk.Current.Type == RecordType.Group)
            {
                GroupMeta group = ReadGroup(segment, walk);
                proof = Math.Max(proof, (long)(group.DurableLsn - segment.BaseLsn));
                _isClean = (walk.Current.Flags & RecordHeader.CleanFlag) != 0;
            }
        }

        isSealed = walk.IsSealed;
        if (isSealed)
        {
            proof = walk.CurrentOffset; // all groups had been flushed before the SEAL was written
            return walk.Offset;
        }

        SegmentWalk tail = new(segment, _end.Seq);
        while (tail.MoveNext())
        {
            if (tail.CurrentOffset >= proof && !tail.HasIntactBody())
            {
                _isClean = false;
                return tail.CurrentOffset;
            }
        }

        return tail.Offset;
    }

    private void Apply(Segment segment, SegmentWalk walk)
    {
        _end.TimestampMicros = Math.Max(_end.TimestampMicros, walk.Current.TimestampMicros);
        switch (walk.Current.Type)
        {
            case RecordType.Message:
                ApplyMessage(segment, walk);
                break;
            case RecordType.Expunge:
                _ranges.Clear();
                if (!PendingExpunge.TryRead(walk.CurrentMeta, out ulong mailboxId, _ranges))
                {
                    throw Damaged(segment, walk.CurrentOffset, "an EXPUNGE record names no mailbox");
                }

                maildrops.Remove(mailboxId, CollectionsMarshal.AsSpan(_ranges));
                break;
            case RecordType.Group:
                _end.GroupNo = ReadGroup(segment, walk).GroupNo;
                break;
            default:
                break; // SEAL was checked by the walk; PAD and skippable records say nothing
        }
    }

    private void ApplyMessage(Segment segment, SegmentWalk walk)
    {
        MetaReader meta = new(walk.CurrentMeta);
        while (meta.Read())
        {
            if (meta.Type != MetaType.LocalRecipient)
            {
                continue;
            }

            if (meta.Value.Length < sizeof(ulong) * 2)
            {
                throw Damaged(segment, walk.CurrentOffset, "a local recipient is too short");
            }

            ulong mailboxId = BinaryPrimitives.ReadUInt64LittleEndian(meta.Value);
            ulong uid = BinaryPrimitives.ReadUInt64LittleEndian(meta.Value[sizeof(ulong)..]);
            maildrops.Add(mailboxId, new MaildropEntry(uid, walk.Current));
        }
    }

    private static GroupMeta ReadGroup(Segment segment, SegmentWalk walk)
    {
        ulong own = walk.Current.Lsn;
        if (!GroupMeta.TryRead(walk.CurrentMeta, out GroupMeta group) || group.DurableLsn > own
            || group.DurableLsn < segment.BaseLsn)
        {
            throw Damaged(segment, walk.CurrentOffset, "a GROUP record has an impossible content");
        }

        return group;
    }

    private static DamagedLogException Damaged(Segment segment, long offset, string why)
    {
        return new DamagedLogException(
            $"{segment.Path}: acknowledged mail is damaged at offset {offset} (position 0x"
            + $"{segment.BaseLsn + (ulong)offset:x}): {why}. Nothing was modified; restore the file or ask for help");
    }
}
