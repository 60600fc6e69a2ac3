using System.Globalization;

namespace FastMail.Storage;

/// <summary>
/// One segment under inspection: its header page, its length, its records, its SEAL. Owned by the
/// <see cref="LogInspector"/>, on the thread of its caller.
/// </summary>
internal sealed class InspectedSegment : IDisposable
{
    private readonly string _path;
    private readonly LogChain _chain;
    private readonly bool _isLast;
    private readonly ulong? _endLsn;
    private readonly List<LogProblem> _problems = [];
    private Segment? _segment;
    private SealMeta _seal;
    private bool _isSealed;

    private InspectedSegment(string path, LogChain chain, bool isLast, ulong? endLsn)
    {
        _path = path;
        _chain = chain;
        _isLast = isLast;
        _endLsn = endLsn;
    }

    public long FileBytes { get; private set; }

    public ulong BaseLsn { get; private set; }

    /// <summary>Where the next segment begins; without a header, as far as the file reaches.</summary>
    public ulong EndLsn { get; private set; }

    /// <summary>Opens and maps a segment as far as it can be; what is wrong with it comes with its findings.</summary>
    /// <param name="path">The file.</param>
    /// <param name="storeId">Whose segment it should be.</param>
    /// <param name="chain">What the segments before it said.</param>
    /// <param name="isLast">No segment follows.</param>
    /// <param name="endLsn">Where the durable records of a growing last segment end; null when nobody writes.</param>
    /// <param name="disk">The real one when it is not said.</param>
    public static InspectedSegment Open(
        string path, Guid storeId, LogChain chain, bool isLast, ulong? endLsn = null, IDisk? disk = null)
    {
        InspectedSegment inspected = new(path, chain, isLast, endLsn);
        Errno.Check((disk ?? ReadOnlyDisk.Instance).Open(path, FileUse.Existing, out IDiskFile? file), "open", path);
        try
        {
            inspected.Open(file!, storeId);
        }
        catch
        {
            file!.Dispose();
            throw;
        }

        return inspected;
    }

    /// <summary>The problems of the file as a whole, then its records with theirs.</summary>
    public IEnumerable<LogFinding> Read(bool checkBodies)
    {
        foreach (LogProblem problem in _problems)
        {
            yield return problem;
        }

        if (_segment is null)
        {
            yield break;
        }

        bool isWhole = _problems.Count == 0;
        string? unreadable = null;
        long end = _isLast && _endLsn is null
            ? SegmentTail.FindEnd(_segment, _chain, out unreadable)
            : _segment.Length;
        SegmentScan scan = new(_segment, _chain.Seq, _chain.IsSeqKnown, isLenient: true);
        bool isCut = false;
        while (!_isSealed && scan.MoveNext())
        {
            isCut = scan.GapOffset >= end;
            if (isCut)
            {
                break;
            }

            if (!(_chain.IsCold && scan.GapOffset == scan.CurrentOffset) && Gap(scan) is { } gap)
            {
                isWhole = false;
                yield return gap;
            }

            LogRecord record = new(_path, scan.CurrentOffset, scan.Current, scan.CurrentMeta);
            yield return record;
            foreach (LogProblem problem in Check(scan, record, isWhole, checkBodies))
            {
                yield return problem;
            }

            _chain.Seq = scan.Seq;
            _chain.IsSeqKnown = true;
        }

        if (!_isSealed && Rest(scan, isCut, end, unreadable) is { } rest)
        {
            yield return rest;
        }
    }

    public void Dispose()
    {
        _segment?.Dispose();
    }

    private void Open(IDiskFile file, Guid storeId)
    {
        byte[] page = new byte[SegmentHeader.Bytes];
        int errno = file.Read(page, 0, out int read);
        Errno.Check(file.Length(out long length), "measure", _path);
        FileBytes = length;
        string name = Path.GetFileName(_path);
        if (errno != 0 || read < page.Length || !SegmentHeader.TryRead(page, out SegmentHeader header) || header.StoreId != storeId
            || header.FileName != name)
        {
            file.Dispose();
            BaseLsn = BaseOf(name) ?? _chain.NextLsn;
            EndLsn = BaseLsn + (ulong)length;
            CheckPlace();
            _problems.Add(Problem(
                0, LogProblemKind.SegmentHeader, SegmentHeader.Bytes,
                (errno != 0 ? $"the disk cannot read the header page: {Errno.Text(errno)}"
                    : "the header page is damaged or belongs to another store")
                + "; no record of this segment can be checked"));
            return;
        }

        _chain.IsSeqKnown &= !header.SkipsNumbers; // what is due there is not known
        BaseLsn = header.BaseLsn;
        EndLsn = BaseLsn + (ulong)header.SegmentBytes;
        CheckPlace();
        bool isFirst = _chain.NextLsn == BaseLsn && _chain.PreviousBaseLsn == 0; // what was in front may be dropped
        if (_problems.Count == 0 && !isFirst && _chain.PreviousBaseLsn is { } previous
            && header.PreviousBaseLsn != previous)
        {
            _problems.Add(Problem(
                0, LogProblemKind.SegmentHeader, SegmentHeader.Bytes,
                $"the segment was made to follow the one at 0x{header.PreviousBaseLsn:x}, not this predecessor"));
        }

        if (length != header.SegmentBytes)
        {
            long behind = Math.Min(length, header.SegmentBytes);
            _problems.Add(Problem(
                behind, LogProblemKind.SegmentLength, Math.Abs(length - header.SegmentBytes),
                $"the file has {length} bytes; it was made with {header.SegmentBytes}"));
        }

        // Never more than there is: touching a page behind the end of the file would be a signal. Nor more than is
        // durable: what is being written behind it is neither a record nor damage.
        long readable = _endLsn is { } endLsn ? Math.Min(length, (long)(endLsn - BaseLsn)) : length;
        Errno.Check(Segment.Open(file, header, readable, _path, out _segment), "map", _path);
    }

