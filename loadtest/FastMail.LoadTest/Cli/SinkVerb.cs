using System.CommandLine;
using System.Globalization;
using System.Text;
using System.Text.Json;
using FastMail.LoadTest.Kernel;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Sink;

namespace FastMail.LoadTest.Cli;

/// <summary>The verb <c>sink</c>: its options, and a sink made from them. Used by the main thread.</summary>
internal sealed class SinkVerb
{
    private readonly Option<TargetAddress?> _listen = new("--listen", "-l")
    {
        Description = "Where to listen: HOST:PORT; port 0 lets the system choose, the first line of output tells.",
        HelpName = "HOST:PORT",
        Required = true,
        CustomParser = OptionParsers.Listening,
    };

    private readonly Option<TimeSpan?> _delay = new("--delay")
    {
        Description = "Wait this long before the reply to a content: 10ms, 2s [default: 0].",
        HelpName = "TIME",
        CustomParser = OptionParsers.Time,
    };

    private readonly Option<double?> _delayShare = Share("--delay-share", "contents whose reply waits for --delay", 1);

    private readonly Option<double?> _refuseConnection = Share(
        "--refuse-connection", "connections greeted with 421 and closed");

    private readonly Option<double?> _defer = Share("--defer", "RCPT commands answered 450");

    private readonly Option<double?> _reject = Share(
        "--reject", "RCPT commands answered 550; with --defer at most 1");

    private readonly Option<double?> _deferContent = Share("--defer-content", "contents answered 451 at their end");

    private readonly Option<double?> _drop = Share(
        "--drop", "contents after which the connection is closed, unanswered; with --defer-content at most 1");

    private readonly Option<int> _readRate = SmtpOptions.Number(
        "--read-rate", 0, 0, int.MaxValue, "Octets a second that each connection reads; 0: as they come.");

    private readonly Option<double?> _readRateShare = Share(
        "--read-rate-share", "connections that keep to --read-rate, the others read as it comes", 1);

    private readonly Option<string?> _keywords = new("--keywords")
    {
        Description = "EHLO keywords to offer, separated by commas; PIPELINING, 8BITMIME, SMTPUTF8, CHUNKING and "
            + "ENHANCEDSTATUSCODES are understood [default: those].",
        HelpName = "LIST",
    };

    private readonly Option<int> _seed = SmtpOptions.Number("--seed", 1, 0, int.MaxValue, "Seed of the faults.");

    private readonly Option<string?> _record = new("--record")
    {
        Description = "Append a line to this file for each message and recipient that is accepted (ID SHA256 "
            + "RECIPIENT). For 'audit'.",
        HelpName = "FILE",
    };

    private readonly Option<TimeSpan?> _duration = new("--duration", "-d")
    {
        Description = "End after this long [default: at SIGTERM or SIGINT].",
        HelpName = "TIME",
        CustomParser = OptionParsers.Time,
    };

    private readonly Option<bool> _json = new("--json") { Description = "Print the result as one JSON object." };

    private readonly Option<bool> _quiet = new("--quiet", "-q") { Description = "No progress." };

    internal static Command Create()
    {
        var verb = new SinkVerb();
        var command = new Command(
            "sink",
            "Receives mail over SMTP, keeps nothing and counts: the next hop of a relay under test. It can be slow and "
            + "unwilling.\n\n"
            + "The line 'ready HOST:PORT' on standard output tells that it listens; progress goes to standard error, as a "
            + "display on a terminal unless --json is given, otherwise one line per second with mail; the result goes to "
            + "standard output at the end. Exit code 0, 64 for a wrong command line, 74 when a file "
            + "or the socket fails.\n\n"
            + "Example: fastmail-load sink --listen 127.0.0.1:2526 --defer 0.1 --delay 5ms")
        {
            verb._listen, verb._delay, verb._delayShare, verb._refuseConnection, verb._defer, verb._reject,
            verb._deferContent, verb._drop, verb._readRate, verb._readRateShare, verb._keywords, verb._seed, verb._record, verb._duration, verb._json, verb._quiet,
        };
        command.SetAction(verb.Execute);
        return command;
    }

    private static Option<double?> Share(string name, string of, int otherwise = 0) => new(name)
    {
        Description = $"Share of {of}, 0 to 1 [default: {otherwise}].",
        HelpName = "SHARE",
        CustomParser = OptionParsers.Share,
    };

