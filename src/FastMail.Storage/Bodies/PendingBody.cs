namespace FastMail.Storage;

/// <summary>
/// A body on its way into its file. Filled by the producer of its message, emptied by the <see cref="BodyWriter"/>'s
/// thread; both meet under the gate. Chunks belong to it from the moment they are filled until they are written.
/// </summary>
internal sealed class PendingBody(BodyWriter writer, ChunkPool chunks, ulong id, bool isRefused)
{
    /// <summary>More than this waits to be written: the producer stops. What a message holds stays near this.</summary>
    private const int HighBytes = 1024 * 1024;

    private const int LowBytes = 384 * 1024; // the producer goes on; while it refills, the rest is being written
    private const int WorthWriting = 256 * 1024;

    private readonly Lock _gate = new();
    private readonly Queue<FilledChunk> _filled = new();
    private byte[]? _current;
    private int _currentUsed;
    private long _filledBytes;
    private long _writingBytes;
    private bool _isQueued;
    private bool _isAbandoned;
    private int _errno = isRefused ? Errno.NoSpace : 0;
    private Action? _drained;
    private PendingMessage? _finished;

    public ulong Id => id;

    /// <summary>Octets taken so far.</summary>
    public long Bytes { get; private set; }

    // The writer's own.
    public IDiskFile? File { get; set; }

    /// <summary>The name it has on the disk; null when it has none.</summary>
    public string? Path { get; set; }

    public long Written { get; set; }

    public long Reserved { get; set; }

    public long Unflushed { get; set; }

    /// <summary>It counts among those under way.</summary>
    public bool HasSlot { get; set; }

    /// <summary>The next octets. Never fails and never blocks: see <see cref="MustWait"/>.</summary>
    public void Append(ReadOnlySpan<byte> octets)
    {
        Bytes += octets.Length;
        while (!octets.IsEmpty)
        {
            _current ??= chunks.Rent();
            ReadOnlySpan<byte> part = octets[..Math.Min(octets.Length, _current.Length - _currentUsed)];
            part.CopyTo(_current.AsSpan(_currentUsed));
            _currentUsed += part.Length;
            octets = octets[part.Length..];
            if (_currentUsed == _current.Length)
            {
                PushCurrent();
            }
        }
    }

    /// <summary>Takes a chunk of the pool with its content over.</summary>
    public void Adopt(byte[] chunk, int length)
    {
        PushCurrent();
        Bytes += length;
        Push(chunk, length);
    }

    /// <summary>
    /// True when enough waits to be written. Then <paramref name="drained"/> is called once, on the writer's thread,
    /// when there is room again or the body has come to an end in another way.
    /// </summary>
    public bool MustWait(Action drained)
    {
        lock (_gate)
        {
            if (_errno != 0 || _filledBytes + _writingBytes <= HighBytes)
            {
                return false;
            }

            _drained = drained;
            Wake();
            return true;
        }
    }

    /// <summary>All of it has been taken; the writer makes it durable and hands the message on.</summary>
    public void Finish(PendingMessage message)
    {
        PushCurrent();
        lock (_gate)
        {
            _finished = message;
            Wake();
        }
    }

    /// <summary>There will be no message: the file goes. Also after the message was refused by the appender.</summary>
    public void Abandon()
    {
        lock (_gate)
        {
            _isAbandoned = true;
            Wake();
        }
    }

    /// <summary>Writer: what to do next. Pieces are the writer's until <see cref="Wrote"/>.</summary>
    public BodyStep Take(List<FilledChunk> pieces, int mostBytes)
    {
        lock (_gate)
        {
            if (_isAbandoned || _errno != 0)
            {
                DropFilled();
            }

            long taken = 0;
            while (_filled.TryPeek(out FilledChunk next) && (taken == 0 || taken + next.Length <= mostBytes))
            {
                pieces.Add(_filled.Dequeue());
                taken += next.Length;
            }

            _filledBytes -= taken;
            _writingBytes = taken;
            if (taken > 0)
            {
                return BodyStep.Write;
            }

            _isQueued = false;
            return _isAbandoned ? BodyStep.Abandon : _finished is not null ? BodyStep.Finish : BodyStep.None;
        }
    }

    /// <summary>Writer: the pieces are written, or could not be.</summary>
    public void Wrote(List<FilledChunk> pieces, int errno)
    {
        Action? drained = null;
        lock (_gate)
        {
            foreach (FilledChunk piece in pieces)
            {
                chunks.Return(piece.Chunk);
            }

            _writingBytes = 0;
            Fail(errno);
            if (_filledBytes <= LowBytes || _errno != 0)
            {
                (drained, _drained) = (_drained, null);
            }
        }

        drained?.Invoke();
    }

    /// <summary>Writer: the errno that ended it, 0 when there is none.</summary>
    public int Error
    {
        get
        {
            lock (_gate)
            {
                return _errno;
            }
        }
    }

    /// <summary>Writer: the message that waits for the end, once.</summary>
    public PendingMessage TakeFinished(int errno)
    {
        lock (_gate)
        {
            PendingMessage message = _finished!;
            _finished = null;
            Fail(errno);
            return message;
        }
    }

    /// <summary>Writer: nobody waits any more, whatever happened.</summary>
    public void Over()
    {
        Action? drained;
        lock (_gate)
        {
            DropFilled();
            (drained, _drained) = (_drained, null);
        }

        drained?.Invoke();
    }

    /// <summary>The producer gives its last chunk back; it will append nothing more.</summary>
    public void ReturnCurrent()
    {
        if (_current is not null)
        {
            chunks.Return(_current);
            _current = null;
            _currentUsed = 0;
        }
    }

    private void PushCurrent()
    {
        if (_current is not null)
        {
            byte[] chunk = _current;
            _current = null;
            (int length, _currentUsed) = (_currentUsed, 0);
            Push(chunk, length);
        }
    }

    private void Push(byte[] chunk, int length)
    {
        lock (_gate)
        {
            if (_errno != 0)
            {
                chunks.Return(chunk); // what cannot be stored need not be kept
                return;
            }

            _filled.Enqueue(new FilledChunk(chunk, length));
            _filledBytes += length;
            if (_filledBytes >= WorthWriting)
            {
                Wake();
            }
        }
    }

    private void Wake()
    {
        if (!_isQueued)
        {
            _isQueued = true;
            writer.Wake(this);
        }
    }

    private void Fail(int errno)
    {
        if (errno != 0 && _errno == 0)
        {
            _errno = errno;
            DropFilled();
        }
    }

    private void DropFilled()
    {
        while (_filled.TryDequeue(out FilledChunk chunk))
        {
            chunks.Return(chunk.Chunk);
        }

        _filledBytes = 0;
    }
}

/// <summary>A chunk of the pool and how much of it is filled. A value.</summary>
internal readonly record struct FilledChunk(byte[] Chunk, int Length);

/// <summary>What a body wants of its writer.</summary>
internal enum BodyStep
{
    None,
    Write,
    Finish,
    Abandon,
}
