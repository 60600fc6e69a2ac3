using BenchmarkDotNet.Attributes;

namespace FastMail.Bench.Storage;

/// <summary>
/// Durable appends by 20 waiters beside the bare write-and-flush loop of the same shape. Bars: the log reaches 60 % of
/// the loop at 1 KB and 70 % at 10 KB. Set FASTMAIL_BENCH_DIR to the disk that is meant.
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

    private string _directory = "";
    private BareLoop? _bare;
    private ClosedLoop? _log;

    /// <summary>Octets of a body.</summary>
    [Params(1024, 10 * 1024)]
    public int BodyBytes { get; set; }

    /// <summary>Makes both files.</summary>
    [GlobalSetup]
    public void Setup()
    {
        string root = Environment.GetEnvironmentVariable("FASTMAIL_BENCH_DIR") ?? Path.GetTempPath();
        _directory = Path.Join(root, "fastmail-append-bench");
        Directory.CreateDirectory(_directory);
        _bare = new BareLoop(_directory, BodyBytes + Overhead, Waiters, 128 << 20);
        _log = new ClosedLoop(_directory, BodyBytes, Waiters, SegmentBytes);
    }

    /// <summary>Removes them.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        _bare?.Dispose();
        _log?.Dispose();
        GC.SuppressFinalize(this);
        Directory.Delete(_directory, recursive: true);
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

    /// <summary>The log.</summary>
    [Benchmark(OperationsPerInvoke = Messages)]
    public void Log()
    {
        _log!.Run(Messages);
    }
}
