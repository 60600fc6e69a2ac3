using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Pop3;
using FastMail.LoadTest.Smtp;
using FastMail.LoadTest.Soak;

namespace FastMail.LoadTest.Cli;

/// <summary>The verb <c>soak</c>: its options, and a run made from them. Used by the main thread.</summary>
internal sealed class SoakVerb
{
    private readonly SmtpOptions _options = new();

    private readonly Option<TargetAddress?> _pop3 = new("--pop3")
    {
        Description = "Where the same server speaks POP3: HOST:PORT. Users are the mailboxes of --to; their password, the "
            + $"same for all, comes from {PasswordSource.Variable} or by --password-stdin.",
        HelpName = "HOST:PORT",
        Required = true,
        CustomParser = OptionParsers.Target,
    };

    private readonly Option<int> _collectors = SmtpOptions.Number(
        "--collectors", 2, 1, 1000, "POP3 sessions at the same time.");

    private readonly Option<TimeSpan?> _settle = new("--settle")
    {
        Description = "At the end, collect until nothing could be collected for this long, because the server refuses or "
            + "is away [default: 60]. A second signal ends the collecting at once.",
        HelpName = "TIME",
        CustomParser = OptionParsers.Time,
    };

    internal static Command Create()
    {
        var verb = new SoakVerb();
        var command = new Command(
            "soak",
            "Sends over SMTP while it collects and removes over POP3, for as long as --duration says, then collects the "
            + "rest and compares with the ledger: nothing acknowledged may be lost, doubled or altered. The server may "
            + "be killed and started meanwhile; lost connections are counted and forgiven.\n\n"
            + "Progress goes to standard error, as a display on a terminal unless --json is given, otherwise one line per "
            + "second; the result goes to standard output. Exit code 0 "
            + "when it sent for as long as it was told or until it was stopped and the ledger is clean, 1 when not or a "
            + "maildrop could not be collected, 64 for a wrong command line, 65 for a file that is no ledger, 74 when a "
            + "file fails.\n\n"
            + "Example: FASTMAIL_LOAD_PASSWORD=secret fastmail-load soak --target 127.0.0.1:2525 --pop3 127.0.0.1:2110 "
            + "--to 'user{n}@example.org' --users 50 --size 0..1M --duration 8h --ledger /elsewhere/soak.ledger")
        {
            verb._pop3, verb._collectors, verb._settle,
        };
        verb._options.AddTo(command);
        command.SetAction(verb.Execute);
        return command;
    }

    private int Execute(ParseResult line)
    {
        if (!_options.TryPlan(line, needsPassword: true, out SmtpPlan? plan, out string[] wrong))
        {
            return UsageError.Report(wrong, "soak");
        }

        using TextWriter csv = CsvFile.Open(plan.CsvPath);
        string[] users = [.. _options.MailboxesOf(line)];
        var pop3 = new Pop3Plan
        {
            Target = line.GetValue(_pop3)!,
            Users = users,
            Password = plan.Password!,
            Parallel = Math.Min(line.GetValue(_collectors), users.Length),
            Depth = 16,
            IsDeleting = true,
            Timeout = TimeSpan.FromSeconds(30),
            IsQuiet = true,
        };
        using var progress = ProgressOutput.Open(mayBeLive: !plan.IsQuiet && !_options.WantsJson(line));
        using var run = new SoakRun(
            plan with { IsQuiet = plan.IsQuiet || progress.IsLive },
            pop3,
            line.GetValue(_settle) ?? TimeSpan.FromSeconds(60),
            progress.Lines)
        {
            KeepsEvidence = true,
        };
        using var interruption = new Interruption(run.Stop);
        progress.Begin(run.TakeStanding);
        run.Run();
        progress.End();
        Report(run, _options.WantsJson(line), Console.Out);
        run.Source.Tally.Series.WriteCsv(csv);
        return run.IsWell ? ExitCode.Ok : ExitCode.NotAllWell;
    }

    private static void Report(SoakRun run, bool isJson, TextWriter output)
    {
        if (!isJson)
        {
            SmtpReport.WriteText(run.Source, output);
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"collected {run.Collected}, unknown {run.Unknown}, wrong listings {run.WrongListings}, failed sessions "
                + $"{run.FailedSessions}, maildrops not collected {run.Uncollected.Count} {string.Join(' ', run.Uncollected)}"));
            AuditReport.WriteText(run.Audit!, output);
            return;
        }

        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteBoolean("allWell", run.IsWell);
            json.WriteStartObject("source");
            SmtpReport.Write(run.Source, json);
            json.WriteEndObject();
            json.WriteNumber("collected", run.Collected);
            json.WriteNumber("unknown", run.Unknown);
            json.WriteNumber("wrongListings", run.WrongListings);
            json.WriteNumber("failedSessions", run.FailedSessions);
            Measure.JsonText.WriteStrings(json, "uncollected", run.Uncollected);
            json.WriteStartObject("ledger");
            AuditReport.Write(run.Audit!, json);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.ToArray()));
    }
}
