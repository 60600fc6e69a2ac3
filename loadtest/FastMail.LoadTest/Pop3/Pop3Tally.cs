using FastMail.LoadTest.Measure;

namespace FastMail.LoadTest.Pop3;

/// <summary>
/// What sessions have counted. One for each worker, owned by its thread; added up when the workers have ended.
/// </summary>
internal sealed class Pop3Tally
{
    private readonly SortedDictionary<string, LatencyHistogram> _latencies = new(StringComparer.Ordinal);

    /// <summary>Read by the progress line while the worker counts: long writes are atomic on 64-bit machines.</summary>
    internal long Sessions;

    internal long Messages;

    internal long Octets;

    internal long Deleted { get; set; }

    internal long Faults { get; set; }

    /// <summary>LIST and RETR told different sizes, or UIDL told one unique-id twice.</summary>
    internal long ListingFaults { get; set; }

    /// <summary>By command: login (from connecting on), stat, list, uidl, retr, dele, quit, session.</summary>
    internal IReadOnlyDictionary<string, LatencyHistogram> Latencies => _latencies;

    internal LatencyHistogram LatencyOf(string command)
    {
        if (!_latencies.TryGetValue(command, out LatencyHistogram? latency))
        {
            latency = new LatencyHistogram();
            _latencies.Add(command, latency);
        }

        return latency;
    }

    internal void Add(Pop3Tally other)
    {
        Sessions += other.Sessions;
        Messages += other.Messages;
        Octets += other.Octets;
        Deleted += other.Deleted;
        Faults += other.Faults;
        ListingFaults += other.ListingFaults;
        foreach ((string command, LatencyHistogram latency) in other._latencies)
        {
            LatencyOf(command).Add(latency);
        }
    }
}
