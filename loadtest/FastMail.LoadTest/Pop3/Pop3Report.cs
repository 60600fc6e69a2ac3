using System.Globalization;
using System.Text;
using System.Text.Json;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Measure;

namespace FastMail.LoadTest.Pop3;

/// <summary>The result of a finished run, for people and for programs. Reads the run; any one thread.</summary>
internal static class Pop3Report
{
    internal static void WriteText(Pop3Run run, TextWriter output)
    {
        Pop3Tally tally = run.Tally;
        double seconds = run.Elapsed.TotalSeconds;
        string wanted = run.Plan.Duration is null ? Line($" of {run.Plan.Sessions}") : "";
        output.WriteLine(Line($"sessions {tally.Sessions}{wanted} in {seconds:0.000} s: {tally.Sessions / seconds:0}/s"));
        output.WriteLine(Line($"messages {tally.Messages}: {tally.Messages / seconds:0}/s, ")
            + Line($"{tally.Octets / seconds / 1e6:0.0} MB/s; deleted {tally.Deleted}"));
        foreach ((string command, LatencyHistogram latency) in tally.Latencies)
        {
            output.WriteLine($"{command,-8}{LatencyText.Of(latency)}");
        }

        tally.Tls.WriteText(run.Elapsed, output);
        output.WriteLine(Line($"failed sessions {tally.Faults}, wrong listings {tally.ListingFaults}"));
        output.WriteLine(Line($"generator CPU {run.UserTime.TotalSeconds:0.000} s user, ")
            + Line($"{run.SystemTime.TotalSeconds:0.000} s system, {CpuOver(run, tally.Sessions):0.0} us/session, ")
            + Line($"{CpuOver(run, tally.Messages):0.0} us/message"));
        if (run.Audit is { } audit)
        {
            AuditReport.WriteText(audit, output);
        }
    }

    internal static void WriteJson(Pop3Run run, TextWriter output)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            WriteFigures(run, json);
            WriteTimes(run, json);
            if (run.Audit is { } audit)
            {
                json.WriteStartObject("ledger");
                AuditReport.Write(audit, json);
                json.WriteEndObject();
            }

            JsonText.WriteStrings(json, "firstErrors", run.FirstErrors);
            run.Tally.Series.Write(json);
            json.WriteEndObject();
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.ToArray()));
    }

    private static void WriteFigures(Pop3Run run, Utf8JsonWriter json)
    {
        Pop3Tally tally = run.Tally;
        double seconds = run.Elapsed.TotalSeconds;
        json.WriteString("label", run.Plan.Label);
        json.WriteNumber("connections", run.Plan.Parallel);
        json.WriteNumber("inFlight", run.Plan.Depth);
        json.WriteString("commands", run.Plan.CommandsText);
        json.WriteBoolean("allWell", run.IsAllWell);
        json.WriteNumber("sessions", tally.Sessions);
        if (run.Plan.Duration is null)
        {
            json.WriteNumber("sessionsWanted", run.Plan.Sessions);
        }

        json.WriteNumber("failedSessions", tally.Faults);
        json.WriteNumber("wrongListings", tally.ListingFaults);
        json.WriteNumber("messages", tally.Messages);
        json.WriteNumber("octets", tally.Octets);
        json.WriteNumber("deleted", tally.Deleted);
        json.WriteNumber("seconds", Math.Round(seconds, 6));
        json.WriteNumber("sessionsPerSecond", Math.Round(tally.Sessions / seconds, 1));
        json.WriteNumber("messagesPerSecond", Math.Round(tally.Messages / seconds, 1));
        json.WriteNumber("megabytesPerSecond", Math.Round(tally.Octets / seconds / 1e6, 3));
        json.WriteString("counted", run.Plan.IsRetrieving ? "messages" : "sessions");
    }

    private static void WriteTimes(Pop3Run run, Utf8JsonWriter json)
    {
        json.WriteStartObject("latencyMicroseconds");
        foreach ((string command, LatencyHistogram latency) in run.Tally.Latencies)
        {
            LatencyText.Write(json, command, latency);
        }

        json.WriteEndObject();
        run.Tally.Tls.Write(json, run.Elapsed);
        json.WriteNumber("cpuUserSeconds", Math.Round(run.UserTime.TotalSeconds, 6));
        json.WriteNumber("cpuSystemSeconds", Math.Round(run.SystemTime.TotalSeconds, 6));
        json.WriteNumber("cpuMicrosecondsPerSession", Math.Round(CpuOver(run, run.Tally.Sessions), 2));
        json.WriteNumber("cpuMicrosecondsPerMessage", Math.Round(CpuOver(run, run.Tally.Messages), 2));
    }

    /// <summary>Microseconds; 0 of nothing.</summary>
    private static double CpuOver(Pop3Run run, long count) =>
        count > 0 ? (run.UserTime + run.SystemTime).TotalMicroseconds / count : 0;

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
