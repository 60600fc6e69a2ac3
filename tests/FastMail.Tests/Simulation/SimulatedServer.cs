using System.Collections.Concurrent;
using FastMail.Net;
using FastMail.Server.Accounts;
using FastMail.Server.Defence;
using FastMail.Server.Pop3;
using FastMail.Server.Receive;
using FastMail.Storage;
using Microsoft.Extensions.Logging.Abstractions;

namespace FastMail.Tests.Simulation;

/// <summary>
/// One process: the real mail log with the real sessions around it, on a disk port. The test's thread is its loop. The
/// appender is held after each turn, so that what the next turn appends becomes one group, and no proof is written in
/// between unless the test asks for it.
/// </summary>
internal sealed class SimulatedServer : IMailLogObserver, IDisposable
{
    public const string Directory = LyingDisk.Root + "/store";

    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly ConcurrentQueue<string> _noticed = new();
    private readonly ConcurrentQueue<ILoopWork> _posted = new();
    private readonly SemaphoreSlim _turnEnded = new(0);
    private readonly SemaphoreSlim _goOn = new(0);
    private readonly AutoResetEvent _stirred = new(false);
    private int _outstanding;
    private bool _isHeld;
    private volatile bool _isClosing;

    private SimulatedServer(DiskPort port, SimulatedAccounts accounts, TimeProvider clock)
    {
        Port = port;
        Accounts = accounts.Live;
        Clock = clock;
        Intake = new Intake(clock, 64 << 20);
        Stress = new Stress(
            new StressLimits(), Intake, () => 0, () => DiskStrain.Of(Log), NullLogger.Instance);
    }

    public static MailLogOptions Sizes { get; } = new()
    {
        SegmentBytes = MailLogOptions.MinSegmentBytes,
        FirstSegmentBytes = MailLogOptions.MinSegmentBytes,
        ReserveBytes = MailLogOptions.MinSegmentBytes,
        GroupBytes = 192 * 1024,
        PooledContentBytes = 0,
        PooledMessages = 4,
        Spares = 1, // so that segments are used again soon
        CheckpointBytes = 1L << 40, // never by themselves: the test says when
        CheckpointInterval = Timeout.InfiniteTimeSpan,
        ReclaimsByItself = false,
    };

    public DiskPort Port { get; }

    public LiveAccounts Accounts { get; }

    public TimeProvider Clock { get; }

    public Intake Intake { get; }

    /// <summary>Nobody has one: what is simulated is the log, not its limits.</summary>
    public Quotas Quotas { get; private set; } = null!;

    public Stress Stress { get; }

    public MaildropLocks Locks { get; } = new();

    public MailLog Log { get; private set; } = null!;

    /// <summary>The appender waits for the next turn: several may append and become one group.</summary>
    public bool IsHeld => _isHeld;

    /// <summary>Starts the process: opens the log, which recovers it.</summary>
    /// <exception cref="IOException">It did not start.</exception>
    public static SimulatedServer Start(
        DiskPort port, SimulatedAccounts accounts, TimeProvider clock, Random random, MailLogOptions? options = null)
    {
        SimulatedServer server = new(port, accounts, clock);
        port.Called = _ => server._stirred.Set();
        server.Log = MailLog.Open(Directory, options ?? Sizes, port, clock, random, server);
        server.Quotas = new Quotas(server.Log, server.Accounts, new Allowance(0, 0, 0));
        server.AwaitSpare();
        server.JudgeFiles();
        return server;
    }

    /// <summary>Runs work at the end of the turn, as the loop would.</summary>
    public void Post(ILoopWork work) => _posted.Enqueue(work);

    /// <summary>Lets the log take what is appended and runs what it posts, until all of it has its outcome.</summary>
    /// <param name="append">
    /// Appends on this thread and says how many; one at most unless the appender is held.
    /// </param>
    public void Turn(Func<int> append)
    {
        _outstanding = _isHeld ? 0 : 1;
        int count = append();
        if (count == 0)
        {
            return;
        }

        AwaitBodies(); // so that what has a body file joins the group of this turn
        if (_isHeld)
        {
            _outstanding = count;
        }
        else if (count > 1)
        {
            throw new InvalidOperationException("the appender takes the first alone unless it is held");
        }

        Release();
        if (!_turnEnded.Wait(Patience))
        {
            throw new TimeoutException("an append was never completed\n" + Port.Trace);
        }

        _isHeld = true;
        while (_posted.TryDequeue(out ILoopWork? work))
        {
            work.Run();
        }

        AwaitSpare();
        AwaitBodies();
    }

