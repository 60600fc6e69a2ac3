namespace FastMail.LoadTest.Cli;

/// <summary>
/// Where a password comes from: the first line of standard input or the environment, never the command line, which
/// every user of the machine can read.
/// </summary>
internal static class PasswordSource
{
    internal const string Variable = "FASTMAIL_LOAD_PASSWORD";

    internal const string Missing = $"no password: set {Variable} or give --password-stdin and the password as a line";

    internal static string? Read(bool fromStandardInput) =>
        fromStandardInput ? Console.In.ReadLine() : Environment.GetEnvironmentVariable(Variable);
}
