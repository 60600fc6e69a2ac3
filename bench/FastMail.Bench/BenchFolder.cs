namespace FastMail.Bench;

/// <summary>
/// A directory of one benchmark's own: under FASTMAIL_BENCH_DIR, the disk that is meant, or under the folder for temporary
/// files. No two share one, in whatever process. Any thread.
/// </summary>
internal sealed class BenchFolder : IDisposable
{
    /// <param name="name">What it begins with, so that one that a killed process leaves behind says whose it was.</param>
    /// <exception cref="DirectoryNotFoundException">There is no such disk: none is made up for a mistyped one.</exception>
    public BenchFolder(string name)
    {
        string root = Environment.GetEnvironmentVariable("FASTMAIL_BENCH_DIR") ?? System.IO.Path.GetTempPath();
        if (!Directory.Exists(root))
        {
            throw new DirectoryNotFoundException($"FASTMAIL_BENCH_DIR is no directory: {root}");
        }

        Path = System.IO.Path.Join(System.IO.Path.GetFullPath(root), $"fastmail-bench-{name}-{Guid.NewGuid():N}");
        Directory.CreateDirectory(Path);
    }

    public string Path { get; }

    /// <summary>Removes it with all that is in it.</summary>
    public void Dispose()
    {
        Directory.Delete(Path, recursive: true);
    }
}
