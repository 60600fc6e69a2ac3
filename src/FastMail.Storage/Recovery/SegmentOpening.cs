namespace FastMail.Storage;

/// <summary>
/// Opens the segment files and checks that together they are the log: nothing is missing between the first and the
/// last, nor in front of the first but what was dropped. Owned by the <see cref="Recovery"/>; reads only.
/// </summary>
/// <remarks>
/// What can be stepped over: a damaged header page whose first two records still tell the salt; a file that is shorter
/// or longer than it was made. What is refused, because the operator may still have it and starting without it would
/// bring removed mail back by the thousand: a segment that is absent, a header page that cannot be rebuilt, a file of
/// another store.
/// </remarks>
internal sealed class SegmentOpening(
    IDisk disk, string directory, StoreFormat format, SegmentList segments, List<DamagedRange> damage,
    Action<string> notice)
{
    private readonly List<string> _stale = [];

    /// <summary>Files of segments that were retired; their names are back after a crash.</summary>
    public IReadOnlyList<string> Stale => _stale;

    /// <summary>Opens all; they are in the list afterwards, also when it throws.</summary>
    public void OpenAll(IEnumerable<string> fileNames)
    {
        string[] names = [.. fileNames.Where(SegmentHeader.IsSegmentName).Order(StringComparer.Ordinal)];
        string[] hot = [.. names.Where(name => !IsCold(name))];
        OpenHot(hot);
        foreach (string name in fileNames.Where(n => SegmentFiles.IsSpareName(n) || n == SegmentFiles.ReserveName))
        {
            RefuseSegment(name, names);
        }

        foreach (string name in names.Where(IsCold))
        {
            Segment segment = OpenOne(name, "", 0);
            segment.ReadableEnd = segment.Length;
            segments.Add(segment);
        }

        if (hot.Length == 0)
        {
            throw new DamagedLogException($"{directory}: the store has no segment, though it was made with one");
        }
    }

    /// <summary>
    /// Where the log begins that ends with the last of these files: behind the last gap between them.
    /// </summary>
    /// <exception cref="IOException">A file cannot be read.</exception>
    public static ulong FirstLsnOf(IDisk disk, string directory, IEnumerable<string> fileNames)
    {
        string[] names = [.. fileNames.Where(SegmentHeader.IsSegmentName).Where(name => !IsCold(name))
            .Order(StringComparer.Ordinal)];
        byte[] page = new byte[SegmentHeader.Bytes];
        ulong first = 0;
        ulong? next = null; // not known behind a damaged header page
        for (int i = 0; i < names.Length; i++)
        {
            _ = SegmentHeader.TryParseName(names[i], out _, out ulong baseLsn);
            first = i == 0 || (next is { } due && due != baseLsn) ? baseLsn : first;
            string path = Path.Join(directory, names[i]);
            Errno.Check(disk.Open(path, FileUse.Existing, out IDiskFile? file), "open", path);
            using (file)
            {
                Errno.Check(file!.Read(page, 0, out int read), "read", path);
                bool isIntact = read == page.Length && SegmentHeader.TryRead(page, out SegmentHeader header)
                    && (next = baseLsn + (ulong)header.SegmentBytes) is not null;
                next = isIntact ? next : null;
            }
        }

        return first;
    }

    /// <summary>
    /// A spare gets its header before its name, and records only after that name is durable: one with both is a
    /// segment, whatever it is called. One that is used again lost its header before it became a spare, and none of
    /// its old records has an address in the new one.
    /// </summary>
    private void RefuseSegment(string name, string[] names)
    {
        string path = Path.Join(directory, name);
        Errno.Check(disk.Open(path, FileUse.Existing, out IDiskFile? file), "open", path);
        using (file)
        {
            byte[] start = new byte[SegmentHeader.Bytes + RecordHeader.Bytes];
            Errno.Check(file!.Read(start, 0, out int read), "read", path);
            if (read == start.Length && SegmentHeader.TryRead(start.AsSpan(0, SegmentHeader.Bytes), out var header)
                && header.StoreId == format.StoreId && !names.Contains(header.FileName, StringComparer.Ordinal)
                && RecordHeader.TryRead(
                    start.AsSpan(SegmentHeader.Bytes), header.Salt, header.BaseLsn + SegmentHeader.Bytes,
                    header.SegmentBytes, out _))
            {
                throw new DamagedLogException(
                    $"{path}: the file is a segment with mail under a wrong name. Nothing was modified; rename it to "
                    + header.FileName);
            }
        }
    }

    private static bool IsCold(string name)
    {
        return SegmentHeader.TryParseName(name, out uint generation, out _) && generation != 0;
    }

    /// <summary>
    /// They are adjacent. In front of a gap there may be segments that were dropped, and whose names came back.
    /// </summary>
    private void OpenHot(string[] names)
    {
        ulong next = 0;
        ulong previous = 0;
        for (int i = 0; i < names.Length; i++)
        {
            string following = i + 1 < names.Length ? names[i + 1] : "";
            Segment segment = OpenOne(names[i], following, previous);
            if (segment.BaseLsn != next || i == 0)
            {
                PutAside();
            }
            else if (segment.Header.PreviousBaseLsn != previous)
            {
                segments.Add(segment);
                throw new DamagedLogException(
                    $"{segment.Path}: the segment was made to follow another than the one in front of it. Nothing was "
                    + "modified; put the right file back");
            }

            segments.Add(segment);
            next = segment.EndLsn;
            previous = segment.BaseLsn;
        }
    }

    private void PutAside()
    {
        foreach (Segment segment in segments.All)
        {
            _stale.Add(segment.Path);
            _ = damage.RemoveAll(d => d.Segment == segment);
            segments.Retire(segment);
        }
    }

    private Segment OpenOne(string name, string following, ulong previousBaseLsn)
    {
        string path = Path.Join(directory, name);
        Errno.Check(disk.Open(path, FileUse.Existing, out IDiskFile? file), "open", path);
        try
        {
            byte[] page = new byte[SegmentHeader.Bytes];
            Errno.Check(file!.Read(page, 0, out int read), "read", path);
            Errno.Check(file.Length(out long length), "measure", path);
            SegmentHeader header = default;
            bool isWhole = read == page.Length;
            bool isIntact = isWhole && SegmentHeader.TryRead(page, out header);
            if (!isIntact
                && !(isWhole && TryRebuild(file, path, following, length, previousBaseLsn, out header)))
            {
                throw new DamagedLogException(
                    $"{path}: the header page is damaged, and so are the records that could replace it. Nothing was "
                    + "modified; restore the file");
            }

            if (header.StoreId != format.StoreId || header.FileName != name)
            {
                throw new DamagedLogException($"{path}: the file belongs to another store or has another's name");
            }

            Errno.Check(Segment.Open(file, header, length, path, out Segment? segment), "map", path);
            Tell(segment!, length, isIntact);
            return segment!;
        }
        catch (IOException)
        {
            file!.Dispose();
            throw;
        }
    }

    private bool TryRebuild(
        IDiskFile file, string path, string following, long length, ulong previousBaseLsn, out SegmentHeader header)
    {
        header = default;
        if (!SegmentHeader.TryParseName(Path.GetFileName(path), out uint generation, out ulong baseLsn))
        {
            return false;
        }

        // Segments are adjacent: where the next begins, this one was made to end.
        long bytes = SegmentHeader.TryParseName(following, out _, out ulong nextLsn)
            ? (long)(nextLsn - baseLsn)
            : length;
        if (bytes < MailLogOptions.MinSegmentBytes || bytes > int.MaxValue)
        {
            return false;
        }

        byte[] records = new byte[HeaderSalvage.LookBytes];
        Errno.Check(file.Read(records, SegmentHeader.Bytes, out int read), "read", path);
        SegmentHeader known = new(format.StoreId, generation, 0, baseLsn, previousBaseLsn, 0, bytes);
        return read == records.Length && HeaderSalvage.TryRebuild(records, known, out header);
    }

    private void Tell(Segment segment, long length, bool isIntact)
    {
        if (!isIntact)
        {
            damage.Add(new DamagedRange(segment, 0, SegmentHeader.Bytes, "the header page is damaged") { Missing = 0 });
        }

        if (length != segment.Header.SegmentBytes)
        {
            notice($"{segment.Path}: the file has {length} bytes; it was made with {segment.Header.SegmentBytes}");
        }
    }
}
