using FastMail.LoadTest.Measure;

namespace FastMail.LoadTest.Live;

/// <summary>
/// How a run stands: what a display shows of it. Made by the thread that shows it, from figures that the run's own thread
/// changes meanwhile, so that they need not be of quite the same moment.
/// </summary>
internal sealed record Standing
{
    internal required string Title { get; init; }

    internal required TimeSpan Elapsed { get; init; }

    /// <summary>Null when the run does not end by the clock.</summary>
    internal TimeSpan? Total { get; init; }

    internal bool IsWarmUp { get; init; }

    /// <summary>What is counted: messages, sessions.</summary>
    internal required string Unit { get; init; }

    internal required long Done { get; init; }

    /// <summary>Null when the run does not end by number.</summary>
    internal long? Wanted { get; init; }

    /// <summary>Of content; null where nobody counts them.</summary>
    internal long? Octets { get; init; }

    /// <summary>What else is counted, errors among it.</summary>
    internal required IReadOnlyList<(string Name, long Count)> Counts { get; init; }

    /// <summary>What the latency is of, and all that was measured so far; null for none.</summary>
    internal (string Of, LatencyHistogram Latency)? Latency { get; init; }
}
