using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;

namespace FastMail.Net;

/// <summary>
/// A listening socket. Owned by its loop, which closes it when it stops; accepts on the loop thread. When the system
/// refuses (no descriptors, no memory) it pauses instead of spinning, and goes on by itself.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "The loop closes it; Dispose is not its user's business.")]
public sealed class Listener : ICompletion, ILoopWork
{
    private readonly EventLoop _loop;
    private readonly Socket _socket;
    private readonly IHandlerFactory _handlers;
    private readonly ListenerTls? _tls;
    private readonly LoopArgs _accept;
    private readonly LoopTimer _pauseOver;
    private TimeSpan _pause = EventLoopOptions.FirstAcceptPause;
    private IPEndPoint? _localEndPoint;
    private bool _isAccepting;
    private bool _isClosed;

    /// <exception cref="SocketException">The address is in use or not ours.</exception>
    internal Listener(EventLoop loop, IPEndPoint endPoint, IHandlerFactory handlers, ListenerTls? tls)
        : this(loop, new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp), handlers, tls)
    {
        Open(() =>
        {
            // Linux hands these down to accepted sockets: no system call each.
            _socket.NoDelay = true;
            NoticeDeath(_socket, loop.Options.PeerTimeout);
            _socket.Bind(endPoint);
        });
    }

    /// <exception cref="SocketException">Somebody listens there, or the path is none of ours.</exception>
    /// <exception cref="IOException">Something else than a socket is there.</exception>
    internal Listener(EventLoop loop, UnixDomainSocketEndPoint endPoint, IHandlerFactory handlers, ListenerTls? tls)
        : this(loop, new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified), handlers, tls)
    {
        IsLocal = true;
        Open(() => UnixSocketFile.Bind(_socket, endPoint));
    }

    private Listener(EventLoop loop, Socket socket, IHandlerFactory handlers, ListenerTls? tls)
    {
        _loop = loop;
        _handlers = handlers;
        _tls = tls;
        _accept = new LoopArgs(loop) { Owner = this };
        _pauseOver = new LoopTimer(this);
        _socket = socket;
    }

    /// <summary>Where it listens; tells the port when 0 was asked for.</summary>
    /// <exception cref="InvalidOperationException">It listens on a unix socket.</exception>
    public IPEndPoint LocalEndPoint => _localEndPoint ?? throw new InvalidOperationException("A unix socket has no port.");

    /// <summary>Accepts that the system refused so far. Any thread; may lag.</summary>
    public long FailedAccepts { get; private set; }

    /// <summary>Connections that were over the cap or not admitted so far. Any thread; may lag.</summary>
    public long Refused { get; private set; }

    /// <summary>Its peers are processes of this machine that may open its file; they have no address to be counted by.</summary>
    private bool IsLocal { get; }

    internal bool IsOver => _isClosed && !_isAccepting;

    void ILoopWork.Run() => Accept();

    void ICompletion.Completed(LoopArgs args)
    {
        _isAccepting = false;
        if (!_isClosed)
        {
            if (Take(args))
            {
                Accept();
            }
        }
        else
        {
            args.AcceptSocket?.Dispose();
            _loop.FinishStopWhenEmpty();
        }
    }

    internal void Close()
    {
        if (!_isClosed)
        {
            _isClosed = true;
            _loop.Disarm(_pauseOver);
            _socket.Dispose(); // which removes the file of a unix socket
        }
    }

    private void Open(Action bind)
    {
        try
        {
            bind();
            _socket.Listen(_loop.Options.Backlog);
            _localEndPoint = _socket.LocalEndPoint as IPEndPoint;
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <summary>Accepts what waits, up to its share of a turn.</summary>
    private void Accept()
    {
        for (int taken = 0; !_isClosed && !_isAccepting; taken++)
        {
            if (taken == EventLoopOptions.AcceptsPerTurn)
            {
                _loop.Post(this);
                return;
            }

            _accept.AcceptSocket = null;
            if (_loop.Options.AcceptFault?.Invoke() is { } fault and not SocketError.Success)
            {
                Pause(fault);
                return;
            }

            _isAccepting = true;
            if (_socket.AcceptAsync(_accept))
            {
                return;
            }

            _isAccepting = false;
            if (!Take(_accept))
            {
                return;
            }
        }
    }

    /// <summary>False when accepting has to pause.</summary>
    private bool Take(LoopArgs args)
    {
        switch (args.SocketError)
        {
            case SocketError.Success:
                _pause = EventLoopOptions.FirstAcceptPause;
                Socket socket = args.AcceptSocket!;
                args.AcceptSocket = null;
                Admit(socket);
                return true;
            case SocketError.TooManyOpenSockets or SocketError.NoBufferSpaceAvailable:
                Pause(args.SocketError);
                return false;
            case SocketError.ConnectionAborted or SocketError.ConnectionReset or SocketError.Interrupted:
                return true; // the peer gave up while it waited in the backlog
            default:
                Pause(args.SocketError);
                return false;
        }
    }

    /// <summary>A peer that vanished without a word must not hold its place until a deadline of minutes.</summary>
    internal static void NoticeDeath(Socket socket, TimeSpan timeout)
    {
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        int idle = Math.Clamp((int)(timeout / 2).TotalSeconds, 1, EventLoopOptions.KeepAliveSeconds);
        int interval = Math.Clamp((int)(timeout / 6).TotalSeconds, 1, EventLoopOptions.KeepAliveIntervalSeconds);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, idle);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, interval);
        Span<byte> milliseconds = stackalloc byte[sizeof(int)];
        BinaryPrimitives.WriteInt32LittleEndian(milliseconds, (int)timeout.TotalMilliseconds);
        socket.SetRawSocketOption(Native.TcpLevel, Native.TcpUserTimeout, milliseconds);
    }

    private void Admit(Socket socket)
    {
        if (_loop.IsFull)
        {
            Refuse(socket, _handlers.Refusal.Span);
            return;
        }

        if (IsLocal || _loop.Options.Admission is not { } admission || _handlers.DeclaresClients)
        {
            _loop.Begin(socket, _handlers, _tls, client: null);
            return;
        }

        IPAddress client = ((IPEndPoint)socket.RemoteEndPoint!).Address;
        if (admission.TryEnter(client))
        {
            _loop.Begin(socket, _handlers, _tls, client);
        }
        else
        {
            Refuse(socket, _handlers.ClientRefusal.Span);
        }
    }

    /// <summary>The backlog keeps the peers meanwhile; each failure in a row doubles the pause.</summary>
    private void Pause(SocketError error)
    {
        if (FailedAccepts++ == 0 || _pause == EventLoopOptions.FirstAcceptPause)
        {
            _loop.Report(connection: null, new SocketException((int)error)); // once in a row, not once a try
        }

        _loop.Arm(_pauseOver, _pause);
        _pause = _pause + _pause < EventLoopOptions.LongestAcceptPause
            ? _pause + _pause
            : EventLoopOptions.LongestAcceptPause;
    }

    /// <summary>Says why in one try, takes what the peer has sent so that no reset hides it, and closes.</summary>
    private unsafe void Refuse(Socket socket, ReadOnlySpan<byte> refusal)
    {
        Refused++;
        int descriptor = (int)socket.SafeHandle.DangerousGetHandle();
        refusal = _tls is { IsImplicit: true } ? default : refusal; // a peer that wants TLS first could not read it
        fixed (byte* start = refusal)
        {
            _ = Native.Send(
                descriptor,
                start,
                (nuint)refusal.Length,
                Native.DontWait | Native.NoSignal); // a peer that is gone already needs no refusal
        }

        _ = Native.Shutdown(descriptor, Native.ShutdownSend);
        _ = Native.Receive(descriptor, null, EventLoopOptions.LingerBytes, Native.DontWait | Native.Truncate);
        socket.Dispose();
    }
}
