using System.CommandLine;
using System.Text.Json;
using FastMail.Server.Control;
using FastMail.Storage;

namespace FastMail.Server.Cli;

/// <summary>
/// <c>fastmail log verify|stat|dump</c>: looks at the mail log of a data directory, beside a running server too, and
/// changes nothing.
/// </summary>
internal sealed class LogVerbs
{
    private readonly Option<string> _data;
    private readonly Option<bool> _json = new("--json") { Description = "Print one JSON object." };
    private readonly Option<bool> _jsonLines = new("--json") { Description = "Print one JSON object per line." };

    private readonly Option<ulong> _from = CommandTree.Parsed(
        "--from", "LSN", "Begin at this position, decimal or 0x and hexadecimal.", "0", Arguments.Position);

    private readonly Option<ulong?> _limit = new("--limit")
    {
        Description = "End after so many records.",
        HelpName = "N",
    };

    public LogVerbs(Option<string> data) => _data = data;

    public Command Build()
    {
        var verify = new Command("verify", """
            Checks every record: header, envelope and body by their checksums, addresses, numbers, ends of segments,
            and the body files of messages too long for a segment.

            Prints one line per problem and a summary. Exits with 0 when nothing acknowledged is damaged, and with 65
            otherwise. A torn tail, which any crash may leave, is told and is no damage; neither is a damaged checkpoint
            of the index, without which the next start goes. Ctrl-C ends it with what was found so far, and with 130
            when that is nothing.
            """)
        {
            _json,
        };
        verify.SetAction(parsed => Run(parsed, Verify));
        var stat = new Command("stat", """
            Counts segments, records by type, live and dead messages, mailboxes. Bodies are not checked.
            """)
        {
            _json,
        };
        stat.SetAction(parsed => Run(parsed, Stat));
        var dump = new Command("dump", """
            Prints one line per record: position, number, time, type, length and what the record says.
            Exits with 65 when it came across damage.
            """)
        {
            _from,
            _limit,
            _jsonLines,
        };
        dump.SetAction(parsed => Run(parsed, Dump));
        return new Command("log", """
            Looks at the mail log of a data directory. While a server has it open, everything is looked at that was
            durable when the verb began. Only compact changes anything, and no mail.
            """)
        {
            verify,
            stat,
            dump,
            new CompactVerb(_data).Build(),
        };
    }

    private int Run(ParseResult parsed, Func<ParseResult, LogAccess, int> verb)
    {
        try
        {
            using LogAccess access = LogAccess.Open(parsed.GetRequiredValue(_data));
            return verb(parsed, access);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or HttpRequestException)
        {
            Console.Error.WriteLine($"fastmail: {e.Message}");
            return CodeOf(e);
        }
    }

    private int Verify(ParseResult parsed, LogAccess access)
    {
        LogInspector log = access.Log;
        using var interruption = new Interruption();
        bool isJson = parsed.GetValue(_json);
        List<LogProblem> problems = [];
        LogTally tally = Tally(access, checkBodies: true, interruption, problem =>
        {
            problems.Add(problem);
            if (!isJson)
            {
                Console.Out.WriteLine(RecordText.Of(problem));
            }
        });
        if (isJson)
        {
            LogJson.Print(json =>
            {
                LogJson.WriteVerdict(json, log, tally, problems);
                json.WriteBoolean("isComplete", !interruption.IsRequested);
            });
        }
        else
        {
            foreach (LogCheckpoint checkpoint in log.Checkpoints)
            {
                Console.Out.WriteLine(RecordText.Of(checkpoint));
            }

            string missing = tally.MissingRecords > 0 ? $", {tally.MissingRecords} records missing" : "";
            string verdict = tally.Damages == 0 ? "no damage" : $"{tally.Damages} problems{missing}";
            Console.Out.WriteLine(interruption.IsRequested
                ? $"interrupted at position 0x{tally.EndLsn:x}; {verdict} so far: {tally.Records.Number} records"
                : $"{verdict}: {tally.Records.Number} records in {log.Segments} segments, {log.TotalBytes} bytes");
        }

        return CodeOf(tally, interruption);
    }

