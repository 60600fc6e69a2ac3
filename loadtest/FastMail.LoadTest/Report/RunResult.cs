using System.Globalization;
using System.Text.Json;

namespace FastMail.LoadTest.Report;

/// <summary>
/// The part of a result file of <c>smtp</c>, <c>relay</c>, <c>pop3</c> or <c>soak</c> that a report shows: of the last, how
/// what it sent was acknowledged. Read once; immutable. Latencies in microseconds.
/// </summary>
internal sealed record RunResult
{
    private const double LeastSeconds = 0.5; // what is left over at the end of a run is no rate

    internal required string Label { get; init; }

    /// <summary>What was measured: the reply to the content, the arrival at the sink, a RETR or a session.</summary>
    internal required string Measured { get; init; }

    /// <summary>What was measured and all that was asked for but the number of connections.</summary>
    internal required string Kind { get; init; }

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
            bool hasSource = root.TryGetProperty("source", out JsonElement source);
            bool isRelay = root.TryGetProperty("endToEndMicroseconds", out JsonElement endToEnd);
            bool isPop3 = root.TryGetProperty("counted", out JsonElement counted);
            bool isOfSessions = isPop3 && counted.GetString() == "sessions";
            source = hasSource ? source : root;
            JsonElement latency = isRelay ? endToEnd : source.GetProperty("latencyMicroseconds");
            latency = isPop3 ? latency.GetProperty(isOfSessions ? "session" : "retr") : latency;
            string measured = isRelay ? "submission to arrival"
                : isOfSessions ? "POP3 session" : isPop3 ? "RETR" : "acknowledgement";
            return new RunResult
            {
                Label = source.GetProperty("label").GetString() ?? "",
                Measured = measured,
                Kind = $"{measured}, {(isPop3 ? CollectingOf(root) : SendingOf(source))}",
                IsAllWell = root.GetProperty(isRelay ? "allRelayed" : isPop3 || hasSource ? "allWell" : "allAcknowledged")
                    .GetBoolean(),
                Connections = source.GetProperty("connections").GetInt32(),
                MessagesPerSecond = (isRelay ? root : source).GetProperty(isOfSessions ? "sessionsPerSecond" : "messagesPerSecond").GetDouble(),
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
                    .. (isRelay ? root : source).GetProperty("series").EnumerateArray()
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
                $"{path}: not a result of 'smtp --json', 'relay --json', 'pop3 --json' or 'soak --json' ({wrong.Message})", wrong);
        }
    }

    private static string SendingOf(JsonElement source)
    {
        long least = source.GetProperty("leastOctets").GetInt64();
        long most = source.GetProperty("mostOctets").GetInt64();
        double rate = source.GetProperty("wantedPerSecond").GetDouble();
        string pipelining = source.GetProperty("pipelining").GetString()!;
        return string.Create(CultureInfo.InvariantCulture, $"{least}")
            + (most == least ? " octets" : string.Create(CultureInfo.InvariantCulture, $" to {most} octets"))
            + (pipelining == "None" ? "" : $", pipelined: {pipelining.ToLowerInvariant()}")
            + (source.GetProperty("chunking").GetBoolean() ? ", BDAT" : "")
            + (rate > 0 ? string.Create(CultureInfo.InvariantCulture, $", {rate}/s") : "");
    }

    private static string CollectingOf(JsonElement root)
    {
        int inFlight = root.GetProperty("inFlight").GetInt32();
        return root.GetProperty("commands").GetString()
            + (inFlight > 1 ? string.Create(CultureInfo.InvariantCulture, $", {inFlight} in flight") : "");
    }
}
