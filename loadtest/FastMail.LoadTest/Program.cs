using System.CommandLine;
using FastMail.LoadTest.Cli;

var root = new RootCommand(
    "Load generators for mail servers: sends over SMTP, collects over POP3, receives what a relay sends on, and proves by a ledger outside the "
    + "server that what was acknowledged is there, once and unchanged.")
{
    SmtpVerb.Create(),
    Pop3Verb.Create(),
    SoakVerb.Create(),
    RelayVerb.Create(),
    SinkVerb.Create(),
    AuditVerb.Create(),
    ReportVerb.Create(),
};

ParseResult line = root.Parse(args);
if (line.Errors.Count > 0)
{
    string verb = line.CommandResult.Command is RootCommand ? "" : line.CommandResult.Command.Name;
    return UsageError.Report(line.Errors.Select(error => error.Message), verb);
}

try
{
    return line.Invoke(new InvocationConfiguration { EnableDefaultExceptionHandler = false });
}
catch (InvalidDataException wrong)
{
    Console.Error.WriteLine($"fastmail-load: {wrong.Message}");
    return ExitCode.BadLedger;
}
catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
{
    Console.Error.WriteLine($"fastmail-load: {failure.Message}");
    return ExitCode.InputOutput;
}
