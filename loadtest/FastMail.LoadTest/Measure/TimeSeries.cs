using System.Globalization;
using System.Text.Json;

namespace FastMail.LoadTest.Measure;

/// <summary>
/// What happened in each interval of a run, about a second long. Owned by the thread that measures; read when it is over.
/// </summary>
internal sealed class TimeSeries
{
    private readonly List<Sample> _samples = [];
    private LatencyHistogram _latency = new();
    private long _octets;
    private double _endedAt;

    internal IReadOnlyList<Sample> Samples => _samples;

    /// <summary>A message of the interval under way.</summary>
    internal void Record(long octets, long nanoseconds)
    {
        _octets += octets;
        _latency.Record(nanoseconds);
    }

    /// <summary>Ends the interval; one without length and messages is none.</summary>
    internal void EndInterval(TimeSpan sinceStart)
    {
        double seconds = sinceStart.TotalSeconds;
        if (seconds <= _endedAt)
        {
            return;
        }

        _samples.Add(new Sample(
            Math.Round(seconds, 3), Math.Round(seconds - _endedAt, 3), _latency.Count, _octets,
            _latency.Percentile(0.5) / 1e3, _latency.Percentile(0.99) / 1e3, _latency.MaxNanoseconds / 1e3));
        _endedAt = seconds;
        _octets = 0;
        _latency = new LatencyHistogram();
    }

    internal void Write(Utf8JsonWriter json)
    {
        json.WriteStartArray("series");
        foreach (Sample sample in _samples)
        {
            json.WriteStartObject();
            json.WriteNumber("at", sample.EndSeconds);
            json.WriteNumber("seconds", sample.Seconds);
            json.WriteNumber("messages", sample.Messages);
            json.WriteNumber("octets", sample.Octets);
            json.WriteNumber("p50", Math.Round(sample.P50, 1));
            json.WriteNumber("p99", Math.Round(sample.P99, 1));
            json.WriteNumber("max", Math.Round(sample.Max, 1));
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>The same as comma-separated values, with a line of names.</summary>
    internal void WriteCsv(TextWriter output)
    {
        output.WriteLine("at_seconds,seconds,messages,octets,p50_us,p99_us,max_us");
        foreach (Sample sample in _samples)
        {
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{sample.EndSeconds},{sample.Seconds},{sample.Messages},{sample.Octets},{sample.P50:0.0},{sample.P99:0.0},"
                + $"{sample.Max:0.0}"));
        }
    }

    /// <summary>One interval; latencies in microseconds.</summary>
    internal readonly record struct Sample(
        double EndSeconds, double Seconds, long Messages, long Octets, double P50, double P99, double Max);
}
