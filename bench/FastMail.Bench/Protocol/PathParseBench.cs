using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol.Smtp;

namespace FastMail.Bench.Protocol;

/// <summary>One path; the baseline makes strings and splits at the last at sign, checking nothing.</summary>
[MemoryDiagnoser]
public class PathParseBench
{
    private byte[] _text = [];

    [Params("<firstname.lastname@mail.example.com>", "<\"q q\"@[IPv6:2001:db8::7]>")]
    public string Path { get; set; } = "";

    [GlobalSetup]
    public void Fill() => _text = Encoding.ASCII.GetBytes(Path + " SIZE=1000");

    [Benchmark(Baseline = true)]
    public int Strings()
    {
        var text = Encoding.ASCII.GetString(_text);
        var path = text[1..text.IndexOf('>', StringComparison.Ordinal)];
        var at = path.LastIndexOf('@');
        return path[..at].Length + path[(at + 1)..].Length;
    }

    [Benchmark]
    public int Views()
    {
        SmtpPath.Parse(_text, out var path, out _);
        return path.AtSign + path.Mailbox.Length;
    }
}
