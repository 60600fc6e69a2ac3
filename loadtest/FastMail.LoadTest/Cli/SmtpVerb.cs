using System.CommandLine;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Smtp;

namespace FastMail.LoadTest.Cli;

/// <summary>The verb <c>smtp</c>: its options, and a run made from them. Used by the main thread.</summary>
internal sealed class SmtpVerb
{
    private readonly SmtpOptions _options = new();

    internal static Command Create()
    {
        var verb = new SmtpVerb();
        var command = new Command(
            "smtp",
            "Sends generated messages over SMTP and measures how fast they are acknowledged.\n\n"
            + "Progress goes to standard error, as a display on a terminal unless --json is given, otherwise one line per "
            + "second; the result goes to standard output. Exit code 0 "
            + "only when every message was acknowledged, 1 when not, 64 for a wrong command line, 65 for a file that "
            + "is no ledger, 74 when a file fails.\n\n"
            + "Example: fastmail-load smtp --target 127.0.0.1:2525 --to demo@localhost -n 100000 -c 20 -p full");
        verb._options.AddTo(command);
        command.SetAction(verb.Execute);
        return command;
    }

    private int Execute(ParseResult line)
    {
        if (!_options.TryPlan(line, needsPassword: false, out SmtpPlan? plan, out string[] wrong))
        {
            return UsageError.Report(wrong, "smtp");
        }

        using TextWriter csv = CsvFile.Open(plan.CsvPath);
        long firstSequence = 0;
        if (plan.LedgerPath is { } path && File.Exists(path))
        {
            firstSequence = Ledger.Read(path).NextSequence(plan.Seed);
        }

        using LedgerWriter? ledger = plan.LedgerPath is null ? null : new LedgerWriter(plan.LedgerPath);
        using var progress = ProgressOutput.Open(mayBeLive: !plan.IsQuiet && !_options.WantsJson(line));
        using var run = new SmtpRun(
            plan with { IsQuiet = plan.IsQuiet || progress.IsLive }, ledger, firstSequence, progress.Lines);
        using var interruption = new Interruption(run.Stop);
        progress.Begin(run.TakeStanding);
        run.Run();
        progress.End();
        if (_options.WantsJson(line))
        {
            SmtpReport.WriteJson(run, Console.Out);
        }
        else
        {
            SmtpReport.WriteText(run, Console.Out);
        }

        run.Tally.Series.WriteCsv(csv);
        return SmtpReport.IsAllAcknowledged(run) ? ExitCode.Ok : ExitCode.NotAllWell;
    }
}
