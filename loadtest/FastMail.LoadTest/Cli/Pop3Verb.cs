using System.CommandLine;
using System.Globalization;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Pop3;

namespace FastMail.LoadTest.Cli;

/// <summary>The verb <c>pop3</c>: its options, and a run made from them. Used by the main thread.</summary>
internal sealed class Pop3Verb
{
    private const string LoginAlone = "login";

    private static readonly string[] KnownCommands = ["stat", "list", "uidl", "retr", "dele"];

    private readonly Option<TargetAddress?> _target = new("--target", "-t")
    {
        Description = "The server: HOST:PORT, for example 127.0.0.1:2110 or [::1]:2110.",
        HelpName = "HOST:PORT",
        Required = true,
        CustomParser = OptionParsers.Target,
    };

    private readonly Option<string> _user = new("--user", "-u")
    {
        Description = "User name; {n} in it becomes 0 .. users-1. The password, the same for all, comes from the "
            + $"environment variable {PasswordSource.Variable} or by --password-stdin.",
        HelpName = "USER",
        Required = true,
    };

    private readonly Option<int> _users = SmtpOptions.Number(
        "--users", 1, 1, int.MaxValue, "How many users {n} goes over.");

    private readonly Option<bool> _passwordStdin = new("--password-stdin")
    {
        Description = "Read the password as the first line of standard input.",
    };

    private readonly Option<string?> _verifyLedger = new("--verify-ledger")
    {
        Description = "Collect every message of every user once and compare with this ledger of 'smtp --ledger': "
            + "acknowledged exactly once, in doubt at most once, refused never, octets as sent, nothing unknown; also "
            + "LIST's sizes and UIDL's uniqueness. Replaces --sessions, --retrieve and --do.",
        HelpName = "FILE",
    };

    private readonly Option<bool> _partial = new("--partial")
    {
        Description = "With --verify-ledger: leave out recipients of the ledger who are not among the users; without it "
            + "there must be none. A ledger that names none of the users is never clean.",
    };

    private readonly Option<int?> _sessions = new("--sessions", "-n")
    {
        Description = "Sessions to run, dealt over the users [default: 1].",
        HelpName = "N",
    };

    private readonly Option<TimeSpan?> _duration = new("--duration", "-d")
    {
        Description = "Begin sessions for this long instead of a number of them: 10, 10s, 500ms, 5m.",
        HelpName = "TIME",
        CustomParser = OptionParsers.Time,
    };

    private readonly Option<int> _parallel = SmtpOptions.Number(
        "--parallel", 1, 1, 10_000, "Sessions at the same time; at most --users, a maildrop admits one session.", "-c");

    private readonly Option<string> _do = new("--do")
    {
        Description = "What a session asks between login and QUIT, in this order: a comma list of stat, list, uidl, "
            + "retr and dele (all messages, or --retrieve of them); or login, for nothing between them.",
        HelpName = "LIST",
        DefaultValueFactory = _ => "stat,list,retr",
    };

    private readonly Option<int?> _retrieve = new("--retrieve")
    {
        Description = "Messages a session retrieves and deletes at most [default: all].",
        HelpName = "N",
    };

    private readonly Option<int> _depth = SmtpOptions.Number(
        "--depth", 1, 1, 200, "RETR or DELE commands in flight (PIPELINING); 1: one per round trip.");

    private readonly Option<bool> _delete = new("--delete")
    {
        Description = "DELE the retrieved messages before QUIT; the same as dele at the end of --do.",
    };

    private readonly Option<TimeSpan?> _timeout = new("--timeout")
    {
        Description = "Silence of the server after which a session is given up [default: 30].",
        HelpName = "TIME",
        CustomParser = OptionParsers.Time,
    };

    private readonly TlsOptions _tls = new();

    private readonly Option<string> _label = new("--label")
    {
        Description = "What 'report' calls this run [default: made from the options].",
        HelpName = "TEXT",
        DefaultValueFactory = _ => "",
    };

    private readonly Option<string?> _csv = new("--csv")
    {
        Description = "Write the messages, or the sessions of a run that retrieves none, and latencies of each second to "
            + "this file.",
        HelpName = "FILE",
    };

    private readonly Option<bool> _json = new("--json") { Description = "Print the result as one JSON object." };

    private readonly Option<bool> _quiet = new("--quiet", "-q") { Description = "No progress." };

    internal static Command Create()
    {
        var verb = new Pop3Verb();
        var command = new Command(
            "pop3",
            "Collects mail over POP3: measures sessions, or verifies that what 'smtp --ledger' sent is there.\n\n"
            + "Progress goes to standard error, as a display on a terminal unless --json is given, otherwise one line per "
            + "second; the result goes to standard output. Exit code 0 "
            + "when every session succeeded and the ledger is clean, 1 when not, 64 for a wrong command line, 65 for "
            + "a file that is no ledger, 74 when a file fails.\n\n"
            + "Example: FASTMAIL_LOAD_PASSWORD=secret fastmail-load pop3 --target 127.0.0.1:2110 --user demo@localhost "
            + "--verify-ledger run.ledger")
        {
            verb._target, verb._user, verb._users, verb._passwordStdin, verb._verifyLedger, verb._partial,
            verb._sessions, verb._duration, verb._parallel, verb._do, verb._retrieve, verb._depth, verb._delete,
            verb._timeout, verb._label, verb._csv, verb._json, verb._quiet,
        };
        foreach (Option option in verb._tls.All)
        {
            command.Add(option);
        }

        command.SetAction(verb.Execute);
        return command;
    }

