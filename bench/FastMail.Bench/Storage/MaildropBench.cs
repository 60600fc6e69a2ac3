using BenchmarkDotNet.Attributes;
using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>
/// One mailbox from 1,000 to 1,000,000 messages: what an append, a login and a RETR cost. Bars: a snapshot of 100,000
/// under 20 ms, append flat. Right after a checkpoint, so the snapshot is read from its shard.
/// </summary>
[MemoryDiagnoser]
[SimpleJob(warmupCount: 2, iterationCount: 9, invocationCount: 1)]
public class MaildropBench : IDisposable
{
    private const int Appends = 20_000;
    private const int Reads = 10_000;

    private FilledLog? _log;
    private MaildropSnapshot? _snapshot;

    /// <summary>Messages in the maildrop.</summary>
    [Params(1_000, 10_000, 100_000, 1_000_000)]
    public int Size { get; set; }

    /// <summary>Fills the maildrop.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _log = new FilledLog("maildrop", 100, takesCheckpoints: true);
        _log.Fill(Size, 1);
        _log.Log.TakeCheckpoint();
        _snapshot = _log.Log.Snapshot(1);
    }

    /// <summary>Removes it.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        _log?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>A message more, a thousand in flight; the maildrop grows meanwhile.</summary>
    [Benchmark(OperationsPerInvoke = Appends)]
    public void Append()
    {
        _log!.Fill(Appends, 1);
    }

    /// <summary>What a login costs the log.</summary>
    [Benchmark]
    public int Snapshot()
    {
        return _log!.Log.Snapshot(1).Count;
    }

    /// <summary>Finding and checking a message, all over the maildrop.</summary>
    [Benchmark(OperationsPerInvoke = Reads)]
    public int Read()
    {
        int read = 0;
        int step = Math.Max(1, Size / Reads);
        for (int i = 0; i < Reads; i++)
        {
            ulong lsn = _snapshot![i * step % Size].Lsn;
            read += _log!.Log.TryRead(lsn, out _) == ReadStatus.Ok ? 1 : 0;
        }

        return read;
    }
}
