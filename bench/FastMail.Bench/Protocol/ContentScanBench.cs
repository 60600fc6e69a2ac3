using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol.Smtp;

namespace FastMail.Bench.Protocol;

/// <summary>
/// Content scan of 64 KiB: 72-column text, then the worst case of lines of a single stuffed dot. The baseline is the
/// obvious loop over octets with the same findings.
/// </summary>
[MemoryDiagnoser]
public class ContentScanBench
{
    private const int Bytes = 64 * 1024;

    private byte[] _content = [];

    [Params("text", "dots", "one line")]
    public string Kind { get; set; } = "";

    [GlobalSetup]
    public void Fill()
    {
        var line = Kind switch
        {
            "text" => new string('x', 72) + "\r\n",
            "dots" => "..\r\n",
            _ => new string('x', 996) + "\r\n",
        };
        var text = new StringBuilder("Received: from a.test by b.test; Sun, 22 Nov 2026 04:00:00 +0000\r\n"
            + "Date: Sun, 22 Nov 2026 04:00:00 +0000\r\nSubject: x\r\n\r\n");
        while (text.Length + line.Length <= Bytes - 3)
        {
            text.Append(line);
        }
        _content = Encoding.ASCII.GetBytes(text.Append(".\r\n").ToString());
    }

    [Benchmark(Baseline = true)]
    public long OctetByOctet() => OctetLoop.Scan(_content).Octets;

    [Benchmark]
    public long Masks()
    {
        var scanner = default(ContentScanner);
        scanner.Start();
        scanner.Scan(_content);
        return scanner.Octets;
    }

    [Benchmark]
    public long MasksAndHeaderFields()
    {
        var scanner = default(ContentScanner);
        scanner.Start();
        scanner.Scan(_content);
        var fields = default(HeaderFields);
        fields.Take(_content.AsSpan(0, (int)scanner.HeaderWireBytes));
        return scanner.Octets + fields.Received;
    }

    [Benchmark]
    public long MasksInSegmentsOf1448()
    {
        var scanner = default(ContentScanner);
        scanner.Start();
        for (var at = 0; !scanner.HasEnded;)
        {
            at += scanner.Scan(_content.AsSpan(at, Math.Min(1448, _content.Length - at)));
        }
        return scanner.Octets;
    }

    /// <summary>The obvious version: a state machine that looks at every octet once.</summary>
    private static class OctetLoop
    {
        public static (long Octets, long Header, bool IsFlawed, bool Has8Bit, bool IsLong) Scan(ReadOnlySpan<byte> text)
        {
            var (octets, header, line) = (0L, 0L, 0L);
            var (isFlawed, has8Bit, isLong) = (false, false, false);
            var (isAfterCr, isLineStart, isDot) = (false, true, false);
            for (var i = 0; i < text.Length; i++)
            {
                var octet = text[i];
                has8Bit |= octet > 127;
                isFlawed |= octet == 0 || (octet == '\n') != isAfterCr;
                octets++;
                line++;
                if (octet == '\n' && isAfterCr)
                {
                    if (isDot && line == 3)
                    {
                        return (octets - 3, header, isFlawed, has8Bit, isLong);
                    }
                    header = line == 2 && header == 0 ? i + 1 : header;
                    isLong |= line > 1000;
                    octets -= isDot ? 1 : 0;
                    (line, isLineStart, isDot) = (0, true, false);
                }
                else
                {
                    isDot |= isLineStart && octet == '.';
                    isLineStart = false;
                }
                isAfterCr = octet == '\r';
            }
            return (octets, header, isFlawed, has8Bit, isLong);
        }
    }
}
