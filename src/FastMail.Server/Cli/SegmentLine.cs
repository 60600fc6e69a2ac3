using FastMail.Storage;

namespace FastMail.Server.Cli;

/// <summary>What <c>log stat</c> tells of one segment file. A value.</summary>
/// <param name="Name">The file.</param>
/// <param name="Bytes">Its length.</param>
/// <param name="Count">Its messages.</param>
internal readonly record struct SegmentLine(string Name, long Bytes, SegmentCount Count)
{
    /// <summary>All of a log, in its order.</summary>
    public static IEnumerable<SegmentLine> Of(LogInspector log, LogTally tally)
    {
        IReadOnlyDictionary<string, SegmentCount> counts = tally.BySegment;
        return log.Names.Select(name => new SegmentLine(
            name, new FileInfo(log.PathOf(name)).Length, counts.GetValueOrDefault(log.PathOf(name))));
    }
}
