using System.Globalization;
using System.Text;
using System.Text.Json;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Measure;
using FastMail.LoadTest.Smtp;

namespace FastMail.LoadTest.Relay;

/// <summary>The result of a finished run, for people and for programs. Reads the run; any one thread.</summary>
internal static class RelayReport
{
    /// <summary>Every message was acknowledged and arrived once, unchanged.</summary>
    internal static bool IsAllRelayed(RelayRun run) => SmtpReport.IsAllAcknowledged(run.Source) && run.Audit!.IsClean;

    internal static void WriteText(RelayRun run, TextWriter output)
    {
        SmtpReport.WriteText(run.Source, output);
        output.WriteLine(Line($"arrived {run.ArrivedMessages} in {run.Arriving.TotalSeconds:0.000} s: ")
            + Line($"{Rate(run):0} messages/s"));
        output.WriteLine($"end to end: {LatencyText.Of(run.EndToEnd)}");
        AuditReport.WriteText(run.Audit!, output);
    }

    internal static void WriteJson(RelayRun run, TextWriter output)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteBoolean("allRelayed", IsAllRelayed(run));
            json.WriteStartObject("source");
            SmtpReport.Write(run.Source, json);
            json.WriteEndObject();
            json.WriteNumber("arrived", run.ArrivedMessages);
            json.WriteNumber("arrivingSeconds", Math.Round(run.Arriving.TotalSeconds, 6));
            json.WriteNumber("messagesPerSecond", Math.Round(Rate(run), 1));
            LatencyText.Write(json, "endToEndMicroseconds", run.EndToEnd);
            run.Arrivals.Write(json);
            json.WriteStartObject("ledger");
            AuditReport.Write(run.Audit!, json);
            json.WriteEndObject();
            json.WriteEndObject();
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.ToArray()));
    }

    private static double Rate(RelayRun run) =>
        run.Arriving > TimeSpan.Zero ? run.ArrivedMessages / run.Arriving.TotalSeconds : 0;

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
