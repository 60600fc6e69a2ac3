using System.Buffers.Binary;
using System.Diagnostics;
using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;

namespace FastMail.Net;

/// <summary>
/// One socket, accepted or connected, and the turns of its handler. Owned and pooled by its loop, touched on the loop thread only; a
/// handler must drop it in <see cref="IConnectionHandler.Closed"/>, for afterwards it serves somebody else. At most one
/// receive and one send are in flight, and the handler is not entered while a send is: unsent output never exceeds one
/// turn.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "Pooled for the life of the loop; Over closes the socket.")]
public sealed partial class Connection : ICompletion, ILoopWork
{
    private static readonly IPEndPoint ThisMachine = new(IPAddress.Loopback, 0);

    private readonly EventLoop _loop;
    private readonly LoopArgs _receive;
    private readonly Deadline _timer;

    private Socket? _socket;
    private int _descriptor;
    private IHandlerFactory? _factory;
    private IPAddress? _client; // counted by the loop's admission until the socket is closed
    private IPEndPoint? _declared; // in place of the socket's peer
    private IConnectionHandler? _handler;

    private Phase _phase;
    private Turn _turn;
    private bool _isCallDue; // the handler wants to be called whether or not there is new input
    private bool _isResumed;
    private bool _isEntered; // the handler is on the stack
    private bool _isAborted;
    private bool _hasSaidLastWords;
    private bool _isPosted;

    internal Connection(EventLoop loop)
    {
        _loop = loop;
        _receive = new LoopArgs(loop) { Owner = this };
        _receive.SetBuffer(Memory<byte>.Empty); // only ever waits for readiness: an idle connection holds no slab
        _timer = new Deadline(this);
    }

    private enum Phase : byte
    {
        Free,

        /// <summary>An outgoing connection that does not stand yet.</summary>
        Connecting,
        Open,

        /// <summary>The TLS handshake is under way; the handler waits for its end.</summary>
        Securing,

        /// <summary>The session is over and its last reply on the way; input is thrown away.</summary>
        Lingering,

        /// <summary>The socket is closed; calls in flight have yet to come back.</summary>
        Closed,
    }

    public EventLoop Loop => _loop;

    public bool IsOpen => _phase == Phase.Open && !_isAborted;

    /// <summary>The client is a process of this machine that came through a unix socket.</summary>
    public bool IsLocal => _declared is null && OpenSocket.AddressFamily == AddressFamily.Unix;

    /// <summary>
    /// The client: who <see cref="TryDeclareClient"/> says it is, else the socket's peer; 127.0.0.1 with port 0 when
    /// that came through a unix socket.
    /// </summary>
    /// <exception cref="InvalidOperationException">The connection is closed.</exception>
    public IPEndPoint RemoteEndPoint => _declared ?? OpenSocket.RemoteEndPoint as IPEndPoint ?? ThisMachine;

    /// <summary>Where the client has called; null for a unix socket.</summary>
    /// <exception cref="InvalidOperationException">The connection is closed.</exception>
    public IPEndPoint? LocalEndPoint => OpenSocket.LocalEndPoint as IPEndPoint;

    /// <summary>The peer has sent octets that no turn has seen yet, or has ended.</summary>
    public bool HasInput => _start < _end || OpenSocket.Available > 0;

    /// <summary>
    /// The peer is a trusted go-between and speaks for this client: from now on everything that is counted by client
    /// counts this one. False when the loop's admission does not let it in; it is then nobody's, and to be closed.
    /// </summary>
    public bool TryDeclareClient(IPEndPoint client)
    {
        _loop.DemandLoopThread();
        _declared = client;
        if (_loop.Options.Admission is not { } admission)
        {
            return true;
        }

        if (_client is not null)
        {
            admission.Leave(_client);
        }

        _client = admission.TryEnter(client.Address) ? client.Address : null;
        return _client is not null;
    }

