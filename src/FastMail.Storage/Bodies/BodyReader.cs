namespace FastMail.Storage;

/// <summary>
/// The one thread that reads body files for those who must not wait: a bounded part of each reading in turn, so that a
/// gigabyte being verified does not hold up the others. Owned by the <see cref="LogParts"/>; any thread may ask.
/// </summary>
internal sealed class BodyReader : IDisposable
{
    private readonly BodyFiles _files;
    private readonly MaildropTable _maildrops;
    private readonly int _mostReadings;
    private readonly int _mostOfOneUse;
    private readonly int[] _readingsOf = new int[2]; // by use
    private readonly Lock _gate = new();
    private readonly Queue<BodyReading> _waiting = new();
    private readonly Stack<byte[][]> _free = new();
    private readonly AutoResetEvent _bell = new(false);
    private readonly Thread _thread;
    private int _readings;
    private bool _isClosed;

    public BodyReader(BodyFiles files, MaildropTable maildrops, MailLogOptions options)
    {
        _files = files;
        _maildrops = maildrops;
        _mostReadings = options.MaxBodyReadings;
        _mostOfOneUse = _mostReadings - (_mostReadings / 4);
        _thread = new Thread(Run) { Name = "fastmail body reader", IsBackground = true };
    }

    public void Start()
    {
        _thread.Start();
    }

    /// <summary>Null when too many are under way, in all or for that use.</summary>
    public BodyReading? Begin(in StoredMessage message, BodyUse use, Action completed)
    {
        byte[][]? windows;
        lock (_gate)
        {
            if (_readings == _mostReadings || _readingsOf[(int)use] == _mostOfOneUse || _isClosed)
            {
                return null;
            }

            _readings++;
            _readingsOf[(int)use]++;
            _ = _free.TryPop(out windows);
        }

        windows ??= [NewWindow(), NewWindow()];
        return new BodyReading(this, message, use, windows, completed);

        static byte[] NewWindow()
        {
            return GC.AllocateUninitializedArray<byte>(BodyReading.WindowBytes, pinned: true);
        }
    }

    /// <summary>Opens the file of a record's body, and says whether a file that is absent has to be.</summary>
    public ReadStatus Open(in BodyReference reference, uint crc, ulong lsn, out StoredBody? body)
    {
        ReadStatus status = StoredBody.Open(
            _files.Disk, _files.PathOf(reference.Id), reference.Bytes, crc, out body);
        if (status != ReadStatus.NotFound)
        {
            return status;
        }

        lock (_maildrops.Gate)
        {
            // Removed since the caller's snapshot: not found. Still in a maildrop: damaged.
            return _maildrops.Bodies.Contains(lsn) ? ReadStatus.Damaged : ReadStatus.NotFound;
        }
    }

    public void Add(BodyReading reading)
    {
        lock (_gate)
        {
            _waiting.Enqueue(reading);
        }

        _ = _bell.Set();
    }

    public void Release(BodyUse use, byte[][] windows)
    {
        lock (_gate)
        {
            _readings--;
            _readingsOf[(int)use]--;
            _free.Push(windows);
        }
    }

    /// <summary>Ends the thread; steps under way are completed.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isClosed = true;
        }

        _ = _bell.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _bell.Dispose();
    }

    private void Run()
    {
        while (true)
        {
            BodyReading? reading;
            bool isClosed;
            lock (_gate)
            {
                _ = _waiting.TryDequeue(out reading);
                isClosed = _isClosed;
            }

            if (reading is null)
            {
                if (isClosed)
                {
                    return;
                }

                _ = _bell.WaitOne();
            }
            else if (reading.Step())
            {
                reading.Complete();
            }
            else
            {
                Add(reading);
            }
        }
    }
}
