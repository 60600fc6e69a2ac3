using System.Threading.Tasks.Sources;

namespace FastMail.Net;

/// <summary>
/// The side of an SslStream that carries records: what it reads is what the peer encrypted, what it writes goes to the
/// peer. While the handshake lasts it reads a slab and writes to memory, on a worker; afterwards it receives straight
/// into SslStream's buffer and sends straight from it, on the loop thread. Owned by one <see cref="TlsLayer"/>.
/// </summary>
/// <remarks>
/// SslStream awaits the two calls without a context, so its code goes on inside <see cref="EndRead"/> and
/// <see cref="EndWrite"/>, on the thread that calls them; nothing of it ever runs on the pool. At most one read and one
/// write are under way.
/// </remarks>
internal sealed class CipherStream(Connection connection) : Stream
{
    private const int FirstOutputBytes = 4096;

    private readonly PendingRead _read = new();
    private readonly PendingWrite _write = new();
    private Memory<byte> _readInto;
    private ReadOnlyMemory<byte> _unsent;
    private byte[] _output = [];
    private bool _isInService;
    private bool _isOver;

    /// <summary>Received in the handshake and not read yet: a part of a slab that the connection keeps for us.</summary>
    public Memory<byte> Input { get; set; }

    /// <summary>Octets of the handshake that go to the peer; taken by <see cref="TakeOutput"/>.</summary>
    public int OutputBytes { get; private set; }

    public bool IsReading { get; private set; }

    public override bool CanRead => true;

    public override bool CanWrite => true;

    public override bool CanSeek => false;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>From now on the socket is read and written.</summary>
    public void BeginService() => _isInService = true;

    /// <summary>From now on every read finds the end, and of what is written the socket takes what it can at once.</summary>
    public void End() => _isOver = true;

    public ReadOnlyMemory<byte> TakeOutput()
    {
        ReadOnlyMemory<byte> output = _output.AsMemory(0, OutputBytes);
        _output = [];
        OutputBytes = 0;
        return output;
    }

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (TryRead(buffer, out int octets))
        {
            return new ValueTask<int>(octets);
        }

        _readInto = buffer;
        IsReading = true;
        return _read.Begin();
    }

    /// <summary>There is input: goes on with the read that waits for it. False when it needs still more.</summary>
    public bool EndRead()
    {
        if (!TryRead(_readInto, out int octets))
        {
            return false;
        }

        IsReading = false;
        _readInto = default;
        _read.End(octets);
        return true;
    }

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (!_isInService)
        {
            Keep(buffer.Span);
            return default;
        }

        if (_isOver)
        {
            connection.SendLastRecord(buffer.Span); // close_notify
            return default;
        }

        int error = connection.SendRecords(ref buffer);
        if (error != 0)
        {
            return ValueTask.FromException(Failure(error));
        }

        if (buffer.IsEmpty)
        {
            return default;
        }

        _unsent = buffer;
        return _write.Begin();
    }

    /// <summary>An asynchronous send of records has ended; goes on with the write that waits for it.</summary>
    public void EndWrite(int sent)
    {
        _unsent = _unsent[sent..];
        int error = _isOver ? Native.BrokenPipe : connection.SendRecords(ref _unsent);
        if (error != 0 || _unsent.IsEmpty)
        {
            _unsent = default;
            _write.End(error == 0 ? null : Failure(error));
        }
    }

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override void Flush()
    {
        // Nothing is held back.
    }

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    /// <summary>An empty buffer asks whether there is input, a filled one takes it; false when there is none yet.</summary>
    private bool TryRead(Memory<byte> buffer, out int octets)
    {
        octets = 0;
        if (!Input.IsEmpty)
        {
            octets = Math.Min(Input.Length, buffer.Length);
            Input[..octets].CopyTo(buffer);
            Input = Input[octets..];
            return true;
        }

        if (_isOver)
        {
            return true;
        }

        return _isInService && connection.TryReceiveRecords(buffer.Span, out octets);
    }

    private static IOException Failure(int error) => new($"send failed, errno {error}");

    private void Keep(ReadOnlySpan<byte> records)
    {
        if (_output.Length - OutputBytes < records.Length)
        {
            Array.Resize(ref _output, Math.Max(Math.Max(FirstOutputBytes, _output.Length * 2), OutputBytes + records.Length));
        }

        records.CopyTo(_output.AsSpan(OutputBytes));
        OutputBytes += records.Length;
    }

    /// <summary>The read that waits; reused, its continuation runs inside <see cref="End"/>.</summary>
    private sealed class PendingRead : IValueTaskSource<int>
    {
        private ManualResetValueTaskSourceCore<int> _core;

        public ValueTask<int> Begin() => new(this, _core.Version);

        public void End(int octets) => _core.SetResult(octets);

        public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

        public void OnCompleted(
            Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
            _core.OnCompleted(continuation, state, token, flags);

        public int GetResult(short token)
        {
            int octets = _core.GetResult(token);
            _core.Reset();
            return octets;
        }
    }

    /// <summary>The write that waits; reused, its continuation runs inside <see cref="End"/>.</summary>
    private sealed class PendingWrite : IValueTaskSource
    {
        private ManualResetValueTaskSourceCore<bool> _core;

        public ValueTask Begin() => new(this, _core.Version);

        public void End(IOException? failure)
        {
            if (failure is null)
            {
                _core.SetResult(true);
            }
            else
            {
                _core.SetException(failure);
            }
        }

        public ValueTaskSourceStatus GetStatus(short token) => _core.GetStatus(token);

        public void OnCompleted(
            Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
            _core.OnCompleted(continuation, state, token, flags);

        public void GetResult(short token)
        {
            try
            {
                _core.GetResult(token);
            }
            finally
            {
                _core.Reset();
            }
        }
    }
}
