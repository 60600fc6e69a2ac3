using System.Text.Json;

namespace FastMail.LoadTest.Report;

/// <summary>
/// The part of a result file of <c>smtp</c>, <c>relay</c> or <c>pop3</c> that a report shows. Read once; immutable. Latencies in
/// microseconds.
/// </summary>
internal sealed record RunResult
{
    private const double LeastSeconds = 0.5; // what is left over at the end of a run is no rate

    internal required string Label { get; init; }

    /// <summary>What was measured: the reply to the content, the arrival at the sink, a RETR or a session.</summary>
    internal required string Measured { get; init; }

    internal required bool IsAllWell { get; init; }

    internal required int Connections { get; init; }

    internal required double MessagesPerSecond { get; init; }

    internal required double MegabytesPerSecond { get; init; }

    /// <summary>Share of all messages, and the latency at or below which they stayed.</summary>
    internal required IReadOnlyList<(double Share, double Latency)> Percentiles { get; init; }

    /// <summary>Seconds since the measuring began, and messages a second of the interval that ended then.</summary>
    internal required IReadOnlyList<(double At, double Rate)> Series { get; init; }

    /// <exception cref="InvalidDataException">It is no such file.</exception>
    internal static RunResult Read(string path)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(File.ReadAllBytes(path));
            JsonElement root = document.RootElement;
            bool isRelay = root.TryGetProperty("source", out JsonElement source);
            bool isPop3 = root.TryGetProperty("counted", out JsonElement counted);
            bool isOfSessions = isPop3 && counted.GetString() == "sessions";
            source = isRelay ? source : root;
            JsonElement latency = root.GetProperty(isRelay ? "endToEndMicroseconds" : "latencyMicroseconds");
            latency = isPop3 ? latency.GetProperty(isOfSessions ? "session" : "retr") : latency;
            return new RunResult
            {
                Label = source.GetProperty("label").GetString() ?? "",
                Measured = isRelay ? "submission to arrival"
                    : isOfSessions ? "POP3 session" : isPop3 ? "RETR" : "acknowledgement",
                IsAllWell = root.GetProperty(isRelay ? "allRelayed" : isPop3 ? "allWell" : "allAcknowledged").GetBoolean(),
                Connections = source.GetProperty("connections").GetInt32(),
                MessagesPerSecond = root.GetProperty(isOfSessions ? "sessionsPerSecond" : "messagesPerSecond").GetDouble(),
                MegabytesPerSecond = source.GetProperty("megabytesPerSecond").GetDouble(),
                Percentiles =
                [
                    .. new (string Name, double Share)[]
                    {
                        ("p50", 0.5), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("p999", 0.999), ("p9999", 0.9999),
                    }.Select(p => (p.Share, latency.GetProperty(p.Name).GetDouble())),
                ],
                Series =
                [
                    .. source.GetProperty("series").EnumerateArray()
                        .Where(sample => sample.GetProperty("seconds").GetDouble() >= LeastSeconds)
                        .Select(sample => (
                            sample.GetProperty("at").GetDouble(),
                            sample.GetProperty("messages").GetDouble() / sample.GetProperty("seconds").GetDouble())),
                ],
            };
        }
        catch (Exception wrong) when (wrong is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new InvalidDataException(
                $"{path}: not a result of 'smtp --json', 'relay --json' or 'pop3 --json' ({wrong.Message})", wrong);
        }
    }
}
