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
/// began it; while a step is under way (<see cref="ReadOn"/> to its callback) by the reader's thread.
/// </summary>
public sealed class BodyReading
{
    /// <summary>Octets of a window.</summary>
    public const int WindowBytes = 256 * 1024;

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
    private bool _isOver;

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
    /// comes once for each call, on the reader's thread.
    /// </summary>
    public void ReadOn()
    {
        _reader.Add(this);
    }

    /// <summary>The end, at whatever point but during a step. Its memory goes back.</summary>
    public void Close()
    {
        if (!_isOver)
        {
            _isOver = true;
            _body?.Dispose();
            _reader.Release(_use, _windows);
        }
    }

    /// <summary>Reader's thread: a bounded part of a step; false when the step goes on.</summary>
    internal bool Step()
    {
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
        _completed();
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
