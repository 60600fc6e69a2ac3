using System.Diagnostics;
using System.Globalization;
using FastMail.LoadTest.Ledgers;

namespace FastMail.LoadTest.Pop3;

/// <summary>
/// One run of POP3 sessions on as many threads as the plan has parallel sessions. A worker keeps to its own share of
/// the users, because a maildrop is locked by its session. Used by the main thread; <see cref="Stop"/> by any.
/// </summary>
internal sealed class Pop3Run(Pop3Plan plan, LedgerAudit? audit, TextWriter progress)
{
    private const int ShownErrors = 10;

    private readonly List<string> _errors = [];
    private readonly Lock _gate = new();
    private volatile bool _isStopped;

    internal Pop3Plan Plan { get; } = plan;

    /// <summary>Null when nothing was verified.</summary>
    internal LedgerAudit? Audit { get; } = audit;

    internal Pop3Tally Tally { get; } = new();

    internal TimeSpan Elapsed { get; private set; }

    internal TimeSpan UserTime { get; private set; }

    internal TimeSpan SystemTime { get; private set; }

    internal IReadOnlyList<string> FirstErrors => _errors;

    /// <summary>Every session ran to its end and told nothing wrong; with an audit, it is clean as well.</summary>
    internal bool IsAllWell => Tally.Faults == 0 && Tally.ListingFaults == 0 && Tally.Sessions == Plan.Sessions
        && (Audit is null || Audit.IsClean);

    internal void Run()
    {
        Environment.ProcessCpuUsage cpuBefore = Environment.CpuUsage;
        long from = Stopwatch.GetTimestamp();
        Pop3Worker[] workers =
            [.. Enumerable.Range(0, Plan.Parallel).Select(_ => new Pop3Worker(Plan, Audit, ShowError))];
        Thread[] threads = [.. workers.Select((worker, index) => new Thread(() => Work(worker, index)))];
        foreach (Thread thread in threads)
        {
            thread.Start();
        }

        ShowProgressUntilEnd(threads, workers, from);
        Elapsed = Stopwatch.GetElapsedTime(from);
        foreach (Pop3Worker worker in workers)
        {
            Tally.Add(worker.Tally);
            worker.Dispose();
        }

        Audit?.Finish();
        Environment.ProcessCpuUsage cpu = Environment.CpuUsage;
        UserTime = cpu.UserTime - cpuBefore.UserTime;
        SystemTime = cpu.PrivilegedTime - cpuBefore.PrivilegedTime;
    }

    /// <summary>Begins no further session.</summary>
    internal void Stop() => _isStopped = true;

    private void Work(Pop3Worker worker, int index)
    {
        int round = 0;
        for (int session = index; session < Plan.Sessions && !_isStopped; session += Plan.Parallel)
        {
            int user = index + (round * Plan.Parallel);
            if (user >= Plan.Users.Count)
            {
                round = 0;
                user = index;
            }

            round++;
            _ = worker.RunSession(Plan.Users[user]);
        }
    }

    private void ShowProgressUntilEnd(Thread[] threads, Pop3Worker[] workers, long from)
    {
        long shown = 0;
        foreach (Thread thread in threads)
        {
            while (!thread.Join(TimeSpan.FromSeconds(1)))
            {
                long messages = workers.Sum(worker => Volatile.Read(ref worker.Tally.Messages));
                long sessions = workers.Sum(worker => Volatile.Read(ref worker.Tally.Sessions));
                if (!Plan.IsQuiet)
                {
                    progress.WriteLine(string.Create(
                        CultureInfo.InvariantCulture,
                        $"{Stopwatch.GetElapsedTime(from).TotalSeconds,4:0} s  sessions {sessions}"
                        + $"  messages {messages} (+{messages - shown})"));
                }

                shown = messages;
            }
        }
    }

    private void ShowError(string text)
    {
        lock (_gate)
        {
            if (_errors.Count < ShownErrors)
            {
                _errors.Add(text);
                progress.WriteLine($"fastmail-load: {text}");
            }
        }
    }
}