    private int Execute(ParseResult line)
    {
        string[] contradictions = [.. ContradictionsIn(line)];
        if (contradictions.Length > 0)
        {
            return UsageError.Report(contradictions, "pop3");
        }

        if (PasswordSource.Read(line.GetValue(_passwordStdin)) is not { } password)
        {
            return UsageError.Report([PasswordSource.Missing], "pop3");
        }

        Pop3Plan plan = PlanOf(line, password);
        using TextWriter csv = CsvFile.Open(plan.CsvPath);
        LedgerAudit? audit = line.GetValue(_verifyLedger) is { } path
            ? new LedgerAudit(Ledger.Read(path), plan.Users) { IsPartial = line.GetValue(_partial) }
            : null;
        using var progress = ProgressOutput.Open(mayBeLive: !plan.IsQuiet && !line.GetValue(_json));
        using var run = new Pop3Run(plan with { IsQuiet = plan.IsQuiet || progress.IsLive }, audit, progress.Lines);
        using var interruption = new Interruption(run.Stop);
        progress.Begin(run.TakeStanding);
        run.Run();
        progress.End();
        if (line.GetValue(_json))
        {
            Pop3Report.WriteJson(run, Console.Out);
        }
        else
        {
            Pop3Report.WriteText(run, Console.Out);
        }

        run.Tally.Series.WriteCsv(csv);
        return run.IsAllWell ? ExitCode.Ok : ExitCode.NotAllWell;
    }

    private IEnumerable<string> ContradictionsIn(ParseResult line)
    {
        string user = line.GetValue(_user)!;
        int users = line.GetValue(_users);
        if (users > 1 && !user.Contains("{n}", StringComparison.Ordinal))
        {
            yield return $"--users {users} needs {{n}} in --user";
        }

        if (line.GetValue(_parallel) > users)
        {
            yield return "--parallel exceeds --users: a maildrop admits one session at a time";
        }

        if (line.GetValue(_sessions) is < 1)
        {
            yield return "--sessions: at least 1";
        }

        if (line.GetValue(_retrieve) is < 0)
        {
            yield return "--retrieve: at least 0";
        }

        if (line.GetValue(_verifyLedger) is not null
            && (line.GetValue(_sessions) is not null || line.GetValue(_duration) is not null))
        {
            yield return "--verify-ledger collects every maildrop once: --sessions and --duration have no place beside it";
        }

        if (line.GetValue(_verifyLedger) is not null && line.GetValue(_retrieve) is not null)
        {
            yield return "--verify-ledger collects every message: --retrieve has no place beside it";
        }

        if (line.GetValue(_partial) && line.GetValue(_verifyLedger) is null)
        {
            yield return "--partial needs --verify-ledger";
        }

        if (line.GetValue(_sessions) is not null && line.GetValue(_duration) is not null)
        {
            yield return "--sessions and --duration exclude each other";
        }

        foreach (string wrong in _tls.ContradictionsIn(line))
        {
            yield return wrong;
        }

        if (line.GetValue(_verifyLedger) is not null && line.GetResult(_do) is { Implicit: false })
        {
            yield return "--verify-ledger asks for all that it needs: --do has no place beside it";
        }

        string[] commands = CommandsOf(line);
        if (Array.IndexOf(commands, "dele") is >= 0 and var removed && removed < Array.LastIndexOf(commands, "retr"))
        {
            yield return "--do: what 'dele' has removed 'retr' cannot have any more: retr before dele";
        }

        foreach (string command in commands.Except(KnownCommands, StringComparer.Ordinal))
        {
            yield return $"--do: '{command}' is not one of {string.Join(", ", KnownCommands)}";
        }
    }

    private string[] CommandsOf(ParseResult line) =>
        line.GetValue(_do) is LoginAlone ? [] : line.GetValue(_do)!.Split(',', StringSplitOptions.TrimEntries);

    private Pop3Plan PlanOf(ParseResult line, string password)
    {
        int users = line.GetValue(_users);
        string pattern = line.GetValue(_user)!;
        bool isVerifying = line.GetValue(_verifyLedger) is not null;
        TimeSpan? duration = line.GetValue(_duration);
        return new Pop3Plan
        {
            Target = line.GetValue(_target)!,
            Tls = _tls.PlanOf(line, line.GetValue(_target)!),
            Users = [.. Enumerable.Range(0, users).Select(n =>
                pattern.Replace("{n}", n.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal))],
            Password = password,
            Label = line.GetValue(_label) is { Length: > 0 } label ? label : LabelOf(line),
            CsvPath = line.GetValue(_csv),
            Sessions = isVerifying ? users : duration is not null ? int.MaxValue : line.GetValue(_sessions) ?? 1,
            Duration = duration,
            Parallel = line.GetValue(_parallel),
            Steps = [.. CommandsOf(line).Select(name => Enum.Parse<Pop3Step>(name, ignoreCase: true))],
            Depth = line.GetValue(_depth),
            MostRetrieved = line.GetValue(_retrieve) ?? int.MaxValue,
            IsDeleting = line.GetValue(_delete) || CommandsOf(line).Contains("dele", StringComparer.Ordinal),
            Timeout = line.GetValue(_timeout) ?? TimeSpan.FromSeconds(30),
            IsQuiet = line.GetValue(_quiet),
        };
    }

    private string LabelOf(ParseResult line)
    {
        string inFlight = line.GetValue(_depth) == 1 ? "" : $", {line.GetValue(_depth)} in flight";
        return $"{line.GetValue(_parallel)} x {line.GetValue(_do)}{inFlight}";
    }
}
