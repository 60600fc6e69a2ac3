using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;

namespace FastMail.Bench.Protocol;

/// <summary>
/// One command line out of a full segment: find its end, recognise the verb, take the path apart. The baseline makes
/// strings and checks nothing. The command in the whole session, which also judges it and writes the reply, comes 20 to
/// a segment, as pipelining clients send it.
/// </summary>
[MemoryDiagnoser, MedianColumn, MinColumn]
public class CommandBench
{
    private const int Pipelined = 20;

    private readonly byte[] _replies = new byte[4096];
    private byte[] _input = [];
    private byte[] _segment = [];
    private LineReader _lines = new(takesBareLf: false);
    private SmtpSession _session = null!;

    [Params("NOOP", "RCPT TO:<u@local.test>", "RCPT TO:<firstname.lastname@mail.example.com>")]
    public string Command { get; set; } = "";

    [GlobalSetup]
    public void Fill()
    {
        _input = Encoding.ASCII.GetBytes(Command + "\r\n" + new string('x', 1400));
        _segment = Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(Command + "\r\n", Pipelined)));
        _session = new SmtpSession(
            new SmtpSessionOptions
            {
                Hostname = "mx.test"u8.ToArray(),
                Role = SmtpRole.Mx,
                MaxRecipients = int.MaxValue,
                Limits = new SessionLimits { IdleCommands = int.MaxValue },
            },
            new NullSink(),
            new Nobody());
        _session.Receive("EHLO c.test\r\nMAIL FROM:<a@b.test>\r\n"u8, _replies, out _, out _);
    }

    [Benchmark(Baseline = true)]
    public int Strings()
    {
        var line = Encoding.ASCII.GetString(_input, 0, _input.AsSpan().IndexOf("\r\n"u8));
        var verb = line.Split(' ')[0].ToUpperInvariant();
        return verb == "RCPT" ? line.Split('<', '>')[1].LastIndexOf('@') : verb.Length;
    }

    [Benchmark]
    public int Views()
    {
        _lines.Read(_input, 2048, out var line, out var consumed);
        if (SmtpVerbs.Parse(line, out var argument) != SmtpVerb.Rcpt)
        {
            return consumed;
        }
        SmtpPath.Parse(argument[3..], out var path, out _);
        return path.AtSign;
    }

    [Benchmark(OperationsPerInvoke = Pipelined)]
    public int Session()
    {
        _session.Receive(_segment, _replies, out _, out var written);
        return written;
    }
}
