using System.Diagnostics.CodeAnalysis;
using System.Net.Security;
using System.Runtime.CompilerServices;
using System.Security.Authentication;

namespace FastMail.Net;

/// <summary>How a step of a handshake ended.</summary>
internal enum Handshake
{
    NeedsInput,
    Complete,
    Failed,
}

/// <summary>
/// TLS of one connection: an SslStream between the connection and its records. Owned by the connection and touched on
/// the loop thread, except that a worker owns it from the start of a handshake step until the step is posted back.
/// </summary>
[SuppressMessage("Design", "CA1001", Justification = "Close disposes; a layer never outlives its connection's session.")]
[SuppressMessage("Reliability", "CA2012", Justification = "Each ValueTask is taken once: its awaiter is kept instead.")]
internal sealed class TlsLayer : ILoopWork
{
    private readonly Connection _connection;
    private readonly TlsEnd _end;
    private readonly Func<Task> _begin;
    private readonly CipherStream _records;
    private readonly SslStream _stream;
    private readonly Action _inputCame;
    private readonly Action _outputLeft;

    private Task? _handshake;
    private ConfiguredValueTaskAwaitable<int>.ConfiguredValueTaskAwaiter _waiting;
    private ConfiguredValueTaskAwaitable.ConfiguredValueTaskAwaiter _sending;
    private bool _isUnderWay = true;
    private bool _hasFailed; // a record was none, or forged: nothing more is read
    private Exception? _fault; // of a step, and not the peer's

    /// <summary>The client speaks first.</summary>
    public TlsLayer(Connection connection, TlsServer server)
        : this(connection, (TlsEnd)server)
    {
        _begin = () => _stream.AuthenticateAsServerAsync(server.SelectOptions, this, CancellationToken.None);
    }

    /// <summary>We speak first: the first step has no input.</summary>
    public TlsLayer(Connection connection, OutgoingTls tls)
        : this(connection, tls.Client)
    {
        _begin = () => _stream.AuthenticateAsClientAsync(tls.Options(peer => Peer = peer), CancellationToken.None);
    }

    private TlsLayer(Connection connection, TlsEnd end)
    {
        _connection = connection;
        _end = end;
        _begin = null!; // set by those who call this one
        _records = new CipherStream(connection);
        _stream = new SslStream(_records, leaveInnerStreamOpen: true);
        _inputCame = InputCame;
        _outputLeft = OutputLeft;
        end.Enter();
    }

    /// <summary>What the client asked for by SNI has chosen it; set inside a step.</summary>
    public TlsCertificate? Certificate { get; set; }

    /// <summary>What the host has shown; set inside a step.</summary>
    public TlsPeer? Peer { get; set; }

    /// <summary>What went wrong in the handshake, on one line.</summary>
    public string? FaultText { get; private set; }

    /// <summary>After the handshake.</summary>
    public TlsParameters? Parameters { get; private set; }

    public Handshake Outcome { get; private set; }

    /// <summary>Received octets that no record has been read from yet.</summary>
    public int InputBytes => _records.Input.Length;

    /// <summary>Small pieces of output on their way into one record. This and the next four are the connection's, which has them only under TLS.</summary>
    public byte[]? Gather { get; set; }

    /// <summary>Of the record that is being sent.</summary>
    public int RecordBytes { get; set; }

    /// <summary>Octets for SslStream since it last had content, or since others had their turn.</summary>
    public int EmptyRecords { get; set; }

    /// <summary>The rest of an output that made way for others.</summary>
    public ILoopWork? SendsOn { get; set; }

    /// <summary>The rest of an input that did.</summary>
    public ILoopWork? ReceivesOn { get; set; }

    /// <summary>SslStream waits for input; <see cref="SocketReadable"/> goes on.</summary>
    public bool IsAwaitingInput { get; private set; }

    /// <summary>
    /// Whether a handshake may begin with these octets: a record of type handshake with a ClientHello (RFC 8446 5.1).
    /// Anything else (plain SMTP, HTTP, SSL 2) is told apart here, where it costs neither a worker nor an exception.
    /// </summary>
    /// <returns>Complete: it may. NeedsInput: too few to know. Failed: it may not.</returns>
    public Handshake Judge(ReadOnlySpan<byte> input)
    {
        const int RecordHeaderBytes = 5;
        const byte HandshakeRecord = 22;
        const byte ClientHello = 1;
        if (_handshake is not null)
        {
            return Handshake.Complete;
        }

        if (input[0] != HandshakeRecord)
        {
            return Handshake.Failed;
        }

        return input.Length <= RecordHeaderBytes ? Handshake.NeedsInput
            : input[RecordHeaderBytes] == ClientHello ? Handshake.Complete
            : Handshake.Failed;
    }

    /// <summary>Goes on with the handshake on a worker; the end comes back as a post of this object.</summary>
    public void BeginStep(Memory<byte> input)
    {
        _records.Input = input;
        _end.Workers.Run(this);
    }

    /// <summary>One step, on a worker's thread.</summary>
    public void Step()
    {
        try
        {
            if (_handshake is null)
            {
                _handshake = _begin();
            }
            else
            {
                _records.EndRead();
            }

            Outcome = OutcomeOf(_handshake);
            if (Outcome == Handshake.Complete)
            {
                Parameters = new TlsParameters(_stream.SslProtocol, _stream.NegotiatedCipherSuite, Certificate, Peer);
            }
        }
        catch (Exception e)
        {
            Outcome = Handshake.Failed;
            FaultText = (e.InnerException ?? e).Message.ReplaceLineEndings(" ");
            // Not supported: what SslStream says of a first message that it cannot read.
            _fault = IsOfPeer(e) || e is NotSupportedException ? null : e;
        }

        _connection.Loop.Post(this);
    }

