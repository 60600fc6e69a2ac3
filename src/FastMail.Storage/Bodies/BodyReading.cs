namespace FastMail.Storage;

/// <summary>Who reads a body. Neither takes more than three quarters of <see cref="MailLogOptions.MaxBodyReadings"/>.</summary>
public enum BodyUse
{
    /// <summary>A maildrop's owner fetches it.</summary>
    Fetch,

    /// <summary>It is in the queue, and on its way.</summary>
    Delivery,
}

/// <summary>
/// One way through a stored message whose body is a file of its own: verified as a whole, then handed out window by
/// window, trace fields first. Two windows take turns, so that one is sent while the next is read. Owned by whoever
/// began it; while a step is under way (<see cref="ReadOn"/> to its callback) by the reader's thread, which also puts away
/// what was closed during one.
/// </summary>
public sealed class BodyReading
{
    /// <summary>Octets of a window.</summary>
    public const int WindowBytes = 256 * 1024;

    // Whose it is: its owner's at rest, the reader's under way, the reader's to put away, nobody's.
    private const int Resting = 0;
    private const int Stepping = 1;
    private const int Abandoned = 2;
    private const int Over = 3;

    private const int VerifiedPerStep = 8 * 1024 * 1024; // then the other readings get their turn

    private readonly BodyReader _reader;
    private readonly ulong _lsn;
    private readonly BodyReference _reference;
    private readonly uint _crc;
    private readonly ReadOnlyMemory<byte> _trace;
    private readonly BodyUse _use;
    private readonly byte[][] _windows;
    private readonly Action _completed;
    private StoredBody? _body;
    private long _verified;
    private long _read;
    private uint _runningCrc;
    private int _turn;
    private bool _isVerified;
    private int _state = Resting;

    internal BodyReading(BodyReader reader, in StoredMessage message, BodyUse use, byte[][] windows, Action completed)
    {
        _reader = reader;
        _lsn = message.Lsn;
        _reference = message.Body;
        _crc = message.BodyCrc;
        _trace = message.Wire;
        _use = use;
        _windows = windows;
        _completed = completed;
        HeaderWireBytes = message.HeaderWireBytes;
        RestBytes = message.WireBytes;
    }

    /// <summary>
    /// A step was asked for and has not ended: what the last one read is not to be looked at. Asked rather than
    /// remembered from a callback, as that of an earlier reading may come late.
    /// </summary>
    public bool IsUnderWay => Volatile.Read(ref _state) == Stepping;

    /// <summary>How the last step ended. Anything but Ok is the end.</summary>
    public ReadStatus Status { get; private set; }

    /// <summary>
    /// What the last step read; stays as it is until the step after the next one is asked for.
    /// </summary>
    public ReadOnlyMemory<byte> Window { get; private set; }

    /// <summary>Octets that come after <see cref="Window"/>.</summary>
    public long RestBytes { get; private set; }

    /// <summary>Octets of trace and header section with the empty line that ends it.</summary>
    public long HeaderWireBytes { get; }

    /// <summary>
    /// Asks for the next window. The first is not given before the whole body has passed its checksum. The callback
    /// comes once for each call, on the reader's thread, but not after <see cref="Close"/>.
    /// </summary>
    public void ReadOn()
    {
        if (Interlocked.CompareExchange(ref _state, Stepping, Resting) != Resting)
        {
            throw new InvalidOperationException("The last step has not ended, or the reading has.");
        }

        _reader.Add(this);
    }

    /// <summary>
    /// The end, at whatever point; more than one harms nothing. Its memory goes back: during a step only when that has
    /// ended, or it would be written into what the next reading gives out.
    /// </summary>
    public void Close()
    {
        if (Interlocked.CompareExchange(ref _state, Abandoned, Stepping) != Stepping
            && Interlocked.CompareExchange(ref _state, Over, Resting) == Resting)
        {
            PutAway();
        }
    }

    /// <summary>Reader's thread: a bounded part of a step; false when the step goes on.</summary>
    internal bool Step()
    {
        if (Volatile.Read(ref _state) == Abandoned)
        {
            return true;
        }

        Status = _body is null ? _reader.Open(_reference, _crc, _lsn, out _body) : ReadStatus.Ok;
        if (Status == ReadStatus.Ok && !_isVerified && !Verify())
        {
            return false;
        }

        if (Status == ReadStatus.Ok)
        {
            ReadWindow();
        }

        return true;
    }

    internal void Complete()
    {
        if (Interlocked.CompareExchange(ref _state, Resting, Stepping) == Stepping)
        {
            _completed();
            return;
        }

        PutAway();
        Volatile.Write(ref _state, Over);
    }

    private void PutAway()
    {
        _body?.Dispose();
        _reader.Release(_use, _windows);
    }

    /// <summary>True when all is verified, or has failed.</summary>
    private bool Verify()
    {
        StoredBody body = _body!;
        Span<byte> block = _windows[0];
        long end = Math.Min(body.Bytes, _verified + VerifiedPerStep);
        while (_verified < end)
        {
            Span<byte> part = block[..(int)Math.Min(block.Length, end - _verified)];
            Status = body.Read(part, _verified);
            if (Status != ReadStatus.Ok)
            {
                return true;
            }

            _runningCrc = Crc32C.Extend(_runningCrc, part);
            _verified += part.Length;
        }

        if (_verified < body.Bytes)
        {
            return false;
        }

        _isVerified = true;
        Status = _runningCrc == _crc ? ReadStatus.Ok : ReadStatus.Damaged;
        _runningCrc = 0;
        return true;
    }

    private void ReadWindow()
    {
        byte[] window = _windows[_turn];
        _turn = 1 - _turn;
        int filled = 0;
        if (_read == 0 && !_trace.IsEmpty)
        {
            _trace.Span.CopyTo(window); // far shorter than a window, by the limits of an envelope
            filled = _trace.Length;
        }

        int length = (int)Math.Min(window.Length - filled, _body!.Bytes - _read);
        Span<byte> part = window.AsSpan(filled, length);
        Status = _body.Read(part, _read);
        _read += length;
        _runningCrc = Crc32C.Extend(_runningCrc, part);
        if (Status == ReadStatus.Ok && _read == _body.Bytes && _runningCrc != _crc)
        {
            Status = ReadStatus.Damaged; // it rotted between the two passes: the end is not given out
        }

        Window = Status == ReadStatus.Ok ? window.AsMemory(0, filled + length) : default;
        RestBytes -= filled + length;
    }
}
