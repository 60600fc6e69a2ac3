using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using FastMail.Net;
using Xunit;

namespace FastMail.Tests.Net;

/// <summary>
/// The handler of an outgoing connection that a test reads and speaks through. Loop thread, except what says otherwise.
/// </summary>
internal sealed class Caller : IOutgoingHandler, ILoopWork
{
    private readonly ConcurrentQueue<string> _toSay = new();
    private readonly TaskCompletionSource<string> _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly BlockingCollection<string> _heard = [];

    /// <summary>Any thread, once it has been opened.</summary>
    public Connection? Connection { get; private set; }

    public TlsParameters? Tls { get; private set; }

    public string? TlsFault { get; private set; }

    public bool IsBusy { get; set; }

    public TimeSpan? Deadline { get; init; }

    public bool ThrowsWhenOpened { get; init; }

    /// <summary>Lines that came, and the events <c>opened</c> and <c>secured</c>. Any thread.</summary>
    public string Heard()
    {
        Assert.True(_heard.TryTake(out string? line, LoopFixture.Patience), "nothing heard");
        return line;
    }

    /// <summary>How it ended: the reason, or <c>failed: </c> with the error. Any thread.</summary>
    public string Ended()
    {
        Assert.True(_ended.Task.Wait(LoopFixture.Patience), "not ended");
        return _ended.Task.Result;
    }

    /// <summary>Any thread: <c>close</c> closes, <c>secure</c> begins TLS, <c>ask x</c> says x, anything else is a line to send.</summary>
    public void Say(string line)
    {
        _toSay.Enqueue(line);
        Connection!.Loop.Post(this);
    }

    public void Opened(Connection connection)
    {
        Connection = connection;
        if (Deadline is { } deadline)
        {
            connection.SetDeadline(deadline);
        }

        _heard.Add("opened");
        if (ThrowsWhenOpened)
        {
            throw new InvalidOperationException("opened");
        }
    }

    public void ConnectFailed(Connection connection, SocketError error) => _ended.SetResult("failed: " + error);

    public void Secured(TlsParameters tls)
    {
        Tls = tls;
        _heard.Add("secured");
    }

    public void Closed()
    {
        TlsFault = Connection!.TlsFault;
        _ended.SetResult(Connection.End.ToString());
    }

    public int LastWords(CloseReason reason, Span<byte> replies) => Encoding.ASCII.GetBytes("quiet " + reason + "\r\n", replies);

    public void Run() => Connection!.Speak();

    public Turn Receive(
        ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
    {
        consumed = 0;
        written = 0;
        body = default;
        int end = received.IndexOf((byte)'\n');
        if (end >= 0)
        {
            consumed = end + 1;
            string heard = Encoding.ASCII.GetString(received[..end]).TrimEnd('\r');
            IsBusy &= heard != "that was all";
            _heard.Add(heard);
            return Turn.Continue;
        }

        if (!_toSay.TryDequeue(out string? line))
        {
            return Turn.Receive;
        }

        if (line == "close")
        {
            return Turn.Close;
        }

        if (line == "secure")
        {
            return Turn.Secure;
        }

        written = Encoding.ASCII.GetBytes((line.StartsWith("ask ", StringComparison.Ordinal) ? line[4..] : line) + "\r\n", replies);
        return Turn.Continue;
    }
}
