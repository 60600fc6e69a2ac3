using BenchmarkDotNet.Attributes;

namespace FastMail.Bench.Storage;

/// <summary>
/// Opening a log of a million messages in 10,000 mailboxes, page cache warm: with a checkpoint (bar: under 1 s) and
/// without one (bar: 2 s a GiB; the size is printed). Closing is part of it and writes one record.
/// </summary>
[SimpleJob(warmupCount: 1, iterationCount: 7, invocationCount: 1)]
public class OpenBench : IDisposable
{
    private const int Messages = 1_000_000;
    private const int Mailboxes = 10_000;

    private FilledLog? _log;

    /// <summary>Whether there is one.</summary>
    [Params(true, false)]
    public bool HasCheckpoint { get; set; }

    /// <summary>Octets of a body: small ones cost a record each, large ones are stepped over.</summary>
    [Params(1024)]
    public int BodyBytes { get; set; }

    /// <summary>Fills the log.</summary>
    [GlobalSetup]
    public void Setup()
    {
        _log = new FilledLog("open", BodyBytes, HasCheckpoint);
        _log.Fill(Messages, Mailboxes);
        Console.WriteLine($"// {_log.Bytes / (double)(1 << 30):F2} GiB of log");
        _log.Close();
    }

    /// <summary>Removes it.</summary>
    [GlobalCleanup]
    public void Dispose()
    {
        _log?.Dispose();
        GC.SuppressFinalize(this);
    }

    /// <summary>Opens and closes.</summary>
    [Benchmark]
    public int Open()
    {
        _log!.Open();
        int maildrops = _log.Log.Statistics.Maildrops;
        _log.Close();
        return maildrops;
    }
}
