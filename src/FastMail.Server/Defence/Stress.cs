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

    /// <summary>The disk is slow while a group of records has been on its way to it for longer.</summary>
    public TimeSpan SlowAfter { get; init; } = TimeSpan.FromSeconds(1);
}

/// <summary>What the mail log says of its disk, which it alone watches. A value.</summary>
internal readonly record struct DiskStrain(bool IsFull, TimeSpan GroupAge)
{
    public static DiskStrain Of(MailLog log) => new(log.IsSpaceLow, log.GroupAge);
}

/// <summary>
/// Whether the server has more to do than it can: too many connections, too much content in memory, a disk that is slow
/// or nearly full. Then no new transaction begins (451 4.3.2 for a slow disk, 452 4.3.1 for a full one, else 421 4.3.2)
/// and nobody may dawdle, while what is under way ends. Looked at when somebody comes, goes or begins, so it costs an
/// idle server nothing. Owned by the server; loop thread only.
/// </summary>
internal sealed class Stress
{
    private readonly StressLimits _limits;
    private readonly Intake _intake;
    private readonly Func<double> _crowd;
    private readonly Func<DiskStrain> _disk;
    private readonly ILogger _log;

    /// <param name="limits">When it begins and ends.</param>
    /// <param name="intake">The content in memory.</param>
    /// <param name="crowd">Connections open, as a share of those that may be.</param>
    /// <param name="disk">What the log says of its disk now.</param>
    /// <param name="log">Told of the beginning and the end.</param>
    public Stress(StressLimits limits, Intake intake, Func<double> crowd, Func<DiskStrain> disk, ILogger log)
    {
        _limits = limits;
        _intake = intake;
        _crowd = crowd;
        _disk = disk;
        _log = log;
    }

    /// <summary>As of the last <see cref="Look"/>.</summary>
    public bool IsOn { get; private set; }

    /// <summary>The disk has no room for new mail: a reason for it, if not the only one.</summary>
    public bool IsDiskFull { get; private set; }

    /// <summary>The disk does not keep up: a reason for it, if not the only one.</summary>
    public bool IsDiskSlow { get; private set; }

    /// <summary>Raised when stress begins: those who are here already may dawdle no longer either.</summary>
    public event Action? Began;

    /// <summary>The same question, looked at now.</summary>
    public bool Look()
    {
        DiskStrain disk = _disk();
        IsDiskFull = disk.IsFull;
        IsDiskSlow = disk.GroupAge > _limits.SlowAfter;
        double crowd = _crowd();
        double load = Math.Max(crowd, _intake.Share);
        bool isLoaded = load >= (IsOn ? _limits.EndsAtPercent : _limits.BeginsAtPercent) / 100.0;
        bool isOn = IsDiskFull || IsDiskSlow || isLoaded;
        if (isOn && !IsOn)
        {
            IsOn = true;
            (string what, string reply) = IsDiskSlow ? ("the disk does not keep up", "451 4.3.2")
                : IsDiskFull ? ("the disk is nearly full", "452 4.3.1")
                : load == crowd ? ("too many connections", "421 4.3.2")
                : ("too much content in memory", "421 4.3.2");
            _log.LogWarning("stress: {What}; new transactions are answered {Reply} until that is over", what, reply);
            Began?.Invoke();
        }
        else if (IsOn && !isOn)
        {
            IsOn = false;
            _log.LogInformation("stress is over");
        }

        return IsOn;
    }
}
