using FastMail.Storage;
using Xunit;
using Xunit.Abstractions;

namespace FastMail.Tests.Storage;

public sealed class AllocationTests(ITestOutputHelper output)
{
    [Fact]
    public void An_append_allocates_nothing_on_either_thread()
    {
#if DEBUG
        output.WriteLine("skipped: an unoptimised build allocates where the real one does not; run with -c Release");
        Assert.NotNull(output);
#else
        const int Warm = 1100; // the index array then has room for 2,048 entries
        const int Measured = 800;
        using LogScene scene = new(options: LogScene.Roomy);
        MailLog log = scene.Open();
        using SemaphoreSlim done = new(0);
        long onAppender = 0;
        long onRead = 0;
        scene.OnGroup = first =>
        {
            onAppender = GC.GetAllocatedBytesForCurrentThread();
            log.Return((PendingMessage)first);
            done.Release();
        };
        byte[] body = new byte[20_000];
        body.AsSpan().Fill((byte)'x');
        "\r\n.\r\n"u8.CopyTo(body.AsSpan(body.Length - 5));
        for (int i = 0; i < Warm; i++)
        {
            Deliver();
        }

        long producerBefore = GC.GetAllocatedBytesForCurrentThread();
        long appenderBefore = onAppender;
        for (int i = 0; i < Measured; i++)
        {
            Deliver();
        }

        long onProducer = GC.GetAllocatedBytesForCurrentThread() - producerBefore;
        ulong lsn = log.Snapshot(1)[0].Lsn;
        long readBefore = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < Measured; i++)
        {
            if (log.TryRead(lsn, out _) == ReadStatus.Ok)
            {
                onRead = GC.GetAllocatedBytesForCurrentThread() - readBefore;
            }
        }

        output.WriteLine($"producer {onProducer}, appender {onAppender - appenderBefore}, reader {onRead} bytes");
        Assert.Equal((0L, 0L, 0L), (onProducer, onAppender - appenderBefore, onRead));

        void Deliver()
        {
            PendingMessage message = log.RentMessage();
            message.SetReversePath("a@example.org"u8);
            message.TryAddLocalRecipient(1, "b@example.net"u8);
            message.AddMeta(MetaType.TransactionId, "T"u8);
            message.SetTrace("Return-Path: <a@example.org>\r\n"u8, 30);
            message.AppendBody(body);
            message.Seal(new BodyFacts { Octets = body.Length - 3, HeaderWireBytes = 0, Flags = MessageFlags.None });
            log.Append(message);
            done.Wait();
        }
#endif
    }
}