    private int Execute(ParseResult line)
    {
        var plan = new SinkPlan
        {
            Listen = line.GetValue(_listen)!,
            Delay = line.GetValue(_delay) ?? TimeSpan.Zero,
            DelayShare = line.GetValue(_delayShare) ?? 1,
            RefuseConnectionShare = line.GetValue(_refuseConnection) ?? 0,
            DeferShare = line.GetValue(_defer) ?? 0,
            RejectShare = line.GetValue(_reject) ?? 0,
            DeferContentShare = line.GetValue(_deferContent) ?? 0,
            DropShare = line.GetValue(_drop) ?? 0,
            ReadRate = line.GetValue(_readRate),
            ReadRateShare = line.GetValue(_readRateShare) ?? 1,
            Seed = line.GetValue(_seed),
            RecordPath = line.GetValue(_record),
            Duration = line.GetValue(_duration),
            IsQuiet = line.GetValue(_quiet),
        };
        if (line.GetValue(_keywords) is { } keywords)
        {
            plan = plan with { Keywords = keywords.Split(',', StringSplitOptions.RemoveEmptyEntries) };
        }

        string[] contradictions = [.. ContradictionsIn(line, plan)];
        if (contradictions.Length > 0)
        {
            return UsageError.Report(contradictions, "sink");
        }

        using SinkRecord? record = plan.RecordPath is { } path ? new SinkRecord(path) : null;
        using var progress = ProgressOutput.Open(mayBeLive: !plan.IsQuiet && !line.GetValue(_json));
        using var sink = new SinkServer(
            plan with { IsQuiet = plan.IsQuiet || progress.IsLive }, record is null ? null : record.Add, progress.Lines);
        using var interruption = new Interruption(sink.Stop);
        Console.Out.WriteLine($"ready {new System.Net.IPEndPoint(plan.Listen.EndPoint.Address, sink.Port)}");
        Console.Out.Flush();
        progress.Begin(sink.TakeStanding);
        sink.Run();
        progress.End();
        Report(sink, line.GetValue(_json), Console.Out);
        return ExitCode.Ok;
    }

    private IEnumerable<string> ContradictionsIn(ParseResult line, SinkPlan plan)
    {
        if (plan.DeferShare + plan.RejectShare > 1)
        {
            yield return "--defer and --reject are shares of the same RCPT commands: together at most 1";
        }

        if (plan.DeferContentShare + plan.DropShare > 1)
        {
            yield return "--defer-content and --drop are shares of the same contents: together at most 1";
        }

        if (line.GetValue(_delayShare) is not null && plan.Delay == TimeSpan.Zero)
        {
            yield return "--delay-share needs --delay";
        }

        if (line.GetValue(_readRateShare) is not null && plan.ReadRate == 0)
        {
            yield return "--read-rate-share needs --read-rate";
        }
    }

    private static void Report(SinkServer sink, bool isJson, TextWriter output)
    {
        SinkTally tally = sink.Tally;
        if (!isJson)
        {
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"accepted {tally.Accepted} messages for {tally.AcceptedRecipients} recipients, {tally.Octets / 1e6:0.0} MB"
                + $", over {tally.Connections} connections in {sink.Elapsed.TotalSeconds:0.000} s\n"
                + $"connections refused {tally.RefusedConnections}; recipients deferred {tally.Deferred}, rejected {tally.Rejected}; contents deferred "
                + $"{tally.DeferredContents}, dropped {tally.Dropped}; bad commands {tally.BadCommands}, messages without "
                + $"a load id {tally.Unknown}"));
            return;
        }

        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber("accepted", tally.Accepted);
            json.WriteNumber("acceptedRecipients", tally.AcceptedRecipients);
            json.WriteNumber("octets", tally.Octets);
            json.WriteNumber("connections", tally.Connections);
            json.WriteNumber("refusedConnections", tally.RefusedConnections);
            json.WriteNumber("deferred", tally.Deferred);
            json.WriteNumber("rejected", tally.Rejected);
            json.WriteNumber("deferredContents", tally.DeferredContents);
            json.WriteNumber("dropped", tally.Dropped);
            json.WriteNumber("badCommands", tally.BadCommands);
            json.WriteNumber("unknown", tally.Unknown);
            json.WriteNumber("seconds", Math.Round(sink.Elapsed.TotalSeconds, 6));
            json.WriteEndObject();
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.ToArray()));
    }
}