    private void CheckPlace()
    {
        if (BaseLsn != _chain.NextLsn)
        {
            string text = BaseLsn > _chain.NextLsn
                ? $"no segment holds the positions from 0x{_chain.NextLsn:x} to 0x{BaseLsn:x}, in front of this one"
                : $"the segment begins at 0x{BaseLsn:x}, inside its predecessor, which ends at 0x{_chain.NextLsn:x}";
            _problems.Add(Problem(0, LogProblemKind.MissingSegment, 0, text));
        }
    }

    private LogProblem? Gap(SegmentScan scan)
    {
        long bytes = scan.CurrentOffset - scan.GapOffset;
        if (bytes == 0 && scan.MissingRecords == 0)
        {
            return null;
        }

        ulong first = scan.Seq - scan.MissingRecords;
        string missing = scan.MissingRecords switch
        {
            0 => "",
            1 => $"; record {first} is missing",
            _ => $"; {scan.MissingRecords} records, {first} to {scan.Seq - 1}, are missing",
        };
        (LogProblemKind kind, string what) = bytes == 0
            ? (LogProblemKind.Sequence, "the numbers of the records jump")
            : scan.Unreadable is { } why
            ? (LogProblemKind.Header, $"{bytes} bytes are lost, because {why}")
            : scan.TryReadGapHeader(out RecordHeader header)
            ? (LogProblemKind.Meta, $"the envelope of a {header.Type} record fails its checksum or its number is used")
            : (LogProblemKind.Header, $"{bytes} bytes are no valid record");
        return Problem(scan.GapOffset, kind, bytes, what + missing, scan.MissingRecords);
    }

    private IEnumerable<LogProblem> Check(SegmentScan scan, LogRecord record, bool isWhole, bool checkBodies)
    {
        if (checkBodies && !scan.HasIntactBody())
        {
            string what = scan.Unreadable is { } why
                ? $"all of record {record.Seq} cannot be had, because {why}"
                : $"the body of message {record.Seq} fails its checksum";
            yield return new LogProblem(
                _path, record.Offset, record.Lsn, LogProblemKind.Body, record.Bytes, what)
            {
                Hole = scan.Unreadable is null && LooksPunched(record) ? record : null,
            };
        }

        if (checkBodies && !scan.HasZeroPadding())
        {
            yield return Problem(
                record.Offset, LogProblemKind.Padding, record.Bytes, $"the padding of record {record.Seq} is not 0");
        }

        if (RecordContent.FaultOf(record, BaseLsn, _chain.LastUids) is { } fault)
        {
            yield return Problem(record.Offset, LogProblemKind.Content, record.Bytes, fault);
        }

        if (record.Type != RecordType.Seal)
        {
            _seal.Add(record.Header);
            yield break;
        }

        _isSealed = true;
        if (isWhole && !_seal.Matches(record.Meta.Span))
        {
            yield return Problem(
                record.Offset, LogProblemKind.Seal, record.Bytes, "the SEAL disagrees with the records of the segment");
        }
    }

    /// <summary>A whole page of the body is zeros, as the removal of a large message leaves it.</summary>
    private bool LooksPunched(LogRecord record)
    {
        (long start, long end) = HolePunch.PagesOf(record.Offset, record.Header);
        return start < end && !_segment!.Span(start, SegmentHeader.Bytes).ContainsAnyExcept((byte)0);
    }

    /// <summary>What stands behind the last record of a segment without a SEAL.</summary>
    private LogProblem? Rest(SegmentScan scan, bool isCut, long end, string? unreadable)
    {
        if (_endLsn is not null)
        {
            long lost = _segment!.Length - scan.Offset;
            return lost > 0 ? Problem(scan.Offset, LogProblemKind.Header, lost, $"{lost} durable bytes are no valid record") : null;
        }

        if (!_isLast)
        {
            long rest = _segment!.Length - scan.Offset;
            return scan.Unreadable is { } why
                ? Problem(scan.Offset, LogProblemKind.Header, rest, $"no valid record up to the end of the segment: {why}")
                : scan.HasLeftovers
                ? Problem(scan.Offset, LogProblemKind.Header, rest, "no valid record up to the end of the segment")
                : Problem(scan.Offset, LogProblemKind.Seal, 0, "the segment has a successor and no SEAL at its end");
        }

        if (unreadable is not null)
        {
            return Problem(
                end, LogProblemKind.Header, _segment!.Length - end,
                $"{unreadable}; nobody can tell whether acknowledged mail stands there");
        }

        if (!isCut && !scan.HasLeftovers)
        {
            return null;
        }

        long bytes = Leftovers.End(_segment!, end) - end;
        return Problem(
            end, LogProblemKind.TornTail, bytes,
            $"{bytes} bytes of a torn tail, never acknowledged; the next start of the server cuts them");
    }

    private LogProblem Problem(long offset, LogProblemKind kind, long bytes, string text, ulong missing = 0)
    {
        return new LogProblem(_path, offset, BaseLsn + (ulong)offset, kind, bytes, text) { MissingRecords = missing };
    }

    private static ulong? BaseOf(string name)
    {
        int dash = name.IndexOf('-', StringComparison.Ordinal);
        ReadOnlySpan<char> digits = name.AsSpan(dash + 1, name.Length - dash - 1 - ".seg".Length);
        return ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong lsn)
            ? lsn
            : null;
    }
}
