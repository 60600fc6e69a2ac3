using System.Buffers;
using BenchmarkDotNet.Attributes;
using FastMail.Protocol.Smtp.Client;

namespace FastMail.Bench.Protocol;

/// <summary>
/// A transaction of 1 KiB through the client session without a socket: by DATA behind the content of the one before, and
/// by BDAT, eight at a time.
/// </summary>
[MemoryDiagnoser]
public class SmtpClientTurnBench
{
    private const int Chunks = 8;

    private static readonly byte[] Replies = "250 2.0.0 kept as 3F2A\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"u8.ToArray();

    private readonly byte[] _output = new byte[16 * 1024];
    private readonly BenchMail _mail = new();
    private byte[] _chunkReplies = [];
    private SmtpClientSession _data = null!;
    private SmtpClientSession _chunks = null!;

    [GlobalSetup]
    public void Open()
    {
        SmtpClientOptions options = new() { Hostname = "relay.test"u8.ToArray(), Tls = TlsPolicy.None, MaxTransactions = int.MaxValue };
        _data = Opened(options, "250-mx\r\n250-8BITMIME\r\n250-SIZE 10000000\r\n250 PIPELINING\r\n"u8);
        Turn(_data, "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go\r\n"u8, most: 2);
        _chunks = Opened(options, "250-mx\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-SIZE 10000000\r\n250 PIPELINING\r\n"u8, most: Chunks);
        List<byte> replies = [.. "250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 kept as 3F2A\r\n"u8];
        for (int i = 1; i < Chunks; i++)
        {
            replies.AddRange("250 2.0.0 ok\r\n250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.0.0 kept as 3F2A\r\n"u8);
        }

        _chunkReplies = [.. replies];
    }

    /// <summary>Behind each content the next envelope; one round trip a message.</summary>
    [Benchmark(Baseline = true)]
    public int Data() => Turn(_data, Replies, most: 1);

    /// <summary>One round trip for eight.</summary>
    [Benchmark(OperationsPerInvoke = Chunks)]
    public int Bdat() => Turn(_chunks, _chunkReplies, Chunks);

    private SmtpClientSession Opened(SmtpClientOptions options, ReadOnlySpan<byte> hello, int most = 1)
    {
        SmtpClientSession session = new();
        session.Reset(options);
        Turn(session, "220 mx\r\n"u8, most);
        Turn(session, hello, most);
        return session;
    }

    private int Turn(SmtpClientSession session, ReadOnlySpan<byte> received, int most)
    {
        int said = 0;
        int begun = 0;
        while (true)
        {
            if (begun < most && session.CanBegin)
            {
                session.Begin(_mail);
                begun++;
            }

            OperationStatus status = session.Receive(received, _output, out int consumed, out int written);
            said += written + session.Body.Length;
            received = received[consumed..];
            if (status == OperationStatus.InvalidData)
            {
                throw new InvalidOperationException("The dialog has gone wrong.");
            }

            if (status == OperationStatus.NeedMoreData && (begun == most || !session.CanBegin))
            {
                return said;
            }
        }
    }
}
