using System.Globalization;
using System.Text.Json;

namespace FastMail.LoadTest.Measure;

/// <summary>A histogram's usual figures, written for people and for programs. Stateless.</summary>
internal static class LatencyText
{
    internal static string Of(LatencyHistogram latency) => string.Create(
        CultureInfo.InvariantCulture,
        $"p50 {Milliseconds(latency, 0.5):0.000} ms, p90 {Milliseconds(latency, 0.9):0.000} ms, "
        + $"p99 {Milliseconds(latency, 0.99):0.000} ms, max {latency.MaxNanoseconds / 1e6:0.000} ms");

    internal static void Write(Utf8JsonWriter json, string name, LatencyHistogram latency)
    {
        json.WriteStartObject(name);
        json.WriteNumber("count", latency.Count);
        json.WriteNumber("p50", Microseconds(latency.Percentile(0.5)));
        json.WriteNumber("p90", Microseconds(latency.Percentile(0.9)));
        json.WriteNumber("p95", Microseconds(latency.Percentile(0.95)));
        json.WriteNumber("p99", Microseconds(latency.Percentile(0.99)));
        json.WriteNumber("p999", Microseconds(latency.Percentile(0.999)));
        json.WriteNumber("p9999", Microseconds(latency.Percentile(0.9999)));
        json.WriteNumber("max", Microseconds(latency.MaxNanoseconds));
        json.WriteEndObject();
    }

    private static double Milliseconds(LatencyHistogram latency, double share) => latency.Percentile(share) / 1e6;

    private static double Microseconds(long nanoseconds) => Math.Round(nanoseconds / 1e3, 1);
}
