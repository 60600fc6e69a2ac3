using System.Text;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol;
using FastMail.Protocol.Smtp;

namespace FastMail.Bench.Protocol;

/// <summary>
/// One reply alone: a constant one, one with the name of the transaction behind it, and one with numbers. The baseline
/// makes a string of it and octets of that.
/// </summary>
[MemoryDiagnoser]
public class ReplyBench
{
    private readonly byte[] _replies = new byte[1024];
    private readonly byte[] _name = "3F2A9C01D4E5"u8.ToArray();
    private long _number = 17;
    private long _octets = 1_048_576;

    [Params("550 no such mailbox", "250 queued as", "+OK with numbers")]
    public string Kind { get; set; } = "";

    /// <summary>Both must write the same.</summary>
    [GlobalSetup]
    public void Compare()
    {
        string text = Encoding.ASCII.GetString(_replies, 0, Strings());
        Array.Clear(_replies);
        string same = Encoding.ASCII.GetString(_replies, 0, Writer());
        if (text != same)
        {
            throw new InvalidOperationException($"'{text}' and '{same}' were written.");
        }
    }

    [Benchmark(Baseline = true)]
    public int Strings()
    {
        var reply = Kind[0] switch
        {
            '5' => $"{SmtpReply.NoSuchMailbox.Code} 5.1.1 No such mailbox here\r\n",
            '2' => $"250 2.0.0 Ok: queued as {Encoding.ASCII.GetString(_name)}\r\n",
            _ => $"+OK {_number} {_octets}\r\n",
        };
        return Encoding.ASCII.GetBytes(reply, _replies);
    }

    [Benchmark]
    public int Writer()
    {
        var writer = new ReplyWriter(_replies);
        switch (Kind[0])
        {
            case '5':
                writer.Write(SmtpReply.NoSuchMailbox.Wire);
                break;
            case '2':
                writer.Write(SmtpReply.Accepted.Wire[..^2]);
                writer.Write(" as "u8);
                writer.Write(_name);
                writer.WriteLineEnd();
                break;
            default:
                writer.Write("+OK "u8);
                writer.WriteNumber(_number);
                writer.Write((byte)' ');
                writer.WriteNumber(_octets);
                writer.WriteLineEnd();
                break;
        }
        return writer.Written;
    }
}
