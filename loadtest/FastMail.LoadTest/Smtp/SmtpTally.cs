using FastMail.LoadTest.Measure;

namespace FastMail.LoadTest.Smtp;

/// <summary>What a run has counted. Owned by the loop thread; read by the report when the loop is over.</summary>
internal sealed class SmtpTally
{
    internal const int ShownErrors = 5;

    private readonly List<string> _errors = [];
    private readonly SortedDictionary<int, long> _unexpectedReplies = [];

    /// <summary>Messages taken up and not given back.</summary>
    internal long Claimed { get; set; }

    internal long Acked { get; set; }

    internal long AckedOctets { get; set; }

    internal long Refused { get; set; }

    /// <summary>Content left, connection lost before its reply.</summary>
    internal long InDoubt { get; set; }

    /// <summary>Open loop: due while the run lasted, and never taken up.</summary>
    internal long Unsent { get; set; }

    internal long RecipientsRefused { get; set; }

    internal long ConnectionsOpened { get; set; }

    internal long ConnectionsLost { get; set; }

    /// <summary>Messages and octets acknowledged after the warm-up, and their latency.</summary>
    internal long MeasuredAcked { get; set; }

    internal long MeasuredOctets { get; set; }

    /// <summary>Handshakes after the warm-up.</summary>
    internal TlsTally Tls { get; } = new();

    internal LatencyHistogram Latency { get; } = new();

    /// <summary>The same, interval by interval.</summary>
    internal TimeSeries Series { get; } = new();

    /// <summary>Faults of any kind; the first few are kept as text.</summary>
    internal long Faults { get; private set; }

    internal IReadOnlyList<string> FirstErrors => _errors;

    internal IReadOnlyDictionary<int, long> UnexpectedReplies => _unexpectedReplies;

    /// <summary>Notes a fault; true when it is among the first, so that its text is worth making.</summary>
    internal bool CountFault() => ++Faults <= ShownErrors;

    internal void KeepError(string text) => _errors.Add(text);

    internal void CountReply(int code) =>
        _unexpectedReplies[code] = _unexpectedReplies.GetValueOrDefault(code) + 1;
}
