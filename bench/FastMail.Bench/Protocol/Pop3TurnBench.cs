using System.Buffers;
using System.Globalization;
using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol.Pop3;

namespace FastMail.Bench.Protocol;

/// <summary>
/// A message of 1 KiB collected from a maildrop in memory: LIST, RETR and DELE, then RSET, so that it is there the next
/// time: one command a segment, and pipelined. The baseline splits lines into strings and answers with strings, as one
/// would at first.
/// </summary>
[MemoryDiagnoser]
public class Pop3TurnBench
{
    private static readonly byte[] Commands = "LIST 17\r\nRETR 17\r\nDELE 17\r\nRSET\r\n"u8.ToArray();

    private readonly byte[] _replies = new byte[4096];
    private readonly BenchMaildrop _maildrop = new(100);
    private readonly bool[] _marks = new bool[100];
    private byte[][] _oneByOne = [];
    private string _content = "";
    private Pop3Session _session = null!;

    /// <summary>All three must say the same.</summary>
    [GlobalSetup]
    public void LogIn()
    {
        _oneByOne = [.. Encoding.ASCII.GetString(Commands).Split("\r\n")[..^1].Select(line => Encoding.ASCII.GetBytes(line + "\r\n"))];
        _content = Encoding.Latin1.GetString(_maildrop.Wire);
        _session = _maildrop.LogIn(_replies);
        if (Strings() != OneCommandASegment() || Strings() != Pipelined())
        {
            throw new InvalidOperationException($"{Strings()}, {OneCommandASegment()} and {Pipelined()} octets were said.");
        }
    }

    [Benchmark(Baseline = true)]
    public int Strings()
    {
        var said = 0;
        foreach (var line in Encoding.ASCII.GetString(Commands).Split("\r\n", StringSplitOptions.RemoveEmptyEntries))
        {
            var words = line.Split(' ');
            var number = words.Length > 1 ? int.Parse(words[1], CultureInfo.InvariantCulture) : 0;
            said += Encoding.Latin1.GetBytes(Answer(words[0].ToUpperInvariant(), number)).Length;
        }
        return said;
    }

    [Benchmark]
    public int OneCommandASegment()
    {
        var said = 0;
        foreach (var segment in _oneByOne)
        {
            said += Say(segment);
        }
        return said;
    }

    [Benchmark]
    public int Pipelined() => Say(Commands);

    private string Answer(string verb, int number)
    {
        var octets = _content.Length - 3;
        switch (verb)
        {
            case "LIST":
                return $"+OK {number} {octets}\r\n";
            case "RETR":
                return $"+OK {octets} octets\r\n{_content}";
            case "DELE":
                _marks[number - 1] = true;
                return $"+OK message {number} deleted\r\n";
            default:
                Array.Clear(_marks);
                return $"+OK maildrop has {_marks.Length} messages ({_marks.Length * octets} octets)\r\n";
        }
    }

    /// <summary>Octets of replies and bodies, as the connection sends them.</summary>
    private int Say(ReadOnlySpan<byte> segment)
    {
        var said = 0;
        OperationStatus status;
        do
        {
            status = _session.Receive(segment, _replies, out var consumed, out var written);
            said += written + _session.Body.Length;
            segment = segment[consumed..];
        }
        while (status == OperationStatus.DestinationTooSmall);
        return said;
    }
}
