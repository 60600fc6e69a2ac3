using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

[Collection(nameof(Allocations))]
public sealed class AllocationTests
{
    [ReleaseFact]
    public void An_append_allocates_nothing_on_either_thread()
    {
        const int Warm = 1100; // the index array then has room for 2,048 entries
        const int Window = 80;
        const int Windows = 5;
        using LogScene scene = new(options: LogScene.Roomy);
        MailLog log = scene.Open();
        using SemaphoreSlim done = new(0);
        long onAppender = 0;
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

        void DeliverMany()
        {
            for (int i = 0; i < Window; i++)
            {
                Deliver();
            }
        }

        long producer = Allocations.Least(Windows, GC.GetAllocatedBytesForCurrentThread, DeliverMany);
        long appender = Allocations.Least(Windows, () => onAppender, DeliverMany);
        ulong lsn = log.Snapshot(1)[0].Lsn;
        int read = 0;
        long reader = Allocations.Least(Windows, GC.GetAllocatedBytesForCurrentThread, () =>
        {
            for (int i = 0; i < Window; i++)
            {
                read += log.TryRead(lsn, out _) == ReadStatus.Ok ? 1 : 0;
            }
        });

        Assert.Equal((0L, 0L, 0L), (producer, appender, reader));
        Assert.Equal(0, read % Window);
        Assert.NotEqual(0, read);

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
    }
}
