using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>
/// The bare loop of a log that only grows: the groups of <see cref="BareLoop"/>, but into ever new files, and a second
/// thread fills the next file with zeros meanwhile, a MiB of zeros for each MiB of records. Used by one benchmark thread.
/// </summary>
internal sealed class BareGrowingLoop : IDisposable
{
    private const int Step = 1 << 20;
    private const int FlushSteps = 64;

    private readonly string _directory;
    private readonly int _recordBytes;
    private readonly int _group;
    private readonly int _steps;
    private readonly SemaphoreSlim _wanted = new(0);
    private readonly SemaphoreSlim _filled = new(0);
    private readonly Thread _filler;
    private BareLoop _loop;
    private BareLoop? _next;
    private long _written;
    private int _made;
    private volatile bool _stopping;

    /// <summary>Makes the first file, and starts the thread.</summary>
    /// <param name="directory">Where the files are made.</param>
    /// <param name="recordBytes">Octets of a record.</param>
    /// <param name="group">Records a group.</param>
    /// <param name="steps">MiB of a file; more than a group.</param>
    public BareGrowingLoop(string directory, int recordBytes, int group, int steps)
    {
        _directory = directory;
        _recordBytes = recordBytes;
        _group = group;
        _steps = steps;
        _loop = Make();
        _loop.Fill(_steps * (long)Step);
        _loop.Flush();
        _filler = new Thread(FillNext) { IsBackground = true, Name = "zeros" };
        _filler.Start();
    }

    /// <summary>Writes and flushes one group; at the end of the file it goes on in the next.</summary>
    public void Commit()
    {
        if (_loop.IsFull)
        {
            _wanted.Release(_steps - (int)(_written / Step)); // what the file's last group would have asked for
            _filled.Wait();
            _loop.Dispose();
            _loop = Interlocked.Exchange(ref _next, null)!;
            _written = 0;
        }

        long before = _written / Step;
        _written += _loop.Commit();
        int steps = (int)((_written / Step) - before);
        if (steps > 0)
        {
            _wanted.Release(steps);
        }
    }

    public void Dispose()
    {
        _stopping = true;
        _wanted.Release();
        _filler.Join();
        _loop.Dispose();
        _next?.Dispose();
        _wanted.Dispose();
        _filled.Dispose();
    }

    private void FillNext()
    {
        while (true)
        {
            BareLoop next = Make();
            for (int i = 0; i < _steps; i++)
            {
                _wanted.Wait();
                if (_stopping)
                {
                    next.Dispose();
                    return;
                }

                next.Fill(Step);
                if ((i + 1) % FlushSteps == 0 || i + 1 == _steps)
                {
                    next.Flush();
                }
            }

            Volatile.Write(ref _next, next);
            _filled.Release();
        }
    }

    private BareLoop Make()
    {
        return new BareLoop(Path.Join(_directory, $"growing-{_made++}"), _recordBytes, _group);
    }
}
