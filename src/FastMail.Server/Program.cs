using System.CommandLine;
using FastMail.Server.Accounts;
using FastMail.Server.Cli;

Nfc.ForgetLocale();
if (!Nfc.IsAvailable)
{
    Console.Error.WriteLine(
        "fastmail: addresses and passwords cannot be compared without ICU; unset DOTNET_SYSTEM_GLOBALIZATION_INVARIANT");
    return ExitCode.Configuration;
}

// The name it was called by: the runtime tells only the file behind a link.
string calledAs = File.ReadAllText("/proc/self/cmdline").Split('\0')[0];
RootCommand root = CommandTree.Build();
ParseResult parsed = root.Parse(SendmailVerbs.Hide(calledAs, args), new ParserConfiguration
{
    ResponseFileTokenReplacer = null, // @example.org is a domain here, not a file of arguments
});
if (parsed.Errors.Count > 0)
{
    foreach (var error in parsed.Errors)
    {
        Console.Error.WriteLine($"fastmail: {error.Message}");
    }

    Console.Error.WriteLine($"Try: {CommandTree.PathOf(parsed.CommandResult.Command)} --help");
    return ExitCode.Usage;
}

return parsed.Invoke(new InvocationConfiguration
{
    EnableDefaultExceptionHandler = false, // a mistake of ours is a crash with its stack, not a polite line
    ProcessTerminationTimeout = null, // serve handles its signals itself
});
