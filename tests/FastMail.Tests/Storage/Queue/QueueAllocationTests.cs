using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage.Queue;

[Collection(nameof(Allocations))]
public sealed class QueueAllocationTests
{
    [ReleaseFact]
    public void A_message_through_the_queue_allocates_nothing_on_either_thread()
    {
        const int Window = 200;
        const int Windows = 5;
        using LogScene scene = new(options: LogScene.Roomy);
        MailLog log = scene.Open();
        using SemaphoreSlim done = new(0);
        using QueueLease lease = new();
        long onAppender = 0;
        ulong seq = 0;
        scene.OnGroup = first =>
        {
            onAppender = GC.GetAllocatedBytesForCurrentThread();
            seq = first.Seq;
            if (first is PendingMessage message)
            {
                log.Return(message);
            }
            else
            {
                log.Return((PendingQueueChanges)first);
            }

            done.Release();
        };
        byte[] body = new byte[3_000];
        body.AsSpan().Fill((byte)'x');
        "\r\n.\r\n"u8.CopyTo(body.AsSpan(body.Length - 5));
        byte[] text = "mx.example.net[192.0.2.1]:25: 250 2.0.0 queued as 4711"u8.ToArray();
        int read = 0;
        RelayMany();
        RelayMany();

        long producer = Allocations.Least(Windows, GC.GetAllocatedBytesForCurrentThread, RelayMany);
        long appender = Allocations.Least(Windows, () => onAppender, RelayMany);
        Assert.Equal((0L, 0L), (producer, appender));
        Assert.Equal(0, read % Window);
        Assert.Equal(0, log.Queue.Messages);

        void RelayMany()
        {
            for (int i = 0; i < Window; i++)
            {
                Relay();
            }
        }

        void Relay()
        {
            PendingMessage message = log.RentMessage();
            message.SetReversePath("a@example.org"u8);
            message.AddRelayRecipient("b@example.net"u8);
            message.AddRelayRecipient("c@example.net"u8);
            message.SetTrace("Return-Path: <a@example.org>\r\n"u8, 30);
            message.AppendBody(body);
            message.Seal(new BodyFacts { Octets = body.Length - 3, HeaderWireBytes = 0, Flags = MessageFlags.None });
            log.Append(message);
            done.Wait();
            ulong queued = seq;
            read += log.TryLeaseQueued(queued, lease) && lease.TryRead(out _) == ReadStatus.Ok ? 1 : 0;
            lease.Dispose();
            for (uint i = 0; i < 2; i++)
            {
                PendingQueueChanges changes = log.RentQueueChanges();
                changes.Add(new QueueChange
                {
                    Seq = queued,
                    Recipient = i,
                    State = QueueState.Delivered,
                    Attempts = 1,
                    Text = text,
                });
                log.Append(changes);
                done.Wait();
            }
        }
    }
}
