using System.Buffers;
using System.Net;
using FastMail.Net;
using FastMail.Protocol;
using FastMail.Protocol.Smtp.Client;
using FastMail.Tests.Net;
using FastMail.Tests.Protocol.Client;
using Xunit;

namespace FastMail.Tests.HostileInput;

/// <summary>
/// An outgoing connection with a client session and one message, as the relay would make it. Loop thread, except what says
/// otherwise.
/// </summary>
internal sealed class RelayCaller(SmtpClientOptions options, TestMail mail) : IOutgoingHandler
{
    private readonly SmtpClientSession _session = new();
    private readonly TaskCompletionSource _closed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private Connection _connection = null!;
    private bool _hasBegun;

    public bool IsBusy => _session.IsBusy;

    /// <summary>Any thread, once it is over: why, null after QUIT.</summary>
    public SessionFailure? Failure => _session.Failure;

    /// <summary>Any thread, once it is over.</summary>
    public ConnectionEnd End { get; private set; }

    /// <summary>Calls the host, and returns when the connection is over. Any thread but the loop's.</summary>
    public static RelayCaller Play(EventLoop loop, IPEndPoint host, SmtpClientOptions options, TestMail mail, OutgoingTls? tls = null)
    {
        RelayCaller caller = new(options, mail);
        loop.Post(new Deed(() => loop.Connect(new ConnectTarget(host, LoopFixture.Patience) { Tls = tls }, caller)));
        Assert.True(caller._closed.Task.Wait(LoopFixture.Patience), "the connection does not end");
        return caller;
    }

    public void Opened(Connection connection)
    {
        _connection = connection;
        _session.Reset(options);
    }

    public void ConnectFailed(Connection connection, System.Net.Sockets.SocketError error) => _closed.SetException(new IOException(error.ToString()));

    public void Secured(TlsParameters tls)
    {
        TlsPeer peer = tls.Peer!;
        _session.Secured(new TlsFacts("TLS"u8.ToArray(), default), peer.IsChainTrusted && peer.IsNameRight);
    }

    public void Closed()
    {
        End = _connection.End;
        _session.Lost(End switch
        {
            ConnectionEnd.TlsFailed => ClientLoss.TlsFailed,
            ConnectionEnd.TimedOut => ClientLoss.TimedOut,
            ConnectionEnd.Stopping => ClientLoss.Stopping,
            _ => ClientLoss.Closed,
        });
        _closed.SetResult();
    }

    public int LastWords(CloseReason reason, Span<byte> replies) => _session.LastWords(replies);

    public Turn Receive(
        ReadOnlySpan<byte> received, Span<byte> replies, out int consumed, out int written, out ReadOnlyMemory<byte> body)
    {
        if (_session.CanBegin && !_hasBegun)
        {
            _hasBegun = true;
            _session.Begin(mail);
            _session.Quit();
        }

        OperationStatus status = _session.Receive(received, replies, out consumed, out written);
        body = _session.Body;
        if (_session.TryTakeDeadline(out TimeSpan patience))
        {
            _connection.SetDeadline(patience);
        }

        if (_session.Derivation is { } derivation)
        {
            derivation.Run(); // a test may hold the loop up
            _session.GoOn();
        }

        switch (status)
        {
            case OperationStatus.Done:
                return Turn.Close;
            case OperationStatus.InvalidData:
                _connection.Abort();
                return Turn.Close;
            case OperationStatus.DestinationTooSmall:
                return Turn.Continue;
            default:
                bool goesOn = (_session.CanBegin && !_hasBegun) || (_session.IsBusy && _session.Phase == ClientPhase.Auth && !_session.IsWaiting);
                return _session.IsStartingTls ? Turn.Secure
                    : _session.IsWaiting ? Turn.Wait
                    : goesOn && consumed + written > 0 ? Turn.Continue
                    : Turn.Receive;
        }
    }

    private sealed class Deed(Action action) : ILoopWork
    {
        public void Run() => action();
    }
}
