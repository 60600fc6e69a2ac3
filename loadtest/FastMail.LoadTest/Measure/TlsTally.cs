using System.Diagnostics;
using System.Globalization;
using System.Text.Json;

namespace FastMail.LoadTest.Measure;

/// <summary>What handshakes have counted. Owned by the loop's thread; read when the run is over.</summary>
internal sealed class TlsTally
{
    internal long Handshakes { get; private set; }

    /// <summary>Of these, how many took up an earlier session.</summary>
    internal long Resumed { get; private set; }

    internal LatencyHistogram Latency { get; } = new();

    /// <summary>From its first octet on, stopwatch ticks.</summary>
    internal void Record(long from, bool isResumed)
    {
        Handshakes++;
        Resumed += isResumed ? 1 : 0;
        Latency.Record((long)Stopwatch.GetElapsedTime(from).TotalNanoseconds);
    }

    /// <summary>Nothing when there were none.</summary>
    internal void WriteText(TimeSpan elapsed, TextWriter output)
    {
        if (Handshakes > 0)
        {
            output.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"TLS handshakes {Handshakes}, resumed {Resumed}: {Handshakes / elapsed.TotalSeconds:0}/s, ")
                + LatencyText.Of(Latency));
        }
    }

    internal void Write(Utf8JsonWriter json, TimeSpan elapsed)
    {
        json.WriteStartObject("tls");
        json.WriteNumber("handshakes", Handshakes);
        json.WriteNumber("resumed", Resumed);
        json.WriteNumber("handshakesPerSecond", Math.Round(Handshakes / Math.Max(1e-6, elapsed.TotalSeconds), 1));
        LatencyText.Write(json, "handshakeMicroseconds", Latency);
        json.WriteEndObject();
    }
}
