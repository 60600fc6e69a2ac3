using System.Diagnostics;
using FastMail.LoadTest.Measure;

namespace FastMail.LoadTest.Pop3;

/// <summary>What takes its time in a session. Login and session count from connecting on.</summary>
internal enum Pop3Timed
{
    Dele,
    List,
    Login,
    Quit,
    Retr,
    Session,
    Stat,
    Uidl,
}

/// <summary>What sessions have counted. Owned by the loop's thread; read when the run is over.</summary>
internal sealed class Pop3Tally
{
    private readonly LatencyHistogram?[] _latencies = new LatencyHistogram?[Enum.GetValues<Pop3Timed>().Length];

    internal long Sessions { get; set; }

    internal long Messages { get; set; }

    /// <summary>Of content retrieved, dot-unstuffed.</summary>
    internal long Octets { get; set; }

    internal long Deleted { get; set; }

    /// <summary>Sessions that did not come to their end.</summary>
    internal long Faults { get; set; }

    /// <summary>LIST and RETR told different sizes, or UIDL told one unique-id twice.</summary>
    internal long ListingFaults { get; set; }

    internal TlsTally Tls { get; } = new();

    /// <summary>Messages, or sessions of a run that retrieves none, by the second.</summary>
    internal TimeSeries Series { get; } = new();

    /// <summary>By name, of what happened at all.</summary>
    internal IEnumerable<(string Name, LatencyHistogram Latency)> Latencies =>
        Enum.GetValues<Pop3Timed>().Where(what => _latencies[(int)what] is not null)
            .Select(what => (what.ToString().ToLowerInvariant(), _latencies[(int)what]!));

    /// <summary>Null when it never happened.</summary>
    internal LatencyHistogram? LatencyOf(Pop3Timed what) => _latencies[(int)what];

    /// <summary>Since when, stopwatch ticks; returns nanoseconds.</summary>
    internal long Record(Pop3Timed what, long from)
    {
        long nanoseconds = (long)Stopwatch.GetElapsedTime(from).TotalNanoseconds;
        (_latencies[(int)what] ??= new LatencyHistogram()).Record(nanoseconds);
        return nanoseconds;
    }
}
