using System.Buffers;
using System.Globalization;
using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol.Pop3;

namespace FastMail.Bench.Protocol;

/// <summary>
/// LIST of 1,000 messages, the longest reply there is, a full buffer at a time. The baseline makes one string of it.
/// </summary>
[MemoryDiagnoser]
public class Pop3ListingBench
{
    private const int Messages = 1_000;

    private readonly byte[] _replies = new byte[16 * 1024];
    private readonly BenchMaildrop _maildrop = new(Messages);
    private Pop3Session _session = null!;

    /// <summary>Both must say the same.</summary>
    [GlobalSetup]
    public void LogIn()
    {
        _session = _maildrop.LogIn(_replies);
        if (Strings() != Session())
        {
            throw new InvalidOperationException($"{Strings()} and {Session()} octets were said.");
        }
    }

    [Benchmark(Baseline = true)]
    public int Strings()
    {
        int octets = _maildrop.Octets(0);
        StringBuilder listing = new($"+OK {Messages} messages ({Messages * octets} octets)\r\n");
        for (int i = 0; i < Messages; i++)
        {
            listing.Append(CultureInfo.InvariantCulture, $"{i + 1} {_maildrop.Octets(i)}\r\n");
        }

        return Encoding.ASCII.GetBytes(listing.Append(".\r\n").ToString()).Length;
    }

    [Benchmark]
    public int Session()
    {
        int said = 0;
        ReadOnlySpan<byte> command = "LIST\r\n"u8;
        OperationStatus status;
        do
        {
            status = _session.Receive(command, _replies, out int consumed, out int written);
            command = command[consumed..];
            said += written;
        }
        while (status == OperationStatus.DestinationTooSmall);
        return said;
    }
}
