using System.Collections.Concurrent;
using System.Globalization;
using System.Text;
using FastMail.Net;

namespace FastMail.Tests.Net;

/// <summary>
/// A handler that a test talks to in lines: each does one thing to the loop. Loop thread, except what says otherwise.
/// </summary>
internal sealed class LineHandler(LineHandlers factory) : IConnectionHandler, ILoopWork
{
    private bool _hasGreeted;
    private bool _isWaiting;
    private bool _isOver;
    private int _left; // lines that "many" still has to say

    public Connection? Connection { get; private set; }

    public void Opened(Connection connection)
    {
        factory.Opened.Enqueue(this);
        factory.OnLoop(connection.Loop.IsLoopThread);
        Connection = connection;
        _hasGreeted = false;
        _isWaiting = false;
        _isOver = false;
        _left = 0;
        connection.SetSendRate(factory.SendRate);
        if (factory.Deadline is { } deadline)
        {
            connection.SetDeadline(deadline);
        }
    }

    public Turn Receive(
        ReadOnlySpan<byte> received,
        Span<byte> replies,
        out int consumed,
        out int written,
        out ReadOnlyMemory<byte> body)
    {
        factory.OnLoop(Connection!.Loop.IsLoopThread);
        consumed = 0;
        written = 0;
        body = default;
        if (!_hasGreeted)
        {
            _hasGreeted = true;
            written = Say("hello", replies);
            return Turn.Receive;
        }

        if (_isWaiting)
        {
            _isWaiting = false;
            written = Say("done", replies);
            return Turn.Continue;
        }

        if (_left > 0)
        {
            return Many(replies, out written);
        }

        int end = received.IndexOf((byte)'\n');
        if (end < 0)
        {
            return Turn.Receive;
        }

        string line = Encoding.ASCII.GetString(received[..end]).TrimEnd('\r');
        consumed = end + 1;
        factory.Calls++;
        return Obey(line, replies, out written, out body);
    }

    public void Secured(TlsParameters tls)
    {
        factory.OnLoop(Connection!.Loop.IsLoopThread);
        factory.Secured.Enqueue(tls);
        _hasGreeted = false;
    }

    public int LastWords(CloseReason reason, Span<byte> replies) => Say("last words: " + reason, replies);

    public void Closed()
    {
        _isOver = true;
        factory.OnLoop(Connection!.Loop.IsLoopThread);
        Connection = null;
        factory.Closed.Release();
        if (factory.ThrowsInClosed)
        {
            throw new InvalidOperationException("closed");
        }
    }

    /// <summary>Ends the wait; posted from any thread.</summary>
    public void Run()
    {
        if (!_isOver)
        {
            Connection!.Resume();
        }
    }

    private Turn Obey(string line, Span<byte> replies, out int written, out ReadOnlyMemory<byte> body)
    {
        written = 0;
        body = default;
        switch (line.Split(' ')[0])
        {
            case "quit":
                written = Say("bye", replies);
                return Turn.Close;
            case "wait":
                _isWaiting = true;
                factory.Waiting.Release();
                return Turn.Wait;
            case "early":
                _isWaiting = true;
                Connection!.Resume();
                return Turn.Wait;
            case "body":
                written = Say("body follows", replies);
                body = factory.Body;
                return Turn.Continue;
            case "many":
                _left = int.Parse(line.AsSpan(5), CultureInfo.InvariantCulture);
                return Turn.Continue;
            case "secure":
                written = Say("go ahead", replies);
                return Turn.Secure;
            case "quiet":
                return Turn.Continue;
            case "throw":
                throw new InvalidOperationException("thrown on demand");
            case "abort":
                Connection!.Abort();
                written = Say("never said", replies);
                return Turn.Continue;
            case "overrun":
                written = replies.Length + 1;
                return Turn.Continue;
            default:
                written = Say(line, replies);
                return Turn.Continue;
        }
    }

    private Turn Many(Span<byte> replies, out int written)
    {
        written = 0;
        while (_left > 0 && replies.Length - written >= 32)
        {
            written += Say("line " + _left.ToString(CultureInfo.InvariantCulture), replies[written..]);
            _left--;
        }

        return Turn.Continue;
    }

    private static int Say(string line, Span<byte> replies) => Encoding.ASCII.GetBytes(line + "\r\n", replies);
}

/// <summary>Lends <see cref="LineHandler"/>s and counts what happened to them. Settings before the loop listens.</summary>
internal sealed class LineHandlers : IHandlerFactory
{
    private int _offLoop;

    public ReadOnlyMemory<byte> Refusal { get; } = "full\r\n"u8.ToArray();

    public ReadOnlyMemory<byte> ClientRefusal => Refusal;

    public bool DeclaresClients => false;

    public ReadOnlyMemory<byte> Body { get; init; }

    public TimeSpan? Deadline { get; init; }

    public MinimumRate SendRate { get; init; }

    public bool ThrowsInClosed { get; init; }

    public ConcurrentQueue<LineHandler> Opened { get; } = new();

    public ConcurrentQueue<TlsParameters> Secured { get; } = new();

    public SemaphoreSlim Waiting { get; } = new(0);

    public SemaphoreSlim Closed { get; } = new(0);

    public int Calls { get; set; }

    public int Out { get; private set; }

    /// <summary>Calls that came on another thread than the loop's.</summary>
    public int OffLoop => _offLoop;

    public IConnectionHandler Rent()
    {
        Out++;
        return new LineHandler(this);
    }

    public void Return(IConnectionHandler handler) => Out--;

    public void OnLoop(bool isLoopThread)
    {
        if (!isLoopThread)
        {
            Interlocked.Increment(ref _offLoop);
        }
    }
}
