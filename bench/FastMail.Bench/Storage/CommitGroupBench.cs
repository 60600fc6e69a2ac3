using BenchmarkDotNet.Attributes;

namespace FastMail.Bench.Storage;

/// <summary>
/// What sharing a flush is worth: messages of 1 KB that come one at a time, each a group of its own, and by 20 and by 200
/// waiters, whose messages share groups. The baseline writes and flushes each message by itself and does nothing else.
/// </summary>
[MemoryDiagnoser]
[SimpleJob(warmupCount: 2, iterationCount: 10, invocationCount: 1)] // bounded: the log keeps what it is given
public class CommitGroupBench : IDisposable
{
    private const int BodyBytes = 1024;
    private const int Overhead = 320; // header, meta and trace of the log's records, so that both write the same bytes
    private const int Messages = 4_000;
    private const long SegmentBytes = 128 << 20; // holds all that one run appends

    private BenchFolder? _folder;
    private BareLoop? _bare;
    private ClosedLoop? _log;

    /// <summary>Makes the file of the loop.</summary>
    [GlobalSetup(Target = nameof(FlushEach))]
    public void SetupBare()
    {
        _folder = new BenchFolder("groups");
        _bare = new BareLoop(Path.Join(_folder.Path, "bare"), BodyBytes + Overhead, 1);
        _bare.Fill(SegmentBytes);
        _bare.Flush();
    }

    [GlobalSetup(Target = nameof(OneInAGroup))]
    public void SetupOne() => SetupLog(1);

    [GlobalSetup(Target = nameof(TwentyInAGroup))]
    public void SetupTwenty() => SetupLog(20);

    [GlobalSetup(Target = nameof(TwoHundredInAGroup))]
    public void SetupTwoHundred() => SetupLog(200);

    /// <summary>Removes them.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        _bare?.Dispose();
        _log?.Dispose();
        _folder?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>The baseline.</summary>
    [Benchmark(Baseline = true, OperationsPerInvoke = Messages)]
    public void FlushEach()
    {
        for (int i = 0; i < Messages; i++)
        {
            _bare!.Commit();
        }
    }

    /// <summary>One message in flight: each is a group.</summary>
    [Benchmark(OperationsPerInvoke = Messages)]
    public void OneInAGroup() => _log!.Run(Messages);

    /// <summary>20 in flight.</summary>
    [Benchmark(OperationsPerInvoke = Messages)]
    public void TwentyInAGroup() => _log!.Run(Messages);

    /// <summary>200 in flight.</summary>
    [Benchmark(OperationsPerInvoke = Messages)]
    public void TwoHundredInAGroup() => _log!.Run(Messages);

    private void SetupLog(int waiters)
    {
        _folder = new BenchFolder("groups");
        _log = new ClosedLoop(_folder.Path, BodyBytes, waiters, SegmentBytes);
    }
}
