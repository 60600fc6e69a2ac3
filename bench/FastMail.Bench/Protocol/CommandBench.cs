using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;

namespace FastMail.Bench.Protocol;

/// <summary>
/// One command line out of a full segment: find its end, recognise the verb, take the path apart. The baseline makes
/// strings and checks nothing.
/// </summary>
[MemoryDiagnoser]
public class CommandBench
{
    private byte[] _input = [];
    private LineReader _lines = new(takesBareLf: false);

    [Params("NOOP", "RCPT TO:<u@local.test>")]
    public string Command { get; set; } = "";

    [GlobalSetup]
    public void Fill() => _input = Encoding.ASCII.GetBytes(Command + "\r\n" + new string('x', 1400));

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
}
