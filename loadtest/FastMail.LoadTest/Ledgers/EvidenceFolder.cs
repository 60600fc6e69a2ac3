namespace FastMail.LoadTest.Ledgers;

/// <summary>
/// A temporary folder for what was sent and what arrived, where the user named no files. It goes at the end, unless it is
/// needed to understand what went wrong. Used by one thread.
/// </summary>
internal sealed class EvidenceFolder(TextWriter progress) : IDisposable
{
    private readonly string _path = Directory.CreateTempSubdirectory("fastmail-load-").FullName;

    /// <summary>Something is wrong; an empty folder is wanted by nobody.</summary>
    internal bool IsWanted { get; set; }

    internal string PathOf(string file) => Path.Combine(_path, file);

    public void Dispose()
    {
        if (IsWanted && Directory.EnumerateFiles(_path).Any(file => new FileInfo(file).Length > 0))
        {
            progress.WriteLine($"fastmail-load: what was sent and what arrived is kept in {_path}");
        }
        else
        {
            Directory.Delete(_path, recursive: true);
        }
    }
}
