using System.CommandLine;
using FastMail.Server.Backup;
using FastMail.Server.Control;
using FastMail.Storage;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Cli;

/// <summary><c>fastmail backup</c>: a copy of the data directory that a server can be started in.</summary>
internal sealed class BackupVerb
{
    private readonly Option<string> _data;
    private readonly Argument<string> _target = new("DIR") { Description = "Where the backup goes; made when it is missing." };

    private readonly Option<bool> _incremental = new("--incremental")
    {
        Description = "Bring only what DIR lacks, and take away segments the store has dropped.",
    };

    private readonly Option<bool> _copy = new("--copy")
    {
        Description = "Copy everything. Without it, segments that never change again become hard links of the originals "
            + "where DIR is on the same file system: at no cost, but with the same medium under both.",
    };

    private readonly Option<bool> _noVerify = new("--no-verify") { Description = "Do not read the backup back and check it: the next run without this does." };
    private readonly Option<bool> _json = new("--json") { Description = "Print one JSON object." };

    public BackupVerb(Option<string> data) => _data = data;

    public Command Build()
    {
        var command = new Command("backup", """
            Makes a backup of the mail log, the accounts and the settings, of a running server too: everything it
            acknowledged before the backup began is in it. What was brought is read back and checked.

            Restore: copy DIR to where the data directory should be (cp -a DIR DATA) and start the server there.
            A backup that was interrupted, or whose server was stopped meanwhile, goes on with --incremental. Exits with 65 when the backup holds damage, with 73
            when DIR cannot take it.
            """)
        {
            _target,
            _incremental,
            _copy,
            _noVerify,
            _json,
        };
        command.SetAction(Run);
        return command;
    }

    private int Run(ParseResult parsed)
    {
        try
        {
            using LogAccess access = LogAccess.Open(parsed.GetRequiredValue(_data));
            return Run(parsed, access);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or HttpRequestException or SqliteException)
        {
            return Fail(LogVerbs.CodeOf(e), e.Message);
        }
    }

    private int Run(ParseResult parsed, LogAccess access)
    {
        LogInspector log = access.Log;
        string source = parsed.GetRequiredValue(_data);
        string target = parsed.GetRequiredValue(_target);
        using var interruption = new Interruption();
        using var progress = new ProgressLine(
            (log.TotalBytes + log.Bodies.Bytes) * (parsed.GetValue(_noVerify) ? 1 : 2), TimeProvider.System);
        long done = 0;
        var files = new BackupFiles(!parsed.GetValue(_copy), bytes => progress.Report(done += bytes), interruption.Token);
        var run = new BackupRun(source, target, log, files, access.CheckHold, TimeProvider.System.GetUtcNow());
        if (run.Refusal(parsed.GetValue(_incremental)) is { } refusal)
        {
            return Fail(ExitCode.CannotCreate, refusal);
        }

        try
        {
            BackupManifest manifest = run.Run();
            LogTally? tally = null;
            if (!parsed.GetValue(_noVerify))
            {
                tally = Verify(target, run, progress, done, interruption);
                (manifest with { UnverifiedFrom = null }).Write(target);
            }

            progress.Clear();
            Print(parsed, target, run, files, manifest, tally);
            return tally is { Damages: > 0 } ? ExitCode.DataError : ExitCode.Ok;
        }
        catch (OperationCanceledException)
        {
            progress.Clear();
            return Fail(ExitCode.Interrupted, $"interrupted; the same with --incremental goes on in {target}");
        }
    }

    /// <summary>Reads back what this run brought, and what no earlier run has read back to the end.</summary>
    private static LogTally Verify(string target, BackupRun run, ProgressLine progress, long done, Interruption interruption)
    {
        LogTally tally = new();
        using LogInspector copy = LogInspector.Open(target);
        long bodies = 0;
        IEnumerable<LogFinding> findings = copy.Read(
            run.UnverifiedFrom ?? 0,
            bodyProgress: bytes => progress.Report(done + copy.ReadBytes + (bodies += bytes)),
            cancellation: interruption.Token);
        foreach (LogFinding finding in findings)
        {
            interruption.Token.ThrowIfCancellationRequested();
            tally.Add(finding);
            if (finding is LogProblem { IsDamage: true } problem)
            {
                progress.Clear();
                Console.Error.WriteLine($"fastmail: {RecordText.Of(problem)}");
            }

            progress.Report(done + copy.ReadBytes + finding.Offset + bodies);
        }

        return tally;
    }

    private void Print(
        ParseResult parsed, string target, BackupRun run, BackupFiles files, BackupManifest manifest, LogTally? tally)
    {
        if (parsed.GetValue(_json))
        {
            LogJson.Print(json =>
            {
                json.WriteString("directory", Path.GetFullPath(target));
                json.WriteNumber("segments", manifest.Segments.Count);
                json.WriteNumber("kept", run.Kept);
                json.WriteNumber("linked", files.Linked);
                json.WriteNumber("copied", files.Copied);
                json.WriteNumber("copiedBytes", files.CopiedBytes);
                if (manifest.EndLsn is { } end)
                {
                    json.WriteNumber("endLsn", end);
                }

                if (tally is not null)
                {
                    json.WriteNumber("verifiedRecords", tally.Records.Number);
                    json.WriteNumber("damages", tally.Damages);
                }
            });
            return;
        }

        string verdict = tally is null ? "not read back"
            : tally.Damages == 0 ? $"{tally.Records.Number} records read back, no damage"
            : $"{tally.Damages} problems: the backup is as damaged as the log; fastmail log verify tells where";
        Console.Out.WriteLine(
            $"{manifest.Segments.Count} segments in {target}: {run.Kept} kept, {files.Linked} files linked, "
            + $"{files.Copied} copied ({files.CopiedBytes} bytes); {verdict}");
    }

    private static int Fail(int code, string message)
    {
        Console.Error.WriteLine($"fastmail: {message}");
        return code;
    }
}
