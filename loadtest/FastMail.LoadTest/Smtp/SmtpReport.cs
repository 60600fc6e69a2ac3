using System.Globalization;
using System.Text;
using System.Text.Json;
using FastMail.LoadTest.Measure;

namespace FastMail.LoadTest.Smtp;

/// <summary>The result of a finished run, for people and for programs. Reads the run; any one thread.</summary>
internal static class SmtpReport
{
    /// <summary>Nothing went wrong, and every message that was taken up or was due was acknowledged.</summary>
    internal static bool IsAllAcknowledged(SmtpRun run) =>
        run.Tally.Faults == 0 && !run.IsGivenUp && !run.IsCutShort
        && run.Tally.MeasuredAcked > 0 && run.Tally.Acked == run.Tally.Claimed
        && run.Tally.Unsent == 0 && !(run.Plan.Messages > run.Tally.MeasuredAcked);

    internal static void WriteText(SmtpRun run, TextWriter output)
    {
        SmtpTally tally = run.Tally;
        string[] lines =
        [
            Line($"acked {tally.Acked} of {tally.Claimed} messages, {tally.AckedOctets / 1e6:0.0} MB"),
            Line($"measured {tally.MeasuredAcked} in {run.Measured.TotalSeconds:0.000} s: ")
                + Line($"{Rate(run):0} messages/s, {Megabytes(run):0.0} MB/s"),
            $"latency {LatencyFrom(run)}: {LatencyText.Of(tally.Latency)}",
            Line($"refused {tally.Refused}, in doubt {tally.InDoubt}, unsent {tally.Unsent}, ")
                + Line($"recipients refused {tally.RecipientsRefused}"),
            Line($"connections opened {tally.ConnectionsOpened}, lost {tally.ConnectionsLost}"),
            Line($"generator CPU {run.UserTime.TotalSeconds:0.000} s user, ")
                + Line($"{run.SystemTime.TotalSeconds:0.000} s system, {CpuPerMessage(run):0.0} us/message"),
            Line($"seed {run.Plan.Seed}"),
        ];
        foreach (string line in lines)
        {
            output.WriteLine(line);
        }

        if (run.IsCutShort)
        {
            output.WriteLine("ended before its time");
        }

        tally.Tls.WriteText(run.Measured, output);
        foreach ((int code, long count) in tally.UnexpectedReplies)
        {
            output.WriteLine(Line($"reply {code}: {count} times"));
        }
    }

    internal static void WriteJson(SmtpRun run, TextWriter output)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            Write(run, json);
            json.WriteEndObject();
        }

        output.WriteLine(Encoding.UTF8.GetString(buffer.ToArray()));
    }

    /// <summary>The members of an object that the caller has begun.</summary>
    internal static void Write(SmtpRun run, Utf8JsonWriter json)
    {
        SmtpTally tally = run.Tally;
        json.WriteString("label", run.Plan.Label);
        json.WriteNumber("connections", run.Plan.Connections);
        json.WriteNumber("wantedPerSecond", run.Plan.Rate);
        json.WriteString("pipelining", run.Plan.Pipelining.ToString());
        json.WriteBoolean("chunking", run.Plan.IsChunking);
        json.WriteNumber("leastOctets", run.Plan.Size.Least);
        json.WriteNumber("mostOctets", run.Plan.Size.Most);
        json.WriteBoolean("allAcknowledged", IsAllAcknowledged(run));
        json.WriteNumber("claimed", tally.Claimed);
        json.WriteNumber("acked", tally.Acked);
        json.WriteNumber("ackedOctets", tally.AckedOctets);
        json.WriteNumber("refused", tally.Refused);
        json.WriteNumber("inDoubt", tally.InDoubt);
        json.WriteNumber("unsent", tally.Unsent);
        json.WriteNumber("recipientsRefused", tally.RecipientsRefused);
        json.WriteNumber("connectionsOpened", tally.ConnectionsOpened);
        json.WriteNumber("connectionsLost", tally.ConnectionsLost);
        json.WriteNumber("faults", tally.Faults);
        json.WriteBoolean("givenUp", run.IsGivenUp);
        json.WriteBoolean("cutShort", run.IsCutShort);
        json.WriteNumber("measuredMessages", tally.MeasuredAcked);
        json.WriteNumber("measuredSeconds", Math.Round(run.Measured.TotalSeconds, 6));
        json.WriteNumber("messagesPerSecond", Math.Round(Rate(run), 1));
        json.WriteNumber("megabytesPerSecond", Math.Round(Megabytes(run), 3));
        LatencyText.Write(json, "latencyMicroseconds", tally.Latency);
        json.WriteNumber("cpuUserSeconds", Math.Round(run.UserTime.TotalSeconds, 6));
        json.WriteNumber("cpuSystemSeconds", Math.Round(run.SystemTime.TotalSeconds, 6));
        json.WriteNumber("cpuMicrosecondsPerMessage", Math.Round(CpuPerMessage(run), 2));
        tally.Tls.Write(json, run.Measured);
        json.WriteNumber("seed", run.Plan.Seed);
        json.WriteStartObject("unexpectedReplies");
        foreach ((int code, long count) in tally.UnexpectedReplies)
        {
            json.WriteNumber(code.ToString(CultureInfo.InvariantCulture), count);
        }

        json.WriteEndObject();
        JsonText.WriteStrings(json, "firstErrors", tally.FirstErrors);
        tally.Series.Write(json);
    }

    private static string LatencyFrom(SmtpRun run) => run.Plan.Rate > 0
        ? Line($"since the time it was due at {run.Plan.Rate:0.##} messages/s")
        : "of the last dot";

    private static double Rate(SmtpRun run) =>
        run.Measured > TimeSpan.Zero ? run.Tally.MeasuredAcked / run.Measured.TotalSeconds : 0;

    private static double Megabytes(SmtpRun run) =>
        run.Measured > TimeSpan.Zero ? run.Tally.MeasuredOctets / run.Measured.TotalSeconds / 1e6 : 0;

    private static double CpuPerMessage(SmtpRun run) =>
        run.Tally.Acked > 0 ? (run.UserTime + run.SystemTime).TotalMicroseconds / run.Tally.Acked : 0;

    private static string Line(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
