using System.Globalization;
using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol;
using FastMail.Protocol.Pop3;

namespace FastMail.Bench.Protocol;

/// <summary>
/// One POP3 command line out of a full segment: find its end, recognise the verb, read the message-number. The baseline
/// makes strings and checks nothing. The command in the whole session, which also judges it and writes the reply, comes
/// 20 to a segment, as pipelining clients send it.
/// </summary>
[MemoryDiagnoser, MedianColumn, MinColumn]
public class Pop3CommandBench
{
    private const int Pipelined = 20;

    private readonly byte[] _replies = new byte[4096];
    private byte[] _input = [];
    private byte[] _segment = [];
    private LineReader _lines = new(takesBareLf: true);
    private Pop3Session _session = null!;

    [Params("NOOP", "LIST 17", "UIDL 17")]
    public string Command { get; set; } = "";

    [GlobalSetup]
    public void Fill()
    {
        _input = Encoding.ASCII.GetBytes(Command + "\r\n" + new string('x', 1400));
        _segment = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(Command + "\r\n", Pipelined)));
        _session = new BenchMaildrop(100).LogIn(_replies);
        _session.Receive(_segment, _replies, out var consumed, out var written);
        if (consumed != _segment.Length || written == 0 || !_replies.AsSpan(0, written).StartsWith("+OK"u8))
        {
            throw new InvalidOperationException(Encoding.ASCII.GetString(_replies, 0, written));
        }
    }

    [Benchmark(Baseline = true)]
    public int Strings()
    {
        var words = Encoding.ASCII.GetString(_input, 0, _input.AsSpan().IndexOf("\r\n"u8)).Split(' ');
        var verb = words[0].ToUpperInvariant();
        return verb is "LIST" or "UIDL" ? int.Parse(words[1], CultureInfo.InvariantCulture) : verb.Length;
    }

    [Benchmark]
    public long Views()
    {
        _lines.Read(_input, Limits.Pop3CommandLineBytes, out var line, out var consumed);
        var verb = Pop3Verbs.Parse(line, out var argument);
        return verb is Pop3Verb.List or Pop3Verb.Uidl && StrictDecimal.TryParse(argument, out var number) ? number : consumed;
    }

    [Benchmark(OperationsPerInvoke = Pipelined)]
    public int Session()
    {
        _session.Receive(_segment, _replies, out _, out var written);
        return written;
    }
}