    void ILoopWork.Run()
    {
        if (_fault is not null)
        {
            Report(_fault);
        }

        _connection.Stepped();
    }

    /// <summary>What the handshake says to the peer: its flight, or the alert that ends it.</summary>
    public ReadOnlyMemory<byte> TakeOutput() => _records.TakeOutput();

    /// <param name="input">Octets behind the handshake that SslStream has not read yet.</param>
    public void BeginService(ReadOnlySpan<byte> input)
    {
        _records.Input = input.IsEmpty ? default : input.ToArray(); // copied: the slab goes back to its pool
        _records.BeginService();
        EndHandshake(isComplete: true);
    }

    /// <summary>True when <see cref="Receive"/> has something to give; false when <see cref="Connection"/> will be told.</summary>
    public bool BecomesReadable()
    {
        try
        {
            // A read into nothing comes back with a record decrypted inside SslStream, and holds no buffer until then.
            _waiting = _stream.ReadAsync(Memory<byte>.Empty).ConfigureAwait(false).GetAwaiter();
            if (_waiting.IsCompleted)
            {
                _ = _waiting.GetResult();
                return true;
            }
        }
        catch (Exception e)
        {
            Break(e); // told by Receive
            return true;
        }

        IsAwaitingInput = true;
        _waiting.UnsafeOnCompleted(_inputCame);
        return false;
    }

    /// <summary>The socket has something for SslStream, or has been closed.</summary>
    public void SocketReadable() => _records.EndRead();

    /// <summary>Octets, 0 at the peer's end, or a negated errno; only after <see cref="BecomesReadable"/>.</summary>
    public int Receive(Memory<byte> room)
    {
        if (_hasFailed)
        {
            return -Native.ProtocolError;
        }

        try
        {
            ValueTask<int> read = _stream.ReadAsync(room);
            return read.IsCompleted
                ? read.GetAwaiter().GetResult()
                : throw new InvalidOperationException("SslStream told of a record and then waits for it.");
        }
        catch (Exception e)
        {
            Break(e);
            return -Native.ProtocolError;
        }
    }

    /// <summary>Encrypts one record and sends it.</summary>
    /// <returns>True when the kernel has it; false when the connection will be told by <c>RecordLeft</c>.</returns>
    /// <exception cref="IOException">The peer is gone.</exception>
    public bool Send(ReadOnlyMemory<byte> octets)
    {
        try
        {
            _sending = _stream.WriteAsync(octets).ConfigureAwait(false).GetAwaiter();
            if (_sending.IsCompleted)
            {
                _sending.GetResult();
                return true;
            }
        }
        catch (Exception e) when (!IsOfPeer(e))
        {
            Report(e);
            throw new IOException("TLS cannot encrypt.", e);
        }

        _sending.UnsafeOnCompleted(_outputLeft);
        return false;
    }

    /// <summary>The asynchronous send of a record has ended.</summary>
    public void SocketSent(int octets) => _records.EndWrite(octets);

    /// <summary>Tells the peer that nothing follows, so that it can tell this end from an attacker's.</summary>
    public void SayCloseNotify()
    {
        End();
        if (Parameters is null || _hasFailed)
        {
            return;
        }

        try
        {
            Task said = _stream.ShutdownAsync();
            if (said.IsCompleted)
            {
                said.GetAwaiter().GetResult();
            }
        }
        catch (Exception e) when (e is IOException or InvalidOperationException)
        {
            _hasFailed = true; // the TLS session has broken before; the socket's end must do
        }
    }

    /// <summary>The socket is closed: what still waits finds the end.</summary>
    public void End()
    {
        _records.End();
        EndHandshake(isComplete: false);
    }

    /// <summary>Nothing is under way any more.</summary>
    public void Close() => _stream.Dispose();

    private static Handshake OutcomeOf(Task handshake)
    {
        if (!handshake.IsCompleted)
        {
            return Handshake.NeedsInput;
        }

        handshake.GetAwaiter().GetResult();
        return Handshake.Complete;
    }

    private static bool IsOfPeer(Exception e) => e is AuthenticationException or IOException;

    private void Break(Exception e)
    {
        _hasFailed = true;
        if (!IsOfPeer(e))
        {
            Report(e);
        }
    }

    private void Report(Exception e) => _connection.Loop.Report(_connection, e);

    private void EndHandshake(bool isComplete)
    {
        if (_isUnderWay)
        {
            _isUnderWay = false;
            _end.Leave(isComplete);
        }
    }

    private void InputCame()
    {
        IsAwaitingInput = false;
        try
        {
            _ = _waiting.GetResult();
        }
        catch (Exception e)
        {
            Break(e);
        }

        _waiting = default;
        _connection.Readable();
    }

    private void OutputLeft()
    {
        bool hasLeft = true;
        try
        {
            _sending.GetResult();
        }
        catch (Exception e)
        {
            Break(e);
            hasLeft = false;
        }

        _sending = default;
        _connection.RecordLeft(hasLeft);
    }
}
