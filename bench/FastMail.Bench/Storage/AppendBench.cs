using BenchmarkDotNet.Attributes;

namespace FastMail.Bench.Storage;

/// <summary>
/// Durable appends by 20 waiters beside the bare write-and-flush loop of the same shape. Bars: the log reaches 60 % of
/// the loop at 1 KB and 70 % at 10 KB. What the log pays for at 10 KB is the zeros of the next segment: not in a burst
/// that finds its segments ready, nor where mail is removed as fast as it comes and segments are used again. Set
/// FASTMAIL_BENCH_DIR to the disk that is meant.
/// </summary>
[MemoryDiagnoser]
[SimpleJob(warmupCount: 2, iterationCount: 10, invocationCount: 1)] // bounded: the log keeps what it is given
public class AppendBench : IDisposable
{
    private const int Waiters = 20;
    private const int Messages = 20_000;

    // One segment holds a whole run at 1 KB; at 10 KB the run rolls twice and pays for the zeros of what it uses.
    private const long SegmentBytes = 1 << 30;

    // Header, meta and trace of the log's records, so that both write the same bytes.
    private const int Overhead = 320;

    private BenchFolder? _folder;
    private BareLoop? _bare;
    private BareGrowingLoop? _growing;
    private ClosedLoop? _log;
    private ClosedLoop? _emptied;

    /// <summary>Octets of a body.</summary>
    [Params(1024, 10 * 1024)]
    public int BodyBytes { get; set; }

    /// <summary>Makes the file of the loop, and the log.</summary>
    [GlobalSetup(Targets = [nameof(Bare), nameof(Log), nameof(Burst)])]
    public void Setup()
    {
        _folder = new BenchFolder("append");
        _bare = new BareLoop(Path.Join(_folder.Path, "bare"), BodyBytes + Overhead, Waiters);
        _bare.Fill(128 << 20);
        _bare.Flush();
        _log = new ClosedLoop(_folder.Path, BodyBytes, Waiters, SegmentBytes);
    }

    /// <summary>Makes the loop over new files, as large as the log's segments.</summary>
    [GlobalSetup(Target = nameof(BareGrowing))]
    public void SetupGrowing()
    {
        _folder = new BenchFolder("append");
        _growing = new BareGrowingLoop(_folder.Path, BodyBytes + Overhead, Waiters, (int)(SegmentBytes >> 20));
    }

    /// <summary>Makes a log in which segments are used again already: eight were filled.</summary>
    [GlobalSetup(Target = nameof(Emptied))]
    public void SetupEmptied()
    {
        _folder = new BenchFolder("append");
        long segmentBytes = BodyBytes * (32L << 10); // 320 MiB at 10 KB
        _emptied = new ClosedLoop(_folder.Path, BodyBytes, Waiters, segmentBytes, removes: true);
        _emptied.Run((int)(8 * segmentBytes / (BodyBytes + Overhead)));
    }

    /// <summary>Removes them.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        _bare?.Dispose();
        _growing?.Dispose();
        _log?.Dispose();
        _emptied?.Dispose();
        _folder?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The baseline.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Messages)]
    public void Bare()
    {
        for (int i = 0; i < Messages / Waiters; i++)
        {
            _bare!.Commit();
        }
    }

    /// <summary>The loop of a log that only grows: what <see cref="Log"/> does, without a log.</summary>
    [Benchmark(OperationsPerInvoke = Messages)]
    public void BareGrowing()
    {
        for (int i = 0; i < Messages / Waiters; i++)
        {
            _growing!.Commit();
        }
    }

    /// <summary>The log, one run behind the other: as fast as zeros and mail are written together.</summary>
    [Benchmark(OperationsPerInvoke = Messages)]
    public void Log()
    {
        _log!.Run(Messages);
    }

    /// <summary>Before a burst all spares are ready.</summary>
    [IterationSetup(Target = nameof(Burst))]
    public void FillStock()
    {
        _log!.FillStock();
    }

    /// <summary>The log, in bursts that find their segments ready.</summary>
    [Benchmark(OperationsPerInvoke = Messages)]
    public void Burst()
    {
        _log!.Run(Messages);
    }

    /// <summary>The log, with the mail removed as fast as it comes.</summary>
    [Benchmark(OperationsPerInvoke = Messages)]
    public void Emptied()
    {
        _emptied!.Run(Messages);
    }
}
