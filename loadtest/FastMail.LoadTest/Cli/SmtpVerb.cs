using System.CommandLine;
using System.Runtime.InteropServices;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Smtp;

namespace FastMail.LoadTest.Cli;

/// <summary>The verb <c>smtp</c>: its options, and a run made from them. Used by the main thread.</summary>
internal sealed class SmtpVerb
{
    private readonly SmtpOptions _options = new();

    private readonly Option<bool> _json = new("--json") { Description = "Print the result as one JSON object." };

    private readonly Option<bool> _quiet = new("--quiet", "-q") { Description = "No progress lines." };

    internal static Command Create()
    {
        var verb = new SmtpVerb();
        var command = new Command(
            "smtp",
            "Sends generated messages over SMTP and measures how fast they are acknowledged.\n\n"
            + "Progress goes to standard error, one line per second; the result goes to standard output. Exit code 0 "
            + "only when every message was acknowledged, 1 when not, 64 for a wrong command line, 65 for a file that "
            + "is no ledger, 74 when a file fails.\n\n"
            + "Example: fastmail-load smtp --target 127.0.0.1:2525 --to demo@localhost -n 100000 -c 20 -p full");
        foreach (Option option in verb._options.All)
        {
            command.Add(option);
        }

        command.Add(verb._json);
        command.Add(verb._quiet);
        command.SetAction(verb.Execute);
        return command;
    }

    private int Execute(ParseResult line)
    {
        string[] contradictions = [.. _options.ContradictionsIn(line)];
        if (contradictions.Length > 0)
        {
            return UsageError.Report(contradictions, "smtp");
        }

        if (!_options.TryReadPassword(line, out string? password))
        {
            return UsageError.Report([PasswordSource.Missing], "smtp");
        }

        SmtpPlan plan = _options.PlanOf(line, password, line.GetValue(_quiet));
        long firstSequence = 0;
        if (plan.LedgerPath is { } path && File.Exists(path))
        {
            firstSequence = Ledger.Read(path).NextSequence(plan.Seed);
        }

        using LedgerWriter? ledger = plan.LedgerPath is null ? null : new LedgerWriter(plan.LedgerPath);
        using var run = new SmtpRun(plan, ledger, firstSequence, Console.Error);
        void StopGently(PosixSignalContext signal)
        {
            signal.Cancel = true;
            run.Stop();
        }

        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, StopGently);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, StopGently);
        run.Run();
        SmtpReport.WriteCsv(run);
        if (line.GetValue(_json))
        {
            SmtpReport.WriteJson(run, Console.Out);
        }
        else
        {
            SmtpReport.WriteText(run, Console.Out);
        }

        return SmtpReport.IsAllAcknowledged(run) ? ExitCode.Ok : ExitCode.NotAllWell;
    }
}