    private int Stat(ParseResult parsed, LogAccess access)
    {
        LogInspector log = access.Log;
        using var interruption = new Interruption();
        LogTally tally = Tally(access, checkBodies: false, interruption, _ => { });
        if (interruption.IsRequested)
        {
            Console.Error.WriteLine("fastmail: interrupted; counts of a part would mislead");
            return ExitCode.Interrupted;
        }

        ServerStatus? server = access.Status;
        if (parsed.GetValue(_json))
        {
            LogJson.Print(json =>
            {
                LogJson.WriteStatistics(json, log, tally);
                if (server is not null)
                {
                    json.WritePropertyName("server");
                    JsonSerializer.Serialize(json, server, ControlJson.Default.ServerStatus);
                }
            });
        }
        else
        {
            Console.Out.Write(RecordText.Of(log, tally));
            Console.Out.Write(server is null ? "" : RecordText.Of(server));
        }

        if (tally.Damages > 0)
        {
            Console.Error.WriteLine(
                $"fastmail: the log is damaged in {tally.Damages} places; fastmail log verify tells where");
        }

        return CodeOf(tally, interruption);
    }

    private int Dump(ParseResult parsed, LogAccess access)
    {
        LogInspector log = access.Log;
        using var interruption = new Interruption();
        bool isJson = parsed.GetValue(_jsonLines);
        ulong left = parsed.GetValue(_limit) ?? ulong.MaxValue;
        bool isDamaged = false;
        using var output = new StreamWriter(Console.OpenStandardOutput(), bufferSize: 64 * 1024);
        foreach (LogFinding finding in Until(interruption, log.Read(
            parsed.GetValue(_from), checkBodies: true, cancellation: interruption.Token)))
        {
            if (finding is LogRecord && left-- == 0)
            {
                break;
            }

            isDamaged |= finding is LogProblem { IsDamage: true };
            output.Write(isJson ? LogJson.Line(finding) : RecordText.Of(finding));
            output.Write('\n');
        }

        access.CheckHold();
        return CodeOf(isDamaged, interruption);
    }

    private static LogTally Tally(
        LogAccess access, bool checkBodies, Interruption interruption, Action<LogProblem> onProblem)
    {
        LogInspector log = access.Log;
        LogTally tally = new();
        long total = log.TotalBytes + (checkBodies ? log.Bodies.Bytes : 0);
        long bodies = 0;
        using var progress = new ProgressLine(total, TimeProvider.System);
        IEnumerable<LogFinding> findings = log.Read(
            checkBodies: checkBodies,
            bodyProgress: bytes => progress.Report(log.ReadBytes + (bodies += bytes)),
            cancellation: interruption.Token);
        foreach (LogFinding finding in Until(interruption, findings))
        {
            tally.Add(finding);
            if (finding is LogProblem problem)
            {
                progress.Clear();
                onProblem(problem);
            }

            progress.Report(Math.Min(log.ReadBytes + finding.Offset, log.TotalBytes) + bodies);
        }

        access.CheckHold();
        return tally;
    }

    /// <summary>What is found before the verb is to end.</summary>
    private static IEnumerable<LogFinding> Until(Interruption interruption, IEnumerable<LogFinding> findings)
    {
        using IEnumerator<LogFinding> next = findings.GetEnumerator();
        while (!interruption.IsRequested && MoveNext(interruption, next))
        {
            yield return next.Current;
        }
    }

    private static bool MoveNext(Interruption interruption, IEnumerator<LogFinding> next)
    {
        try
        {
            return next.MoveNext();
        }
        catch (OperationCanceledException) when (interruption.IsRequested)
        {
            return false; // in the middle of a body file
        }
    }

    /// <summary>Exit code of what the world can do to a verb that works on a data directory.</summary>
    public static int CodeOf(Exception e) => e switch
    {
        FileNotFoundException => ExitCode.NoInput,
        DataDirectoryInUseException or ControlException => ExitCode.TemporaryFailure,
        IncompatibleFormatException => ExitCode.Configuration,
        DamagedLogException => ExitCode.DataError,
        _ => ExitCode.IoError,
    };

    private static int CodeOf(LogTally tally, Interruption interruption) => CodeOf(tally.Damages > 0, interruption);

    private static int CodeOf(bool isDamaged, Interruption interruption) =>
        isDamaged ? ExitCode.DataError : interruption.IsRequested ? ExitCode.Interrupted : ExitCode.Ok;
}
