using System.Numerics;
using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>The checksum of a body: word by word, where each waits for the one before, and in three lanes.</summary>
[MemoryDiagnoser]
public class Crc32CBench
{
    private byte[] _octets = [];

    [Params(100, 1024, 10 * 1024, 256 * 1024)]
    public int Bytes { get; set; }

    [GlobalSetup]
    public void Setup()
    {
        _octets = new byte[Bytes];
        new Random(1).NextBytes(_octets);
    }

    [Benchmark(Baseline = true)]
    public uint WordByWord()
    {
        uint state = uint.MaxValue;
        foreach (ulong word in MemoryMarshal.Cast<byte, ulong>(_octets))
        {
            state = BitOperations.Crc32C(state, word);
        }

        return ~state;
    }

    [Benchmark]
    public uint Lanes()
    {
        return Crc32C.Extend(0, _octets);
    }
}
