using System.Net;
using System.Net.Sockets;
using System.Text;
using FastMail.LoadTest.Ledgers;
using FastMail.LoadTest.Messages;
using FastMail.LoadTest.Sink;
using FastMail.LoadTest.Smtp;
using Xunit;

namespace FastMail.Tests.LoadTest;

/// <summary>Content behind BDAT: what arrives, for whom, and when it leaves.</summary>
public sealed class ChunkRunTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("fastmail-chunk-").FullName;

    private string LedgerPath => Path.Join(_directory, "ledger");

    private string RecordPath => Path.Join(_directory, "record");

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData("None", 1)]
    [InlineData("None", 3)]
    [InlineData("Envelope", 3)]
    [InlineData("Full", 1)]
    [InlineData("Full", 5)]
    public void What_is_sent_in_chunks_is_what_was_taken(string pipelining, int recipients)
    {
        using var sink = new SinkTests.Running(SinkTests.Plan, RecordPath);
        SmtpRun run = Send(sink.Port, plan => plan with
        {
            Pipelining = Enum.Parse<Pipelining>(pipelining),
            Recipients = new MailboxPattern("u{n}@x", 7, recipients),
            Size = new OctetRange(0, 40_000),
            MessagesPerConnection = 9,
            IsEightBit = true,
        });
        sink.End();
        Assert.True(SmtpReport.IsAllAcknowledged(run), string.Join('\n', run.Tally.FirstErrors));
        Assert.Equal((100, 0), (sink.Tally.Accepted, sink.Tally.BadCommands));
        Assert.Equal(run.Tally.AckedOctets, sink.Tally.Octets); // nothing is stuffed
        LedgerAudit audit = Audit();
        Assert.True(audit.IsClean, string.Join('\n', audit.Findings));
        Assert.Equal(100 * recipients, audit.AckedAndStored);
    }

    [Theory]
    [InlineData("None")]
    [InlineData("Envelope")]
    [InlineData("Full")]
    public void Who_is_refused_is_taken_back_and_the_others_get_it(string pipelining)
    {
        using var sink = new SinkTests.Running(
            SinkTests.Plan with { RejectShare = 0.5, DeferContentShare = 0.1, DropShare = 0.05 }, RecordPath);
        SmtpRun run = Send(sink.Port, plan => plan with
        {
            Pipelining = Enum.Parse<Pipelining>(pipelining),
            Recipients = new MailboxPattern("u{n}@x", 7, 2),
            Messages = 400,
            Reconnect = true,
        });
        sink.End();
        Assert.True(
            sink.Tally.DeferredContents > 0 && sink.Tally.Dropped > 0,
            $"{sink.Tally.DeferredContents} {sink.Tally.Dropped}");
        Assert.Equal((sink.Tally.Accepted, sink.Tally.Dropped), (run.Tally.Acked, run.Tally.InDoubt));
        Assert.InRange(run.Tally.RecipientsRefused, 1, sink.Tally.Rejected); // some replies the sink drops
        Assert.Equal(400, run.Tally.Acked + run.Tally.InDoubt + run.Tally.Refused);
        Assert.Equal(0, sink.Tally.BadCommands);
        LedgerAudit audit = Audit();
        Assert.True(audit.IsClean, string.Join('\n', audit.Findings));
        Assert.Equal(sink.Tally.AcceptedRecipients, audit.AckedAndStored);
    }

    [Fact]
    public void A_whole_transaction_leaves_before_any_of_it_is_answered()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        string said = "";
        var serving = new Thread(() =>
        {
            using TcpClient client = listener.AcceptTcpClient();
            using NetworkStream stream = client.GetStream();
            var received = new byte[10_000];
            stream.Write("220 a\r\n"u8);
            _ = stream.Read(received);
            stream.Write("250-a\r\n250-PIPELINING\r\n250 CHUNKING\r\n"u8);
            string lines = "MAIL FROM:<a@y>\r\nRCPT TO:<u0@x>\r\nBDAT 1000 LAST\r\n";
            stream.ReadExactly(received, 0, lines.Length + 1000);
            said = Encoding.ASCII.GetString(received, 0, lines.Length);
            stream.Write("250 mail\r\n250 rcpt\r\n250 stored\r\n"u8);
            _ = stream.Read(received);
            stream.Write("221 a\r\n"u8);
        });
        serving.Start();
        SmtpRun run = Send(((IPEndPoint)listener.LocalEndpoint).Port, plan => plan with
        {
            Pipelining = Pipelining.Full,
            Messages = 1,
            Connections = 1,
        });
        serving.Join();
        Assert.True(SmtpReport.IsAllAcknowledged(run), string.Join('\n', run.Tally.FirstErrors));
        Assert.Equal("MAIL FROM:<a@y>\r\nRCPT TO:<u0@x>\r\nBDAT 1000 LAST\r\n", said);
    }

    [Fact]
    public void A_server_that_does_not_offer_CHUNKING_gets_no_chunk()
    {
        using var sink = new SinkTests.Running(SinkTests.Plan with { Keywords = ["PIPELINING"] }, RecordPath);
        SmtpRun run = Send(sink.Port, plan => plan with { Reconnect = true });
        sink.End();
        Assert.Equal((0, 0), (run.Tally.Acked, sink.Tally.BadCommands));
        Assert.Contains("does not offer CHUNKING, which --bdat needs", run.Tally.FirstErrors[0], StringComparison.Ordinal);
        Assert.False(SmtpReport.IsAllAcknowledged(run));
    }

    private SmtpRun Send(int port, Func<SmtpPlan, SmtpPlan> change)
    {
        using var ledger = new LedgerWriter(LedgerPath);
        using var run = new SmtpRun(
            change(SinkTests.PlanFor(port) with { IsChunking = true }), ledger, 0, TextWriter.Null);
        run.Run(); // its counts outlive it
        return run;
    }

    private LedgerAudit Audit()
    {
        Ledger ledger = Ledger.Read(LedgerPath);
        var audit = new LedgerAudit(ledger, ledger.Entries.Values.SelectMany(entry => entry.Recipients));
        SinkRecord.Replay(RecordPath, audit);
        audit.Finish();
        return audit;
    }
}
