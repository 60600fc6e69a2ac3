using System.Globalization;
using System.Security.Cryptography;
using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>
/// Waiters that append, wait until durable and append again, as sessions do: on completion the appender's thread only
/// passes the chain on, one producer thread builds the next messages. Owned by one benchmark.
/// </summary>
internal sealed class ClosedLoop : IMailLogObserver, IDisposable
{
    private const int Maildrops = 100;
    private const int RemovedAtOnce = 20;

    private readonly string _directory;
    private readonly MailLog _log;
    private readonly Maildrop[] _maildrops;
    private readonly bool _removes;
    private readonly byte[] _body;
    private readonly int _waiters;
    private readonly Lock _gate = new();
    private readonly AutoResetEvent _bell = new(false);
    private PendingAppend? _completed;

    /// <param name="directory">Where the log is made.</param>
    /// <param name="bodyBytes">Of each message.</param>
    /// <param name="waiters">Messages in flight.</param>
    /// <param name="segmentBytes">Of every segment; a checkpoint is taken after as much.</param>
    /// <param name="removes">
    /// Messages are removed as fast as they come, 20 of a maildrop at once, so that dropped segments are used again.
    /// </param>
    public ClosedLoop(string directory, int bodyBytes, int waiters, long segmentBytes, bool removes = false)
    {
        string name = string.Create(CultureInfo.InvariantCulture, $"log-{bodyBytes}{(removes ? "-removed" : "")}");
        _directory = Path.Join(directory, name);
        _waiters = waiters;
        _removes = removes;
        _maildrops = [.. Enumerable.Range(0, Maildrops).Select(i => new Maildrop((ulong)i))];
        _body = new byte[bodyBytes];
        _body.AsSpan().Fill((byte)'x');
        "\r\n.\r\n"u8.CopyTo(_body.AsSpan(bodyBytes - 5));
        MailLogOptions options = new()
        {
            SegmentBytes = segmentBytes,
            FirstSegmentBytes = segmentBytes,
            CheckpointBytes = removes ? segmentBytes : new MailLogOptions().CheckpointBytes,
        };
        _log = MailLog.Open(
            _directory, options, LinuxDisk.Instance, TimeProvider.System,
            new Random(RandomNumberGenerator.GetInt32(int.MaxValue)), this);
        FillStock();
    }

    /// <summary>Waits until as many spares are ready as are kept, which is not what is measured.</summary>
    public void FillStock()
    {
        while (!_log.HasSpare)
        {
            Thread.Sleep(10);
        }
    }

    public MailLog Log => _log;

    /// <summary>
    /// Appends that many messages, never more than the waiters at once; answers when all are durable.
    /// </summary>
    public void Run(int messages)
    {
        int sent = 0;
        int done = 0;
        for (; sent < _waiters && sent < messages; sent++)
        {
            Append(_log.RentMessage(), sent);
        }

        while (done < messages)
        {
            _ = _bell.WaitOne();
            PendingAppend? next;
            lock (_gate)
            {
                next = _completed;
                _completed = null;
            }

            while (next is { } append)
            {
                next = append.Next;
                if (append.Outcome != AppendOutcome.Durable)
                {
                    throw new IOException($"an append ended as {append.Outcome}");
                }

                if (append is not PendingMessage message)
                {
                    continue;
                }

                if (_removes && ((Maildrop)message.Owner!).Count() is { } removal)
                {
                    _log.Append(removal);
                }

                _log.Return(message);
                done++;
                if (sent < messages)
                {
                    Append(_log.RentMessage(), sent++);
                }
            }
        }
    }

    public void GroupCompleted(PendingAppend first)
    {
        PendingAppend last = first;
        while (last.Next is { } next)
        {
            last = next;
        }

        lock (_gate)
        {
            last.Next = _completed;
            _completed = first;
        }

        _ = _bell.Set();
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
        _log.Dispose();
        _bell.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private void Append(PendingMessage message, int number)
    {
        message.SetReversePath("sender@example.org"u8);
        Maildrop maildrop = _maildrops[number % Maildrops];
        message.Owner = maildrop;
        _ = message.TryAddLocalRecipient(maildrop.Number, "recipient@example.net"u8);
        message.AddMeta(MetaType.TransactionId, "0123456789ab"u8);
        message.SetTrace("Return-Path: <sender@example.org>\r\nReceived: by bench.example.net\r\n"u8, 35);
        message.AppendBody(_body);
        message.Seal(new BodyFacts { Octets = _body.Length - 3, HeaderWireBytes = 0, Flags = MessageFlags.None });
        _log.Append(message);
    }

    /// <summary>What of one maildrop is durable and not yet removed.</summary>
    private sealed class Maildrop(ulong number)
    {
        private ulong _uid;

        public ulong Number => number;

        /// <summary>One more is durable; the removal of some, when it is time.</summary>
        public PendingExpunge? Count()
        {
            _uid++;
            return _uid % RemovedAtOnce != 0
                ? null
                : new PendingExpunge(
                    number,
                    [.. Enumerable.Range(0, RemovedAtOnce).Select(i => _uid - RemovedAtOnce + 1 + (ulong)i)],
                    ExpungeReason.Pop3Quit);
        }
    }
}
