using BenchmarkDotNet.Attributes;
using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>
/// Opening a log with a million recipients to be relayed, each deferred once, page cache warm, and reading all of the
/// queue as an engine does at its start (bar: 5 s, and 100 octets of memory a recipient, which is printed).
/// </summary>
[MemoryDiagnoser]
[SimpleJob(warmupCount: 1, iterationCount: 5, invocationCount: 1)]
public class QueueBench : IDisposable
{
    private const int Messages = 1_000_000;

    private readonly List<QueuedRecipient> _page = new(2_048);
    private FilledLog? _log;

    /// <summary>Whether there is one.</summary>
    [Params(true, false)]
    public bool HasCheckpoint { get; set; }

    /// <summary>Fills the log.</summary>
    [GlobalSetup]
    public void Setup()
    {
        long before = GC.GetTotalMemory(forceFullCollection: true);
        _log = new FilledLog("queue", 1024, HasCheckpoint);
        _log.FillQueue(Messages);
        Console.WriteLine($"// {_log.Bytes / (double)(1 << 30):F2} GiB of log");
        _log.Close();
        _log.Open();
        long after = GC.GetTotalMemory(forceFullCollection: true);
        Console.WriteLine($"// {(after - before) / (double)Messages:F1} octets a recipient, the log itself included");
        _log.Close();
    }

    /// <summary>Removes it.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        _log?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Opens, reads all of the queue, and closes.</summary>
    [Benchmark]
    public int OpenAndRead()
    {
        _log!.Open();
        int recipients = 0;
        ulong next = 0;
        do
        {
            _page.Clear();
            next = _log.Log.Queue.ReadPage(next, _page, 1_024);
            recipients += _page.Count;
        }
        while (next != 0);
        _log.Close();
        return recipients == Messages ? recipients : throw new InvalidOperationException($"{recipients} are queued");
    }
}
