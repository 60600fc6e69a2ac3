using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;

namespace FastMail.Bench.Protocol;

/// <summary>
/// A whole MAIL, RCPT, DATA turn of a 1 KiB message through the session into a sink that does nothing: one command a
/// segment, and pipelined. The baseline splits lines into strings and compares words, as one would at first.
/// </summary>
[MemoryDiagnoser]
public class SmtpTurnBench
{
    private static readonly byte[] Envelope =
        "MAIL FROM:<bounce-123@lists.example.com> SIZE=1100\r\nRCPT TO:<u@local.test>\r\nDATA\r\n"u8.ToArray();

    private readonly byte[] _replies = new byte[4096];
    private readonly byte[][] _oneByOne = new byte[4][];
    private byte[] _content = [];
    private SmtpSession _session = null!;

    [GlobalSetup]
    public void Greet()
    {
        var content = new StringBuilder("Subject: x\r\n\r\n");
        while (content.Length < 1024)
        {
            content.Append('x', 72).Append("\r\n");
        }
        _content = Encoding.ASCII.GetBytes(content.Append(".\r\n").ToString());
        var lines = Encoding.ASCII.GetString(Envelope).Split("\r\n");
        for (var i = 0; i < 3; i++)
        {
            _oneByOne[i] = Encoding.ASCII.GetBytes(lines[i] + "\r\n");
        }
        _oneByOne[3] = _content;
        _session = new SmtpSession(
            new SmtpSessionOptions { Hostname = "mx.test"u8.ToArray(), Role = SmtpRole.Mx },
            new NullSink(),
            new Nobody());
        Say("EHLO c.test\r\n"u8.ToArray());
    }

    [Benchmark(Baseline = true)]
    public int Strings()
    {
        var count = 0;
        foreach (var line in Encoding.Latin1.GetString(Envelope).Split("\r\n"))
        {
            count += line.Split(' ')[0].ToUpperInvariant() switch
            {
                "MAIL" or "RCPT" => line.Split('<', '>')[1].Length,
                "DATA" => 1,
                _ => 0,
            };
        }
        foreach (var line in Encoding.Latin1.GetString(_content).Split("\r\n"))
        {
            count += line.StartsWith('.') ? 1 : line.Length;
        }
        return count;
    }

    [Benchmark]
    public int OneCommandASegment()
    {
        var written = 0;
        foreach (var segment in _oneByOne)
        {
            written += Say(segment);
        }
        return written + Finish();
    }

    [Benchmark]
    public int Pipelined() => Say(Envelope) + Say(_content) + Finish();

    private int Finish()
    {
        _session.Committed(SmtpReply.Accepted);
        return Say([]);
    }

    private int Say(byte[] segment)
    {
        _session.Receive(segment, _replies, out _, out var written);
        return written;
    }
}
