using System.CommandLine;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Relay;
using FastMail.LoadTest.Sink;
using FastMail.LoadTest.Smtp;

namespace FastMail.LoadTest.Cli;

/// <summary>The verb <c>relay</c>: its options, and a run made from them. Used by the main thread.</summary>
internal sealed class RelayVerb
{
    private readonly SmtpOptions _options = new();

    private readonly Option<TargetAddress?> _sink = new("--sink")
    {
        Description = "Where the built-in sink listens, which the relay must be told to send to: HOST:PORT.",
        HelpName = "HOST:PORT",
        Required = true,
        CustomParser = OptionParsers.Listening,
    };

    private readonly Option<TimeSpan?> _settle = new("--settle")
    {
        Description = "Once all is sent, wait for what is missing as long as something arrives at least this often; for "
            + "copies of what is there too, when connections were lost, otherwise for a second [default: 10].",
        HelpName = "TIME",
        CustomParser = OptionParsers.Time,
    };

    private readonly Option<string?> _record = new("--record")
    {
        Description = "Append what arrives to this file, for 'audit' [default: a temporary one]. A --ledger that is there "
            + "already needs the record that belongs to it.",
        HelpName = "FILE",
    };

    internal static Command Create()
    {
        var verb = new RelayVerb();
        var command = new Command(
            "relay",
            "Measures a relay: sends to it over SMTP, receives from it with a built-in sink, tells how fast mail goes "
            + "through and how long it takes from submission to arrival, and audits that nothing is lost, doubled or "
            + "altered.\n\n"
            + "Progress goes to standard error, as a display on a terminal unless --json is given, otherwise one line per "
            + "second; the result goes to standard output. Exit code 0 "
            + "only when every message was acknowledged and arrived once, 1 when not, 64 for a wrong command line, 74 "
            + "when a file or the socket fails.\n\n"
            + "Example: fastmail-load relay --target 127.0.0.1:2525 --sink 127.0.0.1:2526 --to 'u{n}@relay.test' "
            + "--users 100 -n 100000")
        {
            verb._sink, verb._settle, verb._record,
        };
        verb._options.AddTo(command);
        command.SetAction(verb.Execute);
        return command;
    }

    private int Execute(ParseResult line)
    {
        if (!_options.TryPlan(line, needsPassword: false, out SmtpPlan? plan, out string[] wrong))
        {
            return UsageError.Report(wrong, "relay");
        }

        if (plan.LedgerPath is { } path && File.Exists(path) && line.GetValue(_record) is null)
        {
            // All of the ledger is audited: what earlier runs sent would be missing in a new record.
            return UsageError.Report([$"--ledger {path} is that of an earlier run: --record must name that run's"], "relay");
        }

        using TextWriter csv = CsvFile.Open(plan.CsvPath);
        using var progress = ProgressOutput.Open(mayBeLive: !plan.IsQuiet && !_options.WantsJson(line));
        using var run = new RelayRun(
            plan with { IsQuiet = plan.IsQuiet || progress.IsLive },
            new SinkPlan { Listen = line.GetValue(_sink)!, RecordPath = line.GetValue(_record) },
            line.GetValue(_settle) ?? TimeSpan.FromSeconds(10),
            progress.Lines)
        {
            KeepsEvidence = true,
        };
        using var interruption = new Interruption(run.Stop);
        progress.Begin(run.TakeStanding);
        run.Run();
        progress.End();
        if (_options.WantsJson(line))
        {
            RelayReport.WriteJson(run, Console.Out);
        }
        else
        {
            RelayReport.WriteText(run, Console.Out);
        }

        run.Arrivals.WriteCsv(csv);
        return RelayReport.IsAllRelayed(run) ? ExitCode.Ok : ExitCode.NotAllWell;
    }
}
