using BenchmarkDotNet.Attributes;
using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>
/// Durable appends of 1 KB by 20 waiters, alone and while everything that is full is copied into cold segments, at the
/// rate at which the server does that by default.
/// </summary>
[MemoryDiagnoser]
[SimpleJob(warmupCount: 1, iterationCount: 10, invocationCount: 1)] // bounded: the log keeps what it is given
public class CompactionBench : IDisposable
{
    private const int Messages = 20_000;
    private const long SegmentBytes = 16 << 20;
    private const long CopiedPerSecond = 50 << 20;

    private BenchFolder? _folder;
    private ClosedLoop? _log;
    private CancellationTokenSource? _stop;
    private Task _compacting = Task.CompletedTask;

    /// <summary>Whether a compaction is always under way.</summary>
    [Params(false, true)]
    public bool IsCompacting { get; set; }

    /// <summary>Makes the log, with some segments to begin with.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _folder = new BenchFolder("compaction");
        _log = new ClosedLoop(_folder.Path, 1024, 20, SegmentBytes);
        _log.Run(3 * Messages);
        _stop = new CancellationTokenSource();
        _compacting = IsCompacting ? Task.Run(() => CompactAsync(_log.Log, _stop.Token)) : Task.CompletedTask;
    }

    /// <summary>Ends the compaction and removes the log.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        _stop?.Cancel();
        _compacting.Wait();
        _stop?.Dispose();
        _log?.Dispose();
        _folder?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The appends.</summary>
    [Benchmark(OperationsPerInvoke = Messages)]
    public void Append()
    {
        _log!.Run(Messages);
    }

    private static async Task CompactAsync(MailLog log, CancellationToken stop)
    {
        CompactOptions everything = new() { DeadRatio = 0, IncludesCurrent = true, BytesPerSecond = CopiedPerSecond };
        while (!stop.IsCancellationRequested)
        {
            _ = await log.CompactAsync(everything, cancellation: CancellationToken.None);
        }
    }
}
