namespace FastMail.Storage;

/// <summary>
/// Reads the mail log of a data directory, record by record and across damage, and changes nothing: files are opened
/// for reading only. Without a server it holds the directory's lock, so that none begins to write meanwhile; beside a
/// server it reads what a <see cref="LogHold"/> of that server covers. Owned by its caller; one thread at a time.
/// </summary>
public sealed class LogInspector : IDisposable
{
    private const string LockName = "LOCK";
    private const string LogName = "log";

    private readonly string _directory;
    private readonly StoreFormat _format;
    private readonly IDiskFile? _lock;
    private readonly List<string> _names;
    private readonly ulong? _endLsn;
    private IReadOnlyList<LogCheckpoint>? _checkpoints;

    private LogInspector(string directory, StoreFormat format, IDiskFile? locked, List<string> names, ulong? endLsn)
    {
        _directory = directory;
        _format = format;
        _lock = locked;
        _names = names;
        _endLsn = endLsn;
        GrowingName = names.FindLast(name => IsHot(name));
        GrowingBytes = GrowingName is null || endLsn is null ? long.MaxValue : (long)(endLsn.Value - BaseLsnOf(GrowingName));
        TotalBytes = names.Sum(name => new FileInfo(Path.Join(directory, name)).Length);
        BodyFiles bodies = new(ReadOnlyDisk.Instance, StorePath, TimeProvider.System);
        foreach (FileInfo body in bodies.List().Select(id => new FileInfo(bodies.PathOf(id))))
        {
            Bodies = body.Exists ? Bodies.With(body.Length) : Bodies; // a server may have removed it meanwhile
        }
    }

    /// <summary>Segment files.</summary>
    public int Segments => _names.Count;

    /// <summary>Their length together, octets.</summary>
    public long TotalBytes { get; }

    /// <summary>Names of the segment files, in the order of the log.</summary>
    public IReadOnlyList<string> Names => _names;

    /// <summary>Path of a segment file, as findings tell it.</summary>
    public string PathOf(string name) => Path.Join(_directory, name);

    /// <summary>Everything below is durable and looked at; null when no server writes and all of it is.</summary>
    public ulong? EndLsn => _endLsn;

    /// <summary>The segment that a server writes into, or would; null when there is none.</summary>
    public string? GrowingName { get; }

    /// <summary>Octets of that segment that are durable; when no server runs, its length.</summary>
    public long GrowingBytes { get; }

    /// <summary>Body files, of messages that are too long for a segment.</summary>
    public LogCount Bodies { get; }

    /// <summary>Identity of the store.</summary>
    public Guid StoreId => _format.StoreId;

    /// <summary>
    /// The checkpoints of the index, newest first. One that was never finished is none.
    /// </summary>
    public IReadOnlyList<LogCheckpoint> Checkpoints =>
        _checkpoints ??= LogCheckpoint.ReadAll(Path.GetDirectoryName(_directory)!, _format.StoreId);

    /// <summary>Length of the segment files that a <see cref="Read"/> has finished with, octets.</summary>
    public long ReadBytes { get; private set; }

    /// <summary>Opens the log of a data directory for looking at it.</summary>
    /// <exception cref="FileNotFoundException">There is no mail log.</exception>
    /// <exception cref="DataDirectoryInUseException">A server has it open.</exception>
    /// <exception cref="IncompatibleFormatException">It needs a newer program.</exception>
    /// <exception cref="DamagedLogException">Its FORMAT file is damaged, without which nothing can be told.</exception>
    /// <exception cref="IOException">The disk failed.</exception>
    public static LogInspector Open(string directory)
    {
        string path = Path.GetFullPath(directory);
        IDiskFile? locked = Lock(path);
        try
        {
            StoreFormat format = ReadFormat(path);
            List<string> names = [];
            string log = Path.Join(path, LogName);
            Errno.Check(ReadOnlyDisk.Instance.List(log, names), "list", log);
            return new LogInspector(log, format, locked, InOrder(names), endLsn: null);
        }
        catch
        {
            locked?.Dispose();
            throw;
        }
    }

    /// <summary>Opens the log of a running server as far as a hold covers it. Throws what the other one throws.</summary>
    /// <param name="directory">The data directory.</param>
    /// <param name="extent">What the server holds, for as long as this is used.</param>
    public static LogInspector Open(string directory, LogExtent extent)
    {
        string path = Path.GetFullPath(directory);
        StoreFormat format = ReadFormat(path);
        return new LogInspector(Path.Join(path, LogName), format, null, InOrder(extent.Names), extent.EndLsn);
    }

