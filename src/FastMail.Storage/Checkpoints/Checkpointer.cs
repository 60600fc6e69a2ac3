namespace FastMail.Storage;

/// <summary>
/// Writes a checkpoint of the index every so many bytes of log, every so often when something has changed, and when the
/// log is closed, on its own thread. The appender never waits for it. A checkpoint that cannot be written costs nothing
/// but a longer recovery: it is told and tried again. Owned by the <see cref="LogParts"/>.
/// </summary>
internal sealed class Checkpointer : IDisposable
{
    private const int MaxUnflushed = 32; // shard files that are written before they are flushed, and open meanwhile

    private readonly MaildropTable _maildrops;
    private readonly CheckpointFiles _files;
    private readonly Guid _storeId;
    private readonly MailLogOptions _options;
    private readonly TimeProvider _clock;
    private readonly IMailLogObserver _observer;
    private readonly ShardWriter _writer = new();
    private readonly List<Manifest> _kept = []; // valid ones, older first, two at most
    private readonly AutoResetEvent _asked = new(false);
    private readonly Thread _thread;

    private Action<PendingAppend>? _append;
    private List<SemaphoreSlim> _waiting = [];
    private long _savedChanges;
    private ulong _savedLsn;
    private ulong _oldestNeededLsn;
    private ulong _askedLsn;
    private volatile bool _isStopped;

    /// <param name="maildrops">What is written.</param>
    /// <param name="files">Where.</param>
    /// <param name="storeId">Whose.</param>
    /// <param name="found">The checkpoint with which the log was opened; null when there was none.</param>
    /// <param name="options">How often.</param>
    /// <param name="clock">When it was made, for people.</param>
    /// <param name="observer">Learns what went wrong.</param>
    public Checkpointer(
        MaildropTable maildrops, CheckpointFiles files, Guid storeId, Checkpoint? found, MailLogOptions options,
        TimeProvider clock, IMailLogObserver observer)
    {
        _maildrops = maildrops;
        _files = files;
        _storeId = storeId;
        _options = options;
        _clock = clock;
        _observer = observer;
        _thread = new Thread(Run) { Name = "fastmail checkpoint", IsBackground = true };
        if (found is not null)
        {
            _kept.Add(found.Manifest);
            _savedLsn = found.Manifest.Point.Lsn;
            _askedLsn = _savedLsn;
        }
    }

    /// <summary>
    /// What recovery may need begins here: the place of the older of the two checkpoints that are known to be whole; 0
    /// as long as there are not two. Any thread.
    /// </summary>
    public ulong OldestNeededLsn => Volatile.Read(ref _oldestNeededLsn);

    /// <summary>Called on the checkpointer's thread when that has moved: only ring a bell.</summary>
    public Action? Advanced { get; set; }

    /// <summary>Place of the newest checkpoint that is known to be whole; 0 when there is none. Any thread.</summary>
    public ulong NewestLsn => Volatile.Read(ref _savedLsn);

    /// <param name="append">Puts the record of a checkpoint into the log.</param>
    public void Start(Action<PendingAppend> append)
    {
        _append = append;
        _thread.Start();
    }

    /// <summary>The log has grown up to here. Appender only, after each group.</summary>
    public void GroupWritten(ulong lsn)
    {
        if (lsn - Volatile.Read(ref _askedLsn) >= (ulong)_options.CheckpointBytes)
        {
            Volatile.Write(ref _askedLsn, lsn);
            _ = _asked.Set();
        }
    }

    /// <summary>Writes one now, if anything is new, and waits for it. Any thread but the appender's.</summary>
    public void Take()
    {
        using SemaphoreSlim done = new(0);
        lock (_asked)
        {
            _waiting.Add(done);
        }

        _ = _asked.Set();
        done.Wait();
    }

    /// <summary>Writes the last one and ends the thread; the appender still runs.</summary>
    public void Dispose()
    {
        _isStopped = true;
        _ = _asked.Set();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _asked.Dispose();
    }

    private void Run()
    {
        while (!_isStopped)
        {
            _ = _asked.WaitOne(_options.CheckpointInterval);
            List<SemaphoreSlim> waiting;
            lock (_asked)
            {
                waiting = _waiting;
                _waiting = [];
            }

            WriteIfDue();
            waiting.ForEach(w => w.Release());
        }

        WriteIfDue();
    }

