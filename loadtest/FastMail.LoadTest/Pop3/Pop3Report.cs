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
        output.WriteLine(Line($"sessions {tally.Sessions} of {run.Plan.Sessions} in {seconds:0.000} s"));
        output.WriteLine(Line($"messages {tally.Messages}: {tally.Messages / seconds:0}/s, ")
            + Line($"{tally.Octets / seconds / 1e6:0.0} MB/s; deleted {tally.Deleted}"));
        foreach ((string command, LatencyHistogram latency) in tally.Latencies)
        {
            output.WriteLine($"{command,-8}{LatencyText.Of(latency)}");
        }

        output.WriteLine(Line($"failed sessions {tally.Faults}, wrong listings {tally.ListingFaults}"));
        output.WriteLine(Line($"generator CPU {run.UserTime.TotalSeconds:0.000} s user, ")
            + Line($"{run.SystemTime.TotalSeconds:0.000} s system"));
        if (run.Audit is { } audit)
        {
            AuditReport.WriteText(audit, output);
        }
    }

    internal static void WriteJson(Pop3Run run, TextWriter output)
    {
        Pop3Tally tally = run.Tally;
        double seconds = run.Elapsed.TotalSeconds;
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteBoolean("allWell", run.IsAllWell);
            json.WriteNumber("sessions", tally.Sessions);
            json.WriteNumber("sessionsWanted", run.Plan.Sessions);
            json.WriteNumber("failedSessions", tally.Faults);
            json.WriteNumber("wrongListings", tally.ListingFaults);
            json.WriteNumber("messages", tally.Messages);
            json.WriteNumber("octets", tally.Octets);
            json.WriteNumber("deleted", tally.Deleted);
            json.WriteNumber("seconds", Math.Round(seconds, 6));
            json.WriteNumber("messagesPerSecond", Math.Round(tally.Messages / seconds, 1));
            json.WriteNumber("megabytesPerSecond", Math.Round(tally.Octets / seconds / 1e6, 3));
            json.WriteStartObject("latencyMicroseconds");
            foreach ((string command, LatencyHistogram latency) in tally.Latencies)
            {
                LatencyText.Write(json, command, latency);
            }

            json.WriteEndObject();
            json.WriteNumber("cpuUserSeconds", Math.Round(run.UserTime.TotalSeconds, 6));
            json.WriteNumber("cpuSystemSeconds", Math.Round(run.SystemTime.TotalSeconds, 6));
            if (run.Audit is { } audit)
            {
                json.WriteStartObject("ledger");
                AuditReport.Write(audit, json);
                json.WriteEndObject();
            }

            JsonText.WriteStrings(json, "firstErrors", run.FirstErrors);
            json.WriteEndObject();
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.ToArray()));
    }

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
