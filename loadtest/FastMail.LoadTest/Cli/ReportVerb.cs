using System.CommandLine;
using FastMail.LoadTest.Report;

namespace FastMail.LoadTest.Cli;

/// <summary>The verb <c>report</c>: results into a page. Used by the main thread.</summary>
internal sealed class ReportVerb
{
    private readonly Argument<FileInfo[]> _results = new("RESULT")
    {
        Description = "Files with the output of 'smtp --json', 'relay --json', 'pop3 --json', 'soak --json' or "
            + "'bench/curves.py --json', one result each.",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<FileInfo> _output = new("--output", "-o")
    {
        Description = "The page to write.",
        HelpName = "FILE",
        Required = true,
    };

    private readonly Option<string> _title = new("--title")
    {
        Description = "Heading of the page.",
        HelpName = "TEXT",
        DefaultValueFactory = _ => "Load test",
    };

    internal static Command Create()
    {
        var verb = new ReportVerb();
        verb._results.AcceptExistingOnly();
        var command = new Command(
            "report",
            "Turns results into one self-contained HTML page: a table, throughput over time, latency percentiles, and a "
            + "ramp curve when the runs differ in their connections.\n\n"
            + "Exit code 0, 64 for a wrong command line, 65 for a file that is no result, 74 when a file fails.\n\n"
            + "Example: for c in 1 10 100; do fastmail-load smtp -t 127.0.0.1:2525 -c $c -d 10 --json > $c.json; done; "
            + "fastmail-load report 1.json 10.json 100.json -o report.html")
        {
            verb._results, verb._output, verb._title,
        };
        command.SetAction(verb.Execute);
        return command;
    }

    private int Execute(ParseResult line)
    {
        List<RunResult> results = [];
        List<Curve> curves = [];
        foreach (FileInfo file in line.GetValue(_results)!)
        {
            if (CurveSheet.Read(file.FullName) is { } sheet)
            {
                curves.AddRange(sheet);
            }
            else
            {
                results.Add(RunResult.Read(file.FullName));
            }
        }

        string page = HtmlReport.Write(line.GetValue(_title)!, results, curves);
        File.WriteAllText(line.GetValue(_output)!.FullName, page);
        return ExitCode.Ok;
    }
}
