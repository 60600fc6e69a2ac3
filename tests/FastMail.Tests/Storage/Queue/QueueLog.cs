using System.Globalization;
using System.Text;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage.Queue;

/// <summary>What tests of the queue do with a log, and how they look at it. Stateless.</summary>
internal static class QueueLog
{
    /// <summary>A sealed message to so many relay recipients and to these mailboxes.</summary>
    public static PendingMessage BuildRelayed(
        this LogScene scene, string body, int relayed, ulong[]? mailboxes = null, params QueueChange[] changes)
    {
        PendingMessage message = scene.Log!.RentMessage();
        message.SetReversePath("sender@example.org"u8);
        foreach (ulong mailbox in mailboxes ?? [])
        {
            Assert.True(message.TryAddLocalRecipient(mailbox, "local@example.net"u8));
        }

        for (int i = 0; i < relayed; i++)
        {
            message.AddRelayRecipient(Encoding.ASCII.GetBytes(
                string.Create(CultureInfo.InvariantCulture, $"user{i}@relay.example")));
        }

        foreach (QueueChange change in changes)
        {
            message.AddQueueChange(change);
        }

        message.SetTrace("Return-Path: <sender@example.org>\r\nReceived: by test\r\n"u8, 35);
        byte[] wire = Encoding.Latin1.GetBytes(body + "\r\n.\r\n");
        message.AppendBody(wire);
        message.Seal(new BodyFacts { Octets = wire.Length - 3, HeaderWireBytes = 2, Flags = MessageFlags.None });
        return message;
    }

    /// <summary>Appends such a message; answers its queue id.</summary>
    public static ulong Relay(this LogScene scene, string body, int relayed = 1, params ulong[] mailboxes)
    {
        PendingMessage message = scene.BuildRelayed(body, relayed, mailboxes);
        Assert.Equal(AppendOutcome.Durable, scene.Append(message));
        ulong seq = message.Seq;
        scene.Log!.Return(message);
        return seq;
    }

    /// <summary>Appends changes, all in one record.</summary>
    public static void Change(this LogScene scene, params QueueChange[] changes)
    {
        PendingQueueChanges record = scene.Log!.RentQueueChanges();
        foreach (QueueChange change in changes)
        {
            record.Add(change);
        }

        Assert.Equal(AppendOutcome.Durable, scene.Append(record));
        scene.Log.Return(record);
    }

    public static QueueChange Of(
        ulong seq, uint recipient, QueueState state, int attempts = 0, string text = "", string path = "")
    {
        return new QueueChange
        {
            Seq = seq,
            Recipient = recipient,
            State = state,
            Attempts = attempts,
            DueMicros = attempts * 1_000_000L,
            Text = Encoding.UTF8.GetBytes(text),
            ForwardPath = Encoding.UTF8.GetBytes(path),
        };
    }

    /// <summary>All recipients of all messages of the queue, one line each.</summary>
    public static string[] Show(this LogScene scene)
    {
        MailQueue queue = scene.Log!.Queue;
        List<QueuedRecipient> page = [];
        List<string> lines = [];
        int open = 0;
        HashSet<ulong> seqs = [];
        ulong next = 0;
        do
        {
            page.Clear();
            next = queue.ReadPage(next, page, 3);
            open += page.Count;
            foreach (ulong seq in page.Select(r => r.Seq).Where(seqs.Add))
            {
                List<QueuedRecipient> recipients = [];
                Assert.True(queue.TryFind(seq, out QueuedMessage message, recipients));
                Assert.Equal(message.Recipients, recipients.Count);
                Assert.Equal(message.OpenRecipients, recipients.Count(r => !r.State.IsEnd()));
                lines.AddRange(recipients.Select(Show));
            }
        }
        while (next != 0);

        Assert.Equal(seqs.Count, queue.Messages);
        Assert.Equal(open, queue.Recipients);
        return [.. lines];
    }

    /// <summary>The body of a message of the queue.</summary>
    public static string Body(this LogScene scene, ulong seq)
    {
        using QueueLease lease = new();
        Assert.True(scene.Log!.TryLeaseQueued(seq, lease), $"{seq} is not in the queue");
        Assert.Equal(ReadStatus.Ok, lease.TryRead(out StoredMessage message));
        Assert.Equal(seq, message.Seq);
        return Encoding.Latin1.GetString(message.Wire.Span[message.TraceBytes..^5]);
    }

    /// <summary>What happened to a message, one line each, oldest first.</summary>
    public static string[] Timeline(this LogScene scene, ulong seq)
    {
        List<QueueEvent> events = [];
        Assert.True(scene.Log!.TryReadTimeline(seq, events));
        return [.. events.Select(e => string.Create(
            CultureInfo.InvariantCulture,
            $"{(e.Recipient == QueueChange.AllRecipients ? "all" : e.Recipient)} {e.State} {e.Attempts} "
            + $"{Encoding.UTF8.GetString(e.Text.Span)}"))];
    }

    /// <summary>The way of each attempt, one line each, oldest first.</summary>
    public static string[] Ways(this LogScene scene, ulong seq)
    {
        List<QueueEvent> events = [];
        Assert.True(scene.Log!.TryReadTimeline(seq, events));
        return [.. events.Select(e =>
            $"{Encoding.UTF8.GetString(e.Route.Span)} | {Encoding.UTF8.GetString(e.Tls.Span)} | {Encoding.UTF8.GetString(e.Text.Span)}")];
    }

    public static QueueChange By(this QueueChange change, string route, string tls) =>
        change with { Route = Encoding.UTF8.GetBytes(route), Tls = Encoding.UTF8.GetBytes(tls) };

    private static string Show(QueuedRecipient recipient)
    {
        string path = recipient.ForwardPath.IsEmpty ? "" : $" to {Encoding.UTF8.GetString(recipient.ForwardPath.Span)}";
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{recipient.Seq}/{recipient.Recipient} {recipient.State} {recipient.Attempts} {recipient.DueMicros}"
            + $"{(recipient.IsDelayTold ? " told" : "")}{path}");
    }
}
