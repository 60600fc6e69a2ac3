namespace FastMail.Storage;

/// <summary>
/// What the MOVE records of a log say, read in advance: which segments may be absent, and which must be there. Owned by
/// one <see cref="LogInspector.Read"/>.
/// </summary>
internal sealed class MoveSurvey
{
    private readonly HashSet<ulong> _moved = [];
    private readonly List<(ulong Base, ulong End)> _retired = [];

    /// <summary>Hot segments below were dropped on purpose.</summary>
    public ulong RetiredBelow { get; private set; }

    /// <summary>Records are damaged: one of them may have said more.</summary>
    public bool MayBeUnsaid { get; private set; }

    /// <summary>Reads the headers of the log, if anything in it can depend on what they say.</summary>
    /// <exception cref="IOException">The disk failed.</exception>
    public static MoveSurvey Read(string directory, Guid storeId, string[] hot, bool hasCold, ulong? endLsn)
    {
        MoveSurvey survey = new();
        bool isWhole = !hasCold && AreAdjacent(directory, hot);
        foreach (string name in isWhole ? [] : hot)
        {
            string path = Path.Join(directory, name);
            LogChain chain = new(isSeqKnown: false);
            chain.Restart(LogInspector.BaseLsnOf(name));
            bool isLast = name == hot[^1];
            using InspectedSegment segment = InspectedSegment.Open(
                path, storeId, chain, isLast, isLast ? endLsn : null);
            foreach (LogFinding finding in segment.Read(checkBodies: false))
            {
                if (finding is LogRecord { Type: RecordType.Move } move)
                {
                    survey.Add(move);
                }

                survey.MayBeUnsaid |= finding is LogProblem;
            }
        }

        return survey;
    }

    /// <summary>Cold segments that the log speaks of and that are not there.</summary>
    public IEnumerable<LogProblem> Missing(string directory, string[] cold)
    {
        foreach (ulong baseLsn in _moved.Order())
        {
            string name = (default(SegmentHeader) with { Generation = 1, BaseLsn = baseLsn }).FileName;
            if (!cold.Contains(name, StringComparer.Ordinal))
            {
                yield return new LogProblem(
                    Path.Join(directory, name), 0, baseLsn, LogProblemKind.MissingSegment, 0,
                    "messages were moved to this segment, and it is not there");
            }
        }
    }

    /// <summary>From the first segment of all, each as long as the place of its successor says.</summary>
    private static bool AreAdjacent(string directory, string[] hot)
    {
        ulong next = 0;
        foreach (string name in hot)
        {
            if (LogInspector.BaseLsnOf(name) != next)
            {
                return false;
            }

            string path = Path.Join(directory, name);
            Errno.Check(ReadOnlyDisk.Instance.Open(path, FileUse.Existing, out IDiskFile? file), "open", path);
            using (file)
            {
                Errno.Check(file!.Length(out long length), "measure", path);
                next += (ulong)length;
            }
        }

        return hot.Length > 0;
    }

    private void Add(LogRecord move)
    {
        int known = _retired.Count;
        if (!MoveMeta.TryRead(move.Meta.Span, out ulong movedTo, _retired))
        {
            return;
        }

        if (movedTo != 0)
        {
            _ = _moved.Add(movedTo);
        }

        for (int i = known; i < _retired.Count; i++)
        {
            _ = _moved.Remove(_retired[i].Base);
            if (_retired[i].Base < SegmentList.ColdLsn)
            {
                RetiredBelow = Math.Max(RetiredBelow, _retired[i].End);
            }
        }
    }
}
