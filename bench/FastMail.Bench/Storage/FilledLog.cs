using System.Globalization;
using System.Security.Cryptography;
using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>
/// A log in a directory of its own that is filled with many small messages, a thousand in flight. Owned by one
/// benchmark; <see cref="Fill"/> and <see cref="Open"/> on its thread.
/// </summary>
internal sealed class FilledLog : IMailLogObserver, IDisposable
{
    private const int InFlight = 1000;

    private readonly SemaphoreSlim _free = new(InFlight);
    private readonly BenchFolder _folder;
    private readonly byte[] _body;
    private readonly MailLogOptions _options;

    public FilledLog(string name, int bodyBytes, bool takesCheckpoints)
    {
        _folder = new BenchFolder(name);
        _body = new byte[bodyBytes];
        _body.AsSpan().Fill((byte)'x');
        "\r\n.\r\n"u8.CopyTo(_body.AsSpan(bodyBytes - 5));
        _options = new MailLogOptions
        {
            TakesCheckpoints = takesCheckpoints,
            CheckpointBytes = 1L << 40,
            CheckpointInterval = Timeout.InfiniteTimeSpan,
        };
        Open();
    }

    public string Directory => _folder.Path;

    /// <summary>The files that the log's records are in.</summary>
    public IEnumerable<string> Segments =>
        System.IO.Directory.EnumerateFiles(Directory, "*", SearchOption.AllDirectories)
            .Where(path => SegmentHeader.TryParseName(Path.GetFileName(path), out _, out _));

    public MailLog Log { get; private set; } = null!;

    /// <summary>Octets of the log below its end.</summary>
    public ulong Bytes => Log.Statistics.DurableLsn;

    public void Open()
    {
        Log = MailLog.Open(
            Directory, _options, LinuxDisk.Instance, TimeProvider.System,
            new Random(RandomNumberGenerator.GetInt32(int.MaxValue)), this);
    }

    public void Close()
    {
        Log.Dispose();
    }

    /// <summary>Appends that many messages, in turn to so many mailboxes; durable when it returns.</summary>
    public void Fill(int messages, int mailboxes)
    {
        for (int i = 0; i < messages; i++)
        {
            _free.Wait();
            PendingMessage message = Log.RentMessage();
            message.SetReversePath("sender@example.org"u8);
            _ = message.TryAddLocalRecipient((ulong)(i % mailboxes) + 1, "recipient@example.net"u8);
            message.AddMeta(MetaType.TransactionId, "0123456789ab"u8);
            message.SetTrace("Return-Path: <sender@example.org>\r\nReceived: by bench.example.net\r\n"u8, 35);
            message.AppendBody(_body);
            message.Seal(new BodyFacts { Octets = _body.Length - 3, HeaderWireBytes = 0, Flags = MessageFlags.None });
            Log.Append(message);
        }

        AwaitAll();
    }

    /// <summary>Appends that many messages, each to one relay recipient, who is deferred; durable when it returns.</summary>
    public void FillQueue(int messages)
    {
        for (int i = 0; i < messages; i++)
        {
            _free.Wait();
            PendingMessage message = Log.RentMessage();
            message.SetReversePath("sender@example.org"u8);
            message.AddRelayRecipient("recipient@example.net"u8);
            message.AddMeta(MetaType.TransactionId, "0123456789ab"u8);
            message.SetTrace("Return-Path: <sender@example.org>\r\nReceived: by bench.example.net\r\n"u8, 35);
            message.AppendBody(_body);
            message.Seal(new BodyFacts { Octets = _body.Length - 3, HeaderWireBytes = 0, Flags = MessageFlags.None });
            Log.Append(message);
        }

        AwaitAll();
        DeferAll();
        AwaitAll();
    }

    /// <summary>As an engine does it: what became of many in one record.</summary>
    private void DeferAll()
    {
        byte[] text = "mx.example.net[192.0.2.1]:25: 451 4.3.0 Temporary failure, please try again later"u8.ToArray();
        List<QueuedRecipient> page = [];
        ulong next = 0;
        do
        {
            page.Clear();
            next = Log.Queue.ReadPage(next, page, 100);
            PendingQueueChanges changes = Log.RentQueueChanges();
            foreach (QueuedRecipient recipient in page)
            {
                changes.Add(new QueueChange
                {
                    Seq = recipient.Seq,
                    Recipient = recipient.Recipient,
                    State = QueueState.Deferred,
                    Attempts = 1,
                    DueMicros = 1_800_000_000_000_000,
                    Text = text,
                });
            }

            _free.Wait();
            Log.Append(changes);
        }
        while (next != 0);
    }

    private void AwaitAll()
    {
        for (int i = 0; i < InFlight; i++)
        {
            _free.Wait();
        }

        _ = _free.Release(InFlight);
    }

    public void GroupCompleted(PendingAppend first)
    {
        for (PendingAppend? append = first; append is not null;)
        {
            PendingAppend? next = append.Next;
            if (append.Outcome != AppendOutcome.Durable)
            {
                throw new IOException(string.Create(CultureInfo.InvariantCulture, $"an append ended as {append.Outcome}"));
            }

            if (append is PendingMessage message)
            {
                Log.Return(message);
            }
            else
            {
                Log.Return((PendingQueueChanges)append);
            }

            _ = _free.Release();
            append = next;
        }
    }

    public void Failed(int errno, string what)
    {
        throw new IOException(what);
    }

    public void SpaceChanged(bool isLow)
    {
    }

    public void Noticed(string what)
    {
        Console.WriteLine(what);
    }

    public void Dispose()
    {
        Log.Dispose();
        _free.Dispose();
        _folder.Dispose();
    }
}
