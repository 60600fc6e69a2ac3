using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Live;
using FastMail.LoadTest.Measure;

namespace FastMail.LoadTest.Pop3;

/// <summary>
/// One run of a number of POP3 sessions, or of as many as a time admits. A connection keeps to its own share of the users,
/// because a maildrop is locked by its session. Used by one thread; <see cref="Stop"/> by any.
/// </summary>
internal sealed class Pop3Run : IPop3Dealer, IDisposable
{
    private const int ShownErrors = 10;
    private static readonly TimeSpan AfterFailure = TimeSpan.FromMilliseconds(20);

    private readonly TextWriter _progress;
    private readonly Pop3Loop _loop;
    private readonly int[] _dealt; // sessions, by connection
    private readonly bool[] _hasFailed; // the last session
    private readonly List<string> _errors = [];
    private long _startedAt;
    private long _shownMessages;
    private long _shownSessions;
    private volatile bool _isStopped;

    /// <param name="plan">What to do.</param>
    /// <param name="audit">What collected messages are compared with; null when nothing is verified.</param>
    /// <param name="progress">Takes a line a second and the first errors.</param>
    internal Pop3Run(Pop3Plan plan, LedgerAudit? audit, TextWriter progress)
    {
        Plan = plan;
        Audit = audit;
        _progress = progress;
        _dealt = new int[plan.Parallel];
        _hasFailed = new bool[plan.Parallel];
        _loop = new Pop3Loop(plan, this, audit);
    }

    internal Pop3Plan Plan { get; }

    /// <summary>Null when nothing was verified.</summary>
    internal LedgerAudit? Audit { get; }

    internal Pop3Tally Tally => _loop.Tally;

    internal TimeSpan Elapsed { get; private set; }

    /// <summary>Of this process while the loop ran.</summary>
    internal TimeSpan UserTime { get; private set; }

    internal TimeSpan SystemTime { get; private set; }

    internal IReadOnlyList<string> FirstErrors => _errors;

    /// <summary>Every session ran to its end and told nothing wrong; with an audit, it is clean as well.</summary>
    internal bool IsAllWell => Tally.Faults == 0 && Tally.ListingFaults == 0 && Tally.Sessions > 0
        && (Plan.Duration is not null || Tally.Sessions == Plan.Sessions) && (Audit is null || Audit.IsClean);

    internal void Run()
    {
        Environment.ProcessCpuUsage cpuBefore = Environment.CpuUsage;
        _startedAt = Stopwatch.GetTimestamp();
        _loop.Run();
        Elapsed = Stopwatch.GetElapsedTime(_startedAt);
        Environment.ProcessCpuUsage cpu = Environment.CpuUsage;
        UserTime = cpu.UserTime - cpuBefore.UserTime;
        SystemTime = cpu.PrivilegedTime - cpuBefore.PrivilegedTime;
        Audit?.Finish();
    }

    /// <summary>Any thread.</summary>
    internal Standing TakeStanding()
    {
        LatencyHistogram? latency = Tally.LatencyOf(Plan.IsRetrieving ? Pop3Timed.Retr : Pop3Timed.Session);
        return new Standing
        {
            Title = Plan.Label,
            Elapsed = _startedAt == 0 ? TimeSpan.Zero : Stopwatch.GetElapsedTime(_startedAt),
            Total = Plan.Duration,
            Unit = Plan.IsRetrieving ? "messages" : "sessions",
            Done = Plan.IsRetrieving ? Tally.Messages : Tally.Sessions,
            Wanted = Plan.IsRetrieving || Plan.Duration is not null ? null : Plan.Sessions,
            Octets = Tally.Octets,
            Counts = [("sessions", Tally.Sessions), ("deleted", Tally.Deleted), ("failed", Tally.Faults)],
            Latency = latency is null ? null : ("latency", latency),
        };
    }

    /// <summary>Begins no further session.</summary>
    internal void Stop() => _isStopped = true;

    public void Dispose() => _loop.Dispose();

    public bool TryDeal(int connection, [NotNullWhen(true)] out string? user, out TimeSpan? lookAgain)
    {
        user = null;
        lookAgain = null;
        long session = connection + ((long)_dealt[connection] * Plan.Parallel);
        if (_isStopped || session >= Plan.Sessions || Stopwatch.GetElapsedTime(_startedAt) >= Plan.Duration)
        {
            return false;
        }

        if (_hasFailed[connection])
        {
            _hasFailed[connection] = false;
            lookAgain = AfterFailure; // a server that is not there is not asked without a pause
            return false;
        }

        int share = (Plan.Users.Count - connection + Plan.Parallel - 1) / Plan.Parallel;
        user = Plan.Users[connection + (_dealt[connection] % share * Plan.Parallel)];
        _dealt[connection]++;
        return true;
    }

    public void Ended(int connection, bool isWell) => _hasFailed[connection] = !isWell;

    public void Tick()
    {
        if (!Plan.IsQuiet)
        {
            _progress.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"{Stopwatch.GetElapsedTime(_startedAt).TotalSeconds,4:0} s  sessions {Tally.Sessions}"
                + $" (+{Tally.Sessions - _shownSessions})  messages {Tally.Messages} (+{Tally.Messages - _shownMessages})"
                + $"  deleted {Tally.Deleted}  failed {Tally.Faults}"));
        }

        _shownMessages = Tally.Messages;
        _shownSessions = Tally.Sessions;
    }

    public void Wrong(string text)
    {
        if (_errors.Count < ShownErrors)
        {
            _errors.Add(text);
            _progress.WriteLine($"fastmail-load: {text}");
        }
    }
}