    internal bool HasNoDelay => OpenSocket.GetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.NoDelay) is 1;

    /// <summary>An option of the accepted socket as the kernel has it, whoever set it.</summary>
    internal int OptionOf(int level, int name)
    {
        Span<byte> value = stackalloc byte[sizeof(int)];
        OpenSocket.GetRawSocketOption(level, name, value);
        return BinaryPrimitives.ReadInt32LittleEndian(value);
    }

    /// <summary>Position in the loop's list of live connections.</summary>
    internal int Index { get; set; }

    /// <summary>
    /// A send in flight or a post will call <see cref="Serve"/>, which finds whatever has happened meanwhile. Until then
    /// nobody else may: the octets of a send would leave twice, and a second post could meet the connection's next owner.
    /// </summary>
    private bool IsGoingOn => _isSending || _isPosted;

    private Socket OpenSocket => _socket ?? throw new InvalidOperationException("The connection is closed.");

    /// <summary>
    /// Ends a <see cref="Turn.Wait"/>: the handler is called again with what is left of its input. May come before the
    /// call that waits has returned; then that call's Wait counts as Continue. The handler runs inside this call.
    /// </summary>
    public void Resume()
    {
        _loop.DemandLoopThread();
        if (!IsOpen)
        {
            return;
        }

        _isResumed = true;
        if (_turn == Turn.Wait && !_isEntered && !IsGoingOn)
        {
            Serve();
        }
    }

    /// <summary>Closes without another word. The handler's Closed comes before this returns, except from within it.</summary>
    public void Abort()
    {
        _loop.DemandLoopThread();
        if (_phase is Phase.Free or Phase.Closed)
        {
            return;
        }

        _isAborted = true;
        if (!_isEntered)
        {
            Over();
        }
    }

    internal void Begin(Socket socket, IHandlerFactory factory, ListenerTls? tls, IPAddress? client)
    {
        Debug.Assert(_phase == Phase.Free, "a connection is rented once");
        _socket = socket;
        _factory = factory;
        _client = client;
        _declared = null;
        _listenerTls = tls;
        BeginSession(socket);
    }

    private void BeginSession(Socket socket)
    {
        // The descriptor stays ours until Over closes the socket on this same thread, so the bare number is safe.
        // Asking for it tells the runtime not to assume the socket's mode; its asynchronous calls set O_NONBLOCK
        // themselves on first use, and ours say MSG_DONTWAIT each time.
        _descriptor = (int)socket.SafeHandle.DangerousGetHandle();
        _phase = Phase.Open;
        _turn = Turn.Continue;
        _isCallDue = true;
        Enter(Entry.Opened);
        if (_isAborted)
        {
            Over();
            return;
        }

        if (_listenerTls is { IsImplicit: true } && !_factory!.DeclaresClients)
        {
            SecureIfThereIsRoom(_listenerTls.Server);
        }
        else if (_outgoingTls is { IsImplicit: true })
        {
            Secure();
        }
        else
        {
            Serve();
        }
    }

    void ICompletion.Completed(LoopArgs args)
    {
        if (_isConnecting)
        {
            _isConnecting = false;
            Connected(args.SocketError);
        }
        else if (ReferenceEquals(args, _receive))
        {
            _isReceiving = false;
            if (_tls is { IsAwaitingInput: true } tls)
            {
                tls.SocketReadable(); // which tells us when there is a whole record
            }
            else
            {
                Readable();
            }
        }
        else
        {
            Sent(args);
        }
    }

    /// <summary>
    /// Calls the handler and sends what it says until it wants more input than there is, waits or closes, a send is in
    /// flight, or its share of this turn is used up. Entered whenever one of those ends.
    /// </summary>
    private void Serve()
    {
        Debug.Assert(!IsGoingOn, "who wakes a connection leaves it to the send or the post that is out");
        int calls = EventLoopOptions.CallsPerTurn;
        int octets = EventLoopOptions.OctetsPerTurn;
        while (Converse(ref calls) && Flush() && FindNext(ref octets))
        {
            _isCallDue = true;
            if (calls <= 0 || octets <= 0)
            {
                _isPosted = true;
                _loop.Post(this);
                return;
            }
        }
    }

    /// <summary>Everything is said: true when the handler is to be called again at once.</summary>
    private bool FindNext(ref int octets)
    {
        if (_hasSaidLastWords || _turn == Turn.Close)
        {
            Finish();
            return false;
        }

        switch (_turn)
        {
            case Turn.Continue:
                return true;
            case Turn.Secure when _listenerTls is { IsImplicit: true }:
                SecureIfThereIsRoom(_listenerTls.Server);
                return false;
            case Turn.Secure:
                Secure();
                return false;
            case Turn.Wait:
                if (!_isResumed)
                {
                    return false;
                }

                RenewDeadline();
                return true;
            default:
                if (_isSpeaking)
                {
                    return true;
                }

                if (_loop.IsStopping && !IsBusy)
                {
                    SayLastWords(CloseReason.Stopping);
                    return false;
                }

                return Fill(ref octets);
        }
    }

    /// <summary>Handler calls of one send, gathered. False when the connection is over.</summary>
    private bool Converse(ref int calls)
    {
        if (_turn == Turn.Wait && _isResumed)
        {
            RenewDeadline();
            _isCallDue = true;
        }

        if (!_isCallDue)
        {
            return true;
        }

        _isCallDue = false;
        _outgoing ??= _loop.Outgoings.Rent();
        do
        {
            calls--;
            if (!CallHandler(_outgoing))
            {
                Over();
                return false;
            }
        }
        while (_turn == Turn.Continue && calls > 0 && _outgoing.HasRoom);

        ReturnEmptySlab();
        return true;
    }

    private bool CallHandler(Outgoing outgoing)
    {
        ReadOnlySpan<byte> received = _slab is null ? default : _slab.AsSpan(_start, _end - _start);
        Span<byte> room = outgoing.Room;
        int consumed;
        int written;
        ReadOnlyMemory<byte> body;
        _isResumed = false;
        _isSpeaking = false;
        _isEntered = true;
        try
        {
            _turn = _handler!.Receive(received, room, out consumed, out written, out body);
        }
        catch (Exception exception)
        {
            _isAborted = true;
            _loop.Report(this, exception);
            return false;
        }
        finally
        {
            _isEntered = false;
        }

        if (_isAborted)
        {
            return false;
        }

        if (FindFault(received.Length, room.Length, consumed, written, body.Length, outgoing) is { } fault)
        {
            _isAborted = true;
            _loop.Report(this, new InvalidOperationException(fault));
            return false;
        }

        _start += consumed;
        outgoing.Add(written, body);
        return true;
    }

    /// <summary>What the handler did wrong in its last call, if anything: each of these would spin or corrupt.</summary>
    private string? FindFault(int received, int room, int consumed, int written, int body, Outgoing outgoing)
    {
        if ((uint)consumed > (uint)received || (uint)written > (uint)room)
        {
            return $"The handler consumed {consumed} of {received} and wrote {written} of {room} octets.";
        }

        if (_turn != Turn.Secure && (consumed > 0 || written > 0 || body > 0))
        {
            return null;
        }

        return _turn switch
        {
            Turn.Secure when !MaySecure => "The handler wants TLS where there is none, or once more.",
            Turn.Receive when received == _loop.Slabs.SlabBytes => "The handler wants more input than a slab holds.",
            Turn.Continue when outgoing.IsEmpty => "The handler wants to continue but does nothing.",
            _ => null,
        };
    }

    /// <summary>The rest of a turn that used up its share; behind the others in the ready list.</summary>
    void ILoopWork.Run()
    {
        _isPosted = false;
        if (_phase == Phase.Open)
        {
            Serve();
        }
        else if (_phase == Phase.Connecting)
        {
            Connected(_connectError);
        }
        else
        {
            ReleaseWhenQuiet();
        }
    }

    private sealed class Deadline(Connection connection) : LoopTimer, ILoopWork
    {
        public void Run() => connection.DeadlineReached();
    }
}
