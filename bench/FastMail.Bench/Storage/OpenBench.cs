using BenchmarkDotNet.Attributes;
using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>
/// Opening a log of a million messages in 10,000 mailboxes, page cache warm: with a checkpoint (bar: under 1 s) and
/// without one (bar: 2 s a GiB; the size is printed). Closing is part of it and writes one record. The baseline reads the
/// log's files from end to end and checks their sum: what looking at every octet costs.
/// </summary>
[MemoryDiagnoser]
[SimpleJob(warmupCount: 1, iterationCount: 7, invocationCount: 1)]
public class OpenBench : IDisposable
{
    private const int Messages = 1_000_000;
    private const int Mailboxes = 10_000;

    private readonly byte[] _block = new byte[1 << 20];
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

    /// <summary>A checksum over all that is in the files.</summary>
    [Benchmark(Baseline = true)]
    public uint ReadAll()
    {
        uint sum = 0;
        foreach (string path in _log!.Segments)
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
            for (int read = file.Read(_block); read > 0; read = file.Read(_block))
            {
                sum = Crc32C.Extend(sum, _block.AsSpan(0, read));
            }
        }

        return sum;
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
