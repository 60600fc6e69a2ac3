namespace FastMail.LoadTest.Cli;

/// <summary>The file of <c>--csv</c>. Stateless.</summary>
internal static class CsvFile
{
    /// <summary>Before a run, so that one of hours does not fail at its end for a wrong path; without one, nowhere.</summary>
    /// <exception cref="IOException">It cannot be opened.</exception>
    internal static TextWriter Open(string? path) => path is null ? TextWriter.Null : new StreamWriter(path);
}
