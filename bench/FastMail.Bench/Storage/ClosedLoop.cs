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
    private readonly string _directory;
    private readonly MailLog _log;
    private readonly byte[] _body;
    private readonly int _waiters;
    private readonly Lock _gate = new();
    private readonly AutoResetEvent _bell = new(false);
    private PendingAppend? _completed;

    public ClosedLoop(string directory, int bodyBytes, int waiters, long segmentBytes)
    {
        _directory = Path.Join(directory, "log-" + bodyBytes.ToString(CultureInfo.InvariantCulture));
        _waiters = waiters;
        _body = new byte[bodyBytes];
        _body.AsSpan().Fill((byte)'x');
        "\r\n.\r\n"u8.CopyTo(_body.AsSpan(bodyBytes - 5));
        MailLogOptions options = new() { SegmentBytes = segmentBytes, FirstSegmentBytes = segmentBytes };
        _log = MailLog.Open(
            _directory, options, LinuxDisk.Instance, TimeProvider.System,
            new Random(RandomNumberGenerator.GetInt32(int.MaxValue)), this);
        while (!File.Exists(Path.Join(_directory, "log", "spare")))
        {
            Thread.Sleep(10); // the filling of the spare is not what is measured
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

            while (next is PendingMessage message)
            {
                next = message.Next;
                if (message.Outcome != AppendOutcome.Durable)
                {
                    throw new IOException($"an append ended as {message.Outcome}");
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
        _ = message.TryAddLocalRecipient((ulong)number % 100, "recipient@example.net"u8);
        message.AddMeta(MetaType.TransactionId, "0123456789ab"u8);
        message.SetTrace("Return-Path: <sender@example.org>\r\nReceived: by bench.example.net\r\n"u8, 35);
        message.AppendBody(_body);
        message.Seal(new BodyFacts { Octets = _body.Length - 3, HeaderWireBytes = 0, Flags = MessageFlags.None });
        _log.Append(message);
    }
}
