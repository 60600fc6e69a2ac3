using System.Net;
using System.Net.Sockets;

namespace FastMail.Net;

/// <content>The outgoing kind: it connects first, and its handler may speak without having been spoken to.</content>
public sealed partial class Connection
{
    private IOutgoingHandler? _caller; // of an outgoing connection, from Connect on
    private SocketError _connectError;
    private bool _isConnecting; // a connect is in flight
    private bool _isSpeaking;
    private OutgoingTls? _outgoingTls;

    /// <summary>This side has begun it.</summary>
    public bool IsOutgoing => _caller is not null;

    /// <summary>Why it is over, from the moment that is known.</summary>
    public ConnectionEnd End { get; private set; }

    /// <summary>What TLS said of a handshake that failed, on one line; null when there was none, or no word of it.</summary>
    public string? TlsFault => _tls?.FaultText;

    /// <summary>A stopping loop leaves it be.</summary>
    private bool IsBusy => _caller is { IsBusy: true };

    /// <summary>
    /// The handler has something to say although nothing came: where it rests in <see cref="Turn.Receive"/> it is called
    /// with what input there is, at once or behind the send in flight. It may run inside this call.
    /// </summary>
    public void Speak()
    {
        _loop.DemandLoopThread();
        if (!IsOpen)
        {
            return;
        }

        _isSpeaking = true;
        if (_turn == Turn.Receive && !_isEntered && !_isSending && !_isPosted && !_hasSaidLastWords)
        {
            _isCallDue = true;
            Serve();
        }
    }

    internal void BeginConnect(in ConnectTarget target, IOutgoingHandler caller, bool isOverCap)
    {
        _caller = caller;
        _outgoingTls = target.Tls;
        _phase = Phase.Connecting;
        _connectError = _loop.IsStopping ? SocketError.OperationAborted
            : isOverCap ? SocketError.TooManyOpenSockets
            : TryConnect(target);
        if (_connectError == SocketError.IOPending)
        {
            _connectError = SocketError.OperationAborted; // unless something else comes first
            _loop.Arm(_timer, target.Deadline);
        }
        else
        {
            _isPosted = true; // known already, but told later: the caller is still in the midst of Connect
            _loop.Post(this);
        }
    }

    /// <summary>IOPending when the connect is in flight, else how it ended.</summary>
    private SocketError TryConnect(in ConnectTarget target)
    {
        try
        {
            bool isLocal = target.EndPoint is UnixDomainSocketEndPoint;
            _socket = isLocal
                ? new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified)
                : new Socket(target.EndPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            if (!isLocal)
            {
                Listener.NoticeDeath(_socket, _loop.Options.PeerTimeout);
            }

            if (target.Source is not null)
            {
                _socket.Bind(new IPEndPoint(target.Source, 0));
            }

            _receive.RemoteEndPoint = target.EndPoint;
            _isConnecting = _socket.ConnectAsync(_receive);
            return _isConnecting ? SocketError.IOPending : _receive.SocketError;
        }
        catch (SocketException e)
        {
            return e.SocketErrorCode; // no descriptor, or a source address that is none of ours
        }
    }

    /// <summary>The connect has ended.</summary>
    private void Connected(SocketError error)
    {
        _receive.RemoteEndPoint = null;
        if (_phase == Phase.Closed)
        {
            ReleaseWhenQuiet(); // given up before
            return;
        }

        _connectError = error;
        if (error != SocketError.Success)
        {
            Over();
            return;
        }

        _loop.Disarm(_timer);
        BeginSession(_socket!);
    }

    private void TellFailure()
    {
        _isEntered = true;
        try
        {
            // Success: it stood already, and was given up before the caller had heard of it.
            _caller!.ConnectFailed(this, _connectError == SocketError.Success ? SocketError.OperationAborted : _connectError);
        }
        catch (Exception exception)
        {
            _loop.Report(this, exception);
        }
        finally
        {
            _isEntered = false;
        }
    }
}