    /// <summary>Looks at everything stored; answers how many damages of mail were found.</summary>
    public int Scrub()
    {
        _noticed.Clear();
        Log.Scrub();
        return _noticed.Count(n => n.StartsWith("damage", StringComparison.Ordinal)
            && !n.EndsWith(Scrubber.Unlisted, StringComparison.Ordinal));
    }

    /// <summary>Leaves the log idle until it has proven its last group.</summary>
    public void LetItProve()
    {
        int flushes = 0;
        Port.Called = call =>
        {
            if (call is { Lane: DiskLane.Appender, Verb: DiskVerb.Flush })
            {
                _ = Interlocked.Increment(ref flushes);
            }

            _ = _stirred.Set();
        };
        Release();
        // A full segment is not proven by a GROUP record: then there is nothing to wait for.
        Await(() => Volatile.Read(ref flushes) > 0 || Port.IsDown || Log.HasFailed, TimeSpan.FromMilliseconds(100));
    }

    /// <summary>Lets the log drop, punch and move what it can, with the appender at work; then what was left over.</summary>
    public string Reclaim(double deadRatio, bool includesCurrent)
    {
        Release();
        Task<CompactProgress> task = Log.CompactAsync(new CompactOptions
        {
            DeadRatio = deadRatio,
            IncludesCurrent = includesCurrent,
        });
        try
        {
            if (!task.Wait(Patience))
            {
                throw new TimeoutException("reclaiming never ended\n" + Port.Trace);
            }
        }
        catch (AggregateException e) when (e.InnerException is IOException && Port.Plan.HasFired)
        {
            return "reclaiming failed";
        }

        AwaitSpare();
        return $"reclaimed {task.Result}";
    }

    /// <summary>The end of the process, in order when its port still works.</summary>
    public void Dispose()
    {
        _isClosing = true;
        Release();
        Log.Dispose();
        Port.End();
        Port.Called = null;
        _turnEnded.Dispose();
        _goOn.Dispose();
        _stirred.Dispose();
    }

    public void GroupCompleted(PendingAppend first)
    {
        int count = 0;
        for (PendingAppend? append = first; append is not null; count++)
        {
            PendingAppend? next = append.Next;
            _posted.Enqueue((ILoopWork)append.Owner!);
            append = next;
        }

        if (Interlocked.Add(ref _outstanding, -count) == 0 && !_isClosing)
        {
            _ = _turnEnded.Release();
            _goOn.Wait();
        }
    }

    public void Failed(int errno, string what)
    {
        _ = _stirred.Set();
    }

    public void SpaceChanged(bool isLow)
    {
        _ = _stirred.Set();
    }

    public void Noticed(string what)
    {
        _noticed.Enqueue(what);
        _ = _stirred.Set();
    }

    private void Release()
    {
        if (_isHeld)
        {
            _isHeld = false;
            _ = _goOn.Release();
        }
    }

    /// <summary>The next segment is ready, or it is known that there will be none.</summary>
    private void AwaitSpare()
    {
        Await(() => Port.IsDown || Log.HasFailed || Log.IsSpaceLow || Log.HasSpare, Patience);
    }

    private void AwaitBodies()
    {
        Await(() => Log.HasIdleBodies, Patience);
    }

    /// <summary>Recovery leaves no body file that nobody needs, and loses none.</summary>
    private void JudgeFiles()
    {
        lock (Port.Disk.Gate)
        {
            int files = Port.Disk.Names.Keys.Count(n => n.Contains("/body/", StringComparison.Ordinal));
            if (!Port.IsDown && files != Log.BodiesInUse)
            {
                throw new BrokenPromiseException($"{files} body files for {Log.BodiesInUse} messages that need one");
            }
        }
    }

    private void Await(Func<bool> condition, TimeSpan patience)
    {
        long began = TimeProvider.System.GetTimestamp();
        while (!condition())
        {
            if (TimeProvider.System.GetElapsedTime(began) > patience)
            {
                if (patience == Patience)
                {
                    throw new TimeoutException("the log never came to rest\n" + Port.Trace);
                }

                return;
            }

            _ = _stirred.WaitOne(TimeSpan.FromMilliseconds(20));
        }
    }
}