    /// <summary>Bytes alone are a reason too: mail for other hosts makes the log longer and no maildrop.</summary>
    private void WriteIfDue()
    {
        ulong lsn = _maildrops.Point.Lsn;
        if (lsn > _savedLsn
            && (_maildrops.Changes != _savedChanges || lsn - _savedLsn >= (ulong)_options.CheckpointBytes))
        {
            Write();
        }
    }

    private void Write()
    {
        TableCapture capture = _maildrops.BeginCapture();
        Volatile.Write(ref _askedLsn, capture.Point.Lsn); // also when it fails: not again with every group
        List<Shard> written = [];
        int errno = Write(capture, written, out Manifest? manifest, out byte[] bytes);
        if (errno != 0)
        {
            written.ForEach(s => s.Release());
            _files.Abandon(capture.Point.Lsn);
            if (!_isStopped)
            {
                _observer.Noticed($"a checkpoint could not be written: {Errno.Text(errno)}; trying again later. No "
                    + "mail is affected, but the next start takes longer");
            }

            return;
        }

        foreach (Shard shard in written)
        {
            _maildrops.Replace(shard, capture);
        }

        Volatile.Write(ref _savedLsn, capture.Point.Lsn);
        _savedChanges = capture.Changes;
        Keep(manifest!, Crc32C.Extend(0, bytes));
    }

    private int Write(in TableCapture capture, List<Shard> written, out Manifest? manifest, out byte[] bytes)
    {
        manifest = null;
        bytes = [];
        int errno = _files.Begin(capture.Point.Lsn, out string directory);
        List<ShardReference> references = [];
        List<ShardReference> unflushed = [];
        List<CapturedMaildrop> changed = [];
        for (int number = 0; errno == 0 && number < MaildropTable.Shards; number++)
        {
            changed.Clear();
            _maildrops.Capture(number, capture, changed);
            Shard? old = _maildrops.StoredShard(number);
            if (changed.Count == 0)
            {
                references.AddRange(old is null ? [] : [old.Reference]);
                continue;
            }

            errno = _writer.Write(
                _files.Disk, directory, _storeId, number, old, changed, capture, out ShardReference reference);
            references.Add(reference);
            unflushed.Add(reference);
            if (errno == 0 && unflushed.Count == MaxUnflushed)
            {
                errno = Flush(unflushed, written);
            }
        }

        errno = errno != 0 ? errno : Flush(unflushed, written);
        if (errno != 0)
        {
            _writer.Abandon();
            return errno;
        }

        errno = QueueFile.Write(
            _files.Disk, directory, _storeId, capture.Point.Lsn, capture.Queue, out QueueReference queue);
        if (errno != 0)
        {
            return errno;
        }

        manifest = new Manifest
        {
            StoreId = _storeId,
            Point = capture.Point,
            UidFloor = capture.UidFloor,
            PreviousLsn = _kept.Count > 0 ? _kept[^1].Point.Lsn : 0,
            CreatedMicros = (_clock.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond,
            Shards = references,
            Bodies = capture.Bodies,
            Queue = queue,
            ExtraVersion = capture.Extra.Version,
            Extra = capture.Extra.Bytes,
        };
        bytes = manifest.ToBytes();
        return _files.Finish(manifest, bytes);
    }

    /// <summary>What was written is flushed and opened.</summary>
    private int Flush(List<ShardReference> unflushed, List<Shard> written)
    {
        int errno = _writer.Flush(_files.Disk);
        foreach (ShardReference reference in errno == 0 ? unflushed : [])
        {
            if (_files.OpenShard(reference, out _) is not { } shard)
            {
                return Errno.InputOutput;
            }

            written.Add(shard);
        }

        unflushed.Clear();
        return errno;
    }

    private void Keep(Manifest manifest, uint crc)
    {
        if (_kept.Count == 2)
        {
            _kept.RemoveAt(0);
        }

        _kept.Add(manifest);
        ulong oldest = _kept.Count == 2 ? _kept[0].Point.Lsn : 0;
        Volatile.Write(ref _oldestNeededLsn, oldest);
        int errno = _files.RemoveOthers(_kept);
        if (errno != 0 && !_isStopped)
        {
            _observer.Noticed($"an old checkpoint could not be removed: {Errno.Text(errno)}; trying again later");
        }

        Advanced?.Invoke();
        _append!(new PendingCheckpoint(new CheckpointMeta(manifest.Point.Lsn, oldest, crc)));
    }
}
