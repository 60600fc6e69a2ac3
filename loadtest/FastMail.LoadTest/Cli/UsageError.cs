namespace FastMail.LoadTest.Cli;

/// <summary>Says what is wrong with a command line and where help is. Stateless.</summary>
internal static class UsageError
{
    internal static int Report(IEnumerable<string> errors, string verb)
    {
        foreach (string error in errors.Distinct(StringComparer.Ordinal))
        {
            Console.Error.WriteLine($"fastmail-load: {error}");
        }

        Console.Error.WriteLine($"Try 'fastmail-load {verb}{(verb.Length > 0 ? " " : "")}--help'.");
        return ExitCode.Usage;
    }
}