    /// <summary>
    /// All records and problems in the order of the log, cold segments first, read while they are asked for. What lies
    /// behind a torn tail is left out: it was never acknowledged. A body that fails its checksum and looks punched out
    /// is told last, because what is removed later is no damage.
    /// </summary>
    /// <param name="fromLsn">Records below are left out; of segments below no body is read.</param>
    /// <param name="checkBodies">Whether to read the bodies and check them against their CRC.</param>
    /// <param name="bodyProgress">
    /// Told the octets of each step while body files are read, behind all records: a finding comes only of a bad one.
    /// </param>
    /// <param name="cancellation">Ends that in the middle of a file.</param>
    /// <exception cref="IncompatibleFormatException">A later program wrote here.</exception>
    /// <exception cref="IOException">The disk failed.</exception>
    /// <exception cref="OperationCanceledException">It was ended.</exception>
    public IEnumerable<LogFinding> Read(
        ulong fromLsn = 0, bool checkBodies = true, Action<int>? bodyProgress = null,
        CancellationToken cancellation = default)
    {
        ulong end = 0;
        InspectedBodies bodies = new(StorePath, bodyProgress, cancellation);
        ReadBytes = 0;
        HoleSuspects suspects = new();
        foreach (LogFinding finding in ReadAll(fromLsn, checkBodies))
        {
            if (finding is LogProblem { Hole: { } record } problem)
            {
                suspects.Add(record, problem); // whether it is damage depends on what comes later
                continue;
            }

            suspects.Note(finding);
            bool isHot = finding.Lsn < SegmentList.ColdLsn;
            end = isHot && finding is LogRecord last ? last.Lsn + (ulong)last.Bytes : end;
            if (finding.Lsn >= fromLsn)
            {
                bodies.Add(finding);
                yield return finding;
            }
            else
            {
                bodies.Note(finding);
            }
        }

        foreach (LogProblem problem in suspects.Guilty())
        {
            yield return problem;
        }

        foreach (LogProblem problem in checkBodies ? bodies.Check(isComplete: fromLsn == 0 && _endLsn is null) : [])
        {
            yield return problem;
        }

        if (_names.Count == 0)
        {
            yield return new LogProblem(
                _directory, 0, 0, LogProblemKind.MissingSegment, 0,
                "the store has no segment, though it was made with one");
        }
        else if (_endLsn is null && Checkpoints.Max(c => (ulong?)c.ProvenLsn) is { } proven && end < proven)
        {
            string name = _names.Last(n => !IsCold(n));
            ulong offset = end > BaseLsnOf(name) ? end - BaseLsnOf(name) : 0;
            yield return new LogProblem(
                Path.Join(_directory, name), (long)offset, end, LogProblemKind.MissingEnd, (long)(proven - end),
                $"the log ends here, and a checkpoint proves that it went on at least to 0x{proven:x}");
        }
    }

    /// <summary>Identity of the store in a directory; null when it holds none, or none that can be read.</summary>
    public static Guid? StoreIdOf(string directory)
    {
        try
        {
            return StoreFormat.Read(ReadOnlyDisk.Instance, Path.GetFullPath(directory))?.StoreId;
        }
        catch (IOException)
        {
            return null;
        }
    }

    /// <summary>Where a segment begins, by its name.</summary>
    public static ulong BaseLsnOf(string name)
    {
        return SegmentHeader.TryParseName(name, out _, out ulong baseLsn)
            ? baseLsn
            : throw new ArgumentException($"{name} does not name a segment", nameof(name));
    }

    /// <summary>
    /// Behind the last valid record of the segment that grows, or where durable records end while a server writes.
    /// </summary>
    /// <exception cref="IOException">The disk failed.</exception>
    public ulong FindEnd()
    {
        if (_endLsn is not null || GrowingName is null)
        {
            return _endLsn ?? 0;
        }

        LogChain chain = new(isSeqKnown: false);
        chain.Restart(BaseLsnOf(GrowingName));
        using InspectedSegment segment = InspectedSegment.Open(PathOf(GrowingName), _format.StoreId, chain, isLast: true);
        ulong end = chain.NextLsn + SegmentHeader.Bytes;
        foreach (LogRecord record in segment.Read(checkBodies: false).OfType<LogRecord>())
        {
            end = record.Lsn + (ulong)record.Bytes;
        }

        return end;
    }

    /// <summary>
    /// Two files with the name of one segment that were made as different segments, as after a store was put back to an
    /// older state and went on. A damaged header page says nothing of that.
    /// </summary>
    /// <exception cref="IOException">The disk failed.</exception>
    public static bool AreDifferentSegments(string path, string other) =>
        HeaderOf(path) is { } header && HeaderOf(other) is { } second && header != second;

    /// <summary>By its name, compaction made this segment.</summary>
    public static bool IsCold(string name)
    {
        return SegmentHeader.TryParseName(name, out uint generation, out _) && generation != 0;
    }

