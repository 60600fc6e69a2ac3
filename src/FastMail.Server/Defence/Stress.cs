using FastMail.Net;
using FastMail.Server.Receive;
using FastMail.Storage;
using Microsoft.Extensions.Logging;

namespace FastMail.Server.Defence;

/// <summary>At which shares of what there is stress begins and ends; read once at start, immutable.</summary>
internal sealed record StressLimits
{
    /// <summary>Percent of the connections, or of the memory for content.</summary>
    public int BeginsAtPercent { get; init; } = 80;

    /// <summary>Percent; below the other, or the server would swing.</summary>
    public int EndsAtPercent { get; init; } = 60;

    /// <summary>The log has had work for so long without completing any. Ends at <see cref="EndsAtPercent"/> / <see cref="BeginsAtPercent"/> of it.</summary>
    public TimeSpan CommitAge { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Octets free on the disk. Ends at <see cref="BeginsAtPercent"/> / <see cref="EndsAtPercent"/> of it.</summary>
    public long FreeBytes { get; init; }
}

/// <summary>
/// Whether the server has more to do than it can: too many connections, too much content in memory, a log that does not
/// get on, a disk that is nearly full. Then no new transaction begins (421 4.3.2) and nobody may dawdle, while what is
/// under way ends. Looked at when somebody comes, goes or begins, so it costs an idle server nothing. Owned by the
/// server; loop thread only, but for <see cref="FreeBytes"/>.
/// </summary>
internal sealed class Stress
{
    private readonly StressLimits _limits;
    private readonly Intake _intake;
    private readonly Func<double> _crowd;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private long _freeBytes = long.MaxValue;
    private long _lastProgress;
    private int _commits;

    /// <param name="limits">When it begins and ends.</param>
    /// <param name="intake">The content in memory.</param>
    /// <param name="crowd">Connections open, as a share of those that may be.</param>
    /// <param name="clock">For the age of commits.</param>
    /// <param name="log">Told of the beginning and the end.</param>
    public Stress(StressLimits limits, Intake intake, Func<double> crowd, TimeProvider clock, ILogger log)
    {
        _limits = limits;
        _intake = intake;
        _crowd = crowd;
        _clock = clock;
        _log = log;
    }

    /// <summary>As of the last <see cref="Look"/>.</summary>
    public bool IsOn { get; private set; }

    /// <summary>The disk is a reason for it, if not the only one.</summary>
    public bool IsDiskFull { get; private set; }

    /// <summary>Raised when stress begins: those who are here already may dawdle no longer either.</summary>
    public event Action? Began;

    /// <summary>Octets free on the disk; set by whoever measures it, on any thread.</summary>
    public long FreeBytes
    {
        get => Interlocked.Read(ref _freeBytes);
        set => Interlocked.Exchange(ref _freeBytes, value);
    }

    /// <summary>The same question, looked at now.</summary>
    public bool Look()
    {
        double full = Fullness();
        (double load, string what) = Greatest(full);
        double bound = (IsOn ? _limits.EndsAtPercent : _limits.BeginsAtPercent) / 100.0;
        if (!IsOn && load >= bound)
        {
            IsOn = true;
            _log.LogWarning("stress: {What}; new transactions are answered 421 4.3.2 until that is over", what);
            Began?.Invoke();
        }
        else if (IsOn && load < bound)
        {
            IsOn = false;
            _log.LogInformation("stress is over");
        }

        IsDiskFull = full >= bound;
        return IsOn;
    }

    /// <summary>A message was handed to the log.</summary>
    public void CommitBegan()
    {
        if (_commits++ == 0)
        {
            _lastProgress = _clock.GetTimestamp();
        }
    }

    /// <summary>The log has answered for a message.</summary>
    public void CommitEnded()
    {
        _commits--;
        _lastProgress = _clock.GetTimestamp();
    }

    /// <summary>Scaled like the others: it begins at <see cref="StressLimits.FreeBytes"/>.</summary>
    private double Fullness() => _limits.BeginsAtPercent / 100.0 * _limits.FreeBytes / Math.Max(FreeBytes, 1);

    private (double Load, string What) Greatest(double full)
    {
        double crowd = _crowd();
        double content = _intake.Share;
        double age = _commits == 0
            ? 0
            : _limits.BeginsAtPercent / 100.0 * (_clock.GetElapsedTime(_lastProgress) / _limits.CommitAge);
        double most = Math.Max(Math.Max(crowd, content), Math.Max(age, full));
        string what = most == crowd ? "too many connections"
            : most == content ? "too much content in memory"
            : most == age ? "the disk does not keep up"
            : "the disk is nearly full";
        return (most, what);
    }
}
