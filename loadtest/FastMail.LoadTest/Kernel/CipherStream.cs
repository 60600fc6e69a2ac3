using System.Threading.Tasks.Sources;

namespace FastMail.LoadTest.Kernel;

/// <summary>
/// Memory in the place of a socket: what is written waits to be sent, a read waits to be fed. Who waits goes on inside
/// <see cref="Feed"/>. Owned by a <see cref="TlsLayer"/>, used by one thread.
/// </summary>
internal sealed class CipherStream : Stream, IValueTaskSource<int>
{
    private ManualResetValueTaskSourceCore<int> _waiting;
    private Memory<byte> _wanted;
    private bool _isWaiting;
    private bool _isEnded;
    private byte[] _in = new byte[2 * TlsLayer.RecordOctets];
    private int _inAt;
    private int _inEnd;
    private byte[] _out = GC.AllocateUninitializedArray<byte>(TlsLayer.RecordOctets + 1024);
    private int _outAt;
    private int _outEnd;

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    internal ReadOnlySpan<byte> Outgoing => _out.AsSpan(_outAt, _outEnd - _outAt);

    public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        if (_inEnd > _inAt || _isEnded)
        {
            return new ValueTask<int>(TakeInto(buffer.Span));
        }

        _waiting.Reset();
        _wanted = buffer;
        _isWaiting = true;
        return new ValueTask<int>(this, _waiting.Version);
    }

    public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override int Read(byte[] buffer, int offset, int count) =>
        throw new NotSupportedException("nobody may block here");

    public override void Write(ReadOnlySpan<byte> buffer)
    {
        if (_outAt == _outEnd)
        {
            _outAt = 0;
            _outEnd = 0;
        }

        if (_out.Length - _outEnd < buffer.Length)
        {
            Array.Resize(ref _out, Math.Max(2 * _out.Length, _outEnd + buffer.Length));
        }

        buffer.CopyTo(_out.AsSpan(_outEnd));
        _outEnd += buffer.Length;
    }

    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        Write(buffer.Span);
        return ValueTask.CompletedTask;
    }

    public override Task WriteAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken)
    {
        Write(buffer.AsSpan(offset, count));
        return Task.CompletedTask;
    }

    public override void Flush()
    {
        // What is written is in Outgoing already.
    }

    public override Task FlushAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public int GetResult(short token) => _waiting.GetResult(token);

    public ValueTaskSourceStatus GetStatus(short token) => _waiting.GetStatus(token);

    public void OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        _waiting.OnCompleted(continuation, state, token, flags);

    internal void Sent(int octets) => _outAt += octets;

    internal void Feed(ReadOnlySpan<byte> octets)
    {
        if (_inAt > 0)
        {
            _in.AsSpan(_inAt, _inEnd - _inAt).CopyTo(_in);
            _inEnd -= _inAt;
            _inAt = 0;
        }

        if (_in.Length - _inEnd < octets.Length)
        {
            Array.Resize(ref _in, Math.Max(2 * _in.Length, _inEnd + octets.Length));
        }

        octets.CopyTo(_in.AsSpan(_inEnd));
        _inEnd += octets.Length;
        GoOn();
    }

    internal void End()
    {
        _isEnded = true;
        GoOn();
    }

    private void GoOn()
    {
        if (_isWaiting)
        {
            _isWaiting = false;
            _waiting.SetResult(TakeInto(_wanted.Span));
        }
    }

    private int TakeInto(Span<byte> buffer)
    {
        int taken = Math.Min(buffer.Length, _inEnd - _inAt);
        _in.AsSpan(_inAt, taken).CopyTo(buffer);
        _inAt += taken;
        return taken;
    }
}
