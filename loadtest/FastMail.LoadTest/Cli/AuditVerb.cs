using System.CommandLine;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Sink;

namespace FastMail.LoadTest.Cli;

/// <summary>The verb <c>audit</c>: a ledger against what sinks have recorded. Used by the main thread.</summary>
internal sealed class AuditVerb
{
    private readonly Argument<FileInfo> _ledger = new("LEDGER")
    {
        Description = "What was sent: the file of 'smtp --ledger'.",
    };

    private readonly Argument<FileInfo[]> _records = new("RECORD")
    {
        Description = "What arrived: files of 'sink --record'.",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<int> _mayDouble = SmtpOptions.Number(
        "--may-double", 0, 0, int.MaxValue,
        "Copies beyond the first that are forgiven: a relay that is killed may send again what was on its way.");

    private readonly Option<bool> _json = new("--json") { Description = "Print the result as one JSON object." };

    internal static Command Create()
    {
        var verb = new AuditVerb();
        verb._ledger.AcceptExistingOnly();
        verb._records.AcceptExistingOnly();
        var command = new Command(
            "audit",
            "Compares what arrived at sinks with what was sent: acknowledged exactly once for each recipient, in doubt at "
            + "most once, refused never, octets as sent, nothing unknown. A ledger that names nobody proves nothing.\n\n"
            + "Exit code 0 when that is so, 1 when not, 64 for a wrong command line, 65 for a file that is no ledger or "
            + "no record.")
        {
            verb._ledger, verb._records, verb._mayDouble, verb._json,
        };
        command.SetAction(verb.Execute);
        return command;
    }

    private int Execute(ParseResult line)
    {
        Ledger ledger = Ledger.Read(line.GetValue(_ledger)!.FullName);
        var audit = new LedgerAudit(ledger, ledger.Entries.Values.SelectMany(entry => entry.Recipients));
        foreach (FileInfo record in line.GetValue(_records)!)
        {
            SinkRecord.Replay(record.FullName, audit);
        }

        audit.Finish();
        if (line.GetValue(_json))
        {
            AuditReport.WriteJson(audit, Console.Out);
        }
        else
        {
            AuditReport.WriteText(audit, Console.Out);
        }

        bool isWell = audit.HasJudged && audit.Lost + audit.Foreign + audit.Damaged + audit.RefusedYetStored == 0
            && audit.Doubled <= line.GetValue(_mayDouble);
        return isWell ? ExitCode.Ok : ExitCode.NotAllWell;
    }
}
