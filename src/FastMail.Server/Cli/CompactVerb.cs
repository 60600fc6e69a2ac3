using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using FastMail.Server.Control;
using FastMail.Storage;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Cli;

/// <summary>
/// <c>fastmail log compact</c>: brings back the space of removed mail now, in a running server or without one.
/// </summary>
internal sealed class CompactVerb
{
    private readonly Option<string> _data;
    private readonly Option<bool> _json = new("--json") { Description = "Print one JSON object." };

    private readonly Option<double> _ratio = CommandTree.Parsed(
        "--dead-ratio", "RATIO", "Rewrite segments when more than this part of them is dead, 0 to 1.", "0.5", Ratio);

    public CompactVerb(Option<string> data) => _data = data;

    public Command Build()
    {
        var command = new Command("compact", """
            Brings back the space of removed mail now: removes dead segments and copies what is live out of segments
            that are mostly dead. A server does the same by itself, later: when two checkpoints stand behind, and for
            copying when the segments have rested for an hour. While a backup or another reader needs the files none is
            removed; what is copied then is freed when that has ended.

            Mail comes and goes meanwhile; nothing that is stored changes for its readers, unique-ids included. Ctrl-C
            ends it, with 130: what was done stays done, the copy that was being made is given up.
            """)
        {
            _ratio,
            _json,
        };
        command.SetAction((parsed, _) => RunAsync(parsed));
        return command;
    }

    private async Task<int> RunAsync(ParseResult parsed)
    {
        string directory = parsed.GetRequiredValue(_data);
        double ratio = parsed.GetRequiredValue(_ratio);
        CompactStep last = CompactStep.None;
        using var interruption = new Interruption();
        try
        {
            using var line = new ProgressLine(0, TimeProvider.System);
            void Report(CompactStep step)
            {
                last = step;
                line.Show(() => Text(step));
            }

            if (ControlClient.TryConnect(directory) is { } server)
            {
                using (server)
                {
                    await RemoteAsync(server, ratio, Report, interruption.Token);
                }
            }
            else
            {
                using OfflineStore offline = OfflineStore.Open(directory);
                Report(await offline.Store.CompactAsync(ratio, bytesPerSecond: 0, Report, interruption.Token));
            }
        }
        catch (OperationCanceledException) when (interruption.IsRequested)
        {
            // Told below.
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or HttpRequestException
            or SqliteException or Configuration.SettingException)
        {
            await Console.Error.WriteLineAsync($"fastmail: {e.Message}");
            return LogVerbs.CodeOf(e);
        }

        Print(last, parsed.GetValue(_json));
        return last.IsComplete ? ExitCode.Ok : ExitCode.Interrupted;
    }

    private static async Task RemoteAsync(
        ControlClient server, double ratio, Action<CompactStep> report, CancellationToken token)
    {
        string path = string.Create(CultureInfo.InvariantCulture, $"v1/log/compact?ratio={ratio}");
        using var reader = new StreamReader(server.OpenByPost(path));
        bool isOver = false;
        while (!isOver && await reader.ReadLineAsync(token) is { } line)
        {
            CompactStep step = JsonSerializer.Deserialize(line, ControlJson.Default.CompactStep)!;
            if (step.Error is { } error)
            {
                throw new IOException(error);
            }

            report(step);
            isOver = step.IsComplete;
        }

        if (!isOver)
        {
            throw new ControlException("the server stopped; what was moved by then stays moved");
        }
    }

    private static void Print(CompactStep step, bool isJson)
    {
        if (isJson)
        {
            Console.Out.WriteLine(JsonSerializer.Serialize(step, ControlJson.Default.CompactStep));
        }
        else
        {
            Console.Out.WriteLine((step.IsComplete ? "" : "interrupted; so far ") + Text(step));
        }
    }

    private static string Text(CompactStep step) =>
        $"{step.Segments} segments of {step.FreedBytes} bytes removed, {step.Messages} messages of "
        + $"{step.CopiedBytes} bytes moved"
        + (step.IsHeld ? "; no more is removed until the backup or reader has ended that needs the files" : "");

    private static double Ratio(string text) =>
        double.TryParse(text, NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double ratio) && ratio <= 1
            ? ratio
            : throw new FormatException($"'{text}' is not a ratio from 0 to 1, e.g. 0.5.");
}