    /// <summary>The cold segments first, as what is in them came first.</summary>
    private IEnumerable<LogFinding> ReadAll(ulong fromLsn, bool checkBodies)
    {
        string[] hot = [.. _names.Where(name => !IsCold(name))];
        string[] cold = [.. _names.Where(IsCold)];
        MoveSurvey survey = MoveSurvey.Read(_directory, _format.StoreId, hot, cold.Length > 0, _endLsn);
        foreach (string name in cold)
        {
            using InspectedSegment segment = InspectedSegment.Open(
                Path.Join(_directory, name), _format.StoreId, LogChain.OfCold(name), isLast: false, null);
            foreach (LogFinding finding in segment.EndLsn > fromLsn ? segment.Read(checkBodies) : [])
            {
                yield return finding;
            }

            ReadBytes += segment.FileBytes;
        }

        foreach (LogProblem problem in survey.Missing(_directory, cold))
        {
            yield return problem;
        }

        foreach (LogFinding finding in ReadHot(hot, survey, fromLsn, checkBodies, isAllNeeded: cold.Length > 0))
        {
            yield return finding;
        }
    }

    /// <param name="isAllNeeded">What was removed below <paramref name="fromLsn"/> may be a message of a cold segment.</param>
    private IEnumerable<LogFinding> ReadHot(
        string[] names, MoveSurvey survey, ulong fromLsn, bool checkBodies, bool isAllNeeded)
    {
        LogChain chain = new(isSeqKnown: fromLsn == 0);
        ulong dropped = survey.RetiredBelow;
        if (survey.MayBeUnsaid)
        {
            dropped = Math.Max(dropped, Checkpoints.Max(c => (ulong?)c.OldestNeededLsn) ?? 0);
        }

        for (int i = 0; i < names.Length; i++)
        {
            string path = Path.Join(_directory, names[i]);
            bool isLast = i == names.Length - 1;
            if (SegmentHeader.TryParseName(names[i], out _, out ulong baseLsn) && baseLsn != chain.NextLsn
                && baseLsn <= dropped)
            {
                chain.Restart(baseLsn); // what would stand in front was dropped
            }

            using InspectedSegment segment = InspectedSegment.Open(
                path, _format.StoreId, chain, isLast, isLast ? _endLsn : null);
            bool isAsked = segment.EndLsn > fromLsn;
            foreach (LogFinding finding in isAsked || isAllNeeded ? segment.Read(checkBodies && isAsked) : [])
            {
                yield return finding;
            }

            chain.PreviousBaseLsn = segment.BaseLsn;
            chain.NextLsn = segment.EndLsn;
            ReadBytes += segment.FileBytes;
        }
    }

    /// <summary>Gives the directory back.</summary>
    public void Dispose()
    {
        _lock?.Dispose();
    }

    private string StorePath => Path.GetDirectoryName(_directory)!;

    private static bool IsHot(string name)
    {
        return SegmentHeader.TryParseName(name, out uint generation, out _) && generation == 0;
    }

    private static SegmentHeader? HeaderOf(string path)
    {
        byte[] page = new byte[SegmentHeader.Bytes];
        Errno.Check(ReadOnlyDisk.Instance.Open(path, FileUse.Existing, out IDiskFile? file), "open", path);
        using (file)
        {
            Errno.Check(file!.Read(page, 0, out int read), "read", path);
            return read == page.Length && SegmentHeader.TryRead(page, out SegmentHeader header) ? header : null;
        }
    }

    private static StoreFormat ReadFormat(string path)
    {
        return StoreFormat.Read(ReadOnlyDisk.Instance, path)
            ?? throw new FileNotFoundException($"{path} holds no mail log", path);
    }

    private static List<string> InOrder(IEnumerable<string> names)
    {
        return [.. names.Where(SegmentHeader.IsSegmentName).Order(StringComparer.Ordinal)];
    }

    /// <summary>Null when there is no lock file, as in a copy: then no server has ever opened this directory.</summary>
    private static IDiskFile? Lock(string directory)
    {
        string path = Path.Join(directory, LockName);
        int errno = ReadOnlyDisk.Instance.Open(path, FileUse.Existing, out IDiskFile? file);
        if (errno == Errno.NotFound)
        {
            return null;
        }

        Errno.Check(errno, "open", path);
        errno = file!.TryLock();
        if (errno == 0)
        {
            return file;
        }

        file.Dispose();
        throw errno == Errno.WouldBlock
            ? new DataDirectoryInUseException($"{directory} is in use by a server; stop it first, or look at a copy")
            : Errno.Failure(errno, "lock", path);
    }
}

