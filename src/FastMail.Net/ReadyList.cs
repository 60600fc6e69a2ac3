namespace FastMail.Net;

/// <summary>
/// Work that waits for the loop thread: two arrays that change places, so neither adding nor running allocates once
/// they have grown. Owned by the loop; <see cref="Add"/> from any thread, the rest on the loop thread.
/// </summary>
internal sealed class ReadyList
{
    private readonly Lock _gate = new();
    private ILoopWork?[] _filling = new ILoopWork?[64];
    private ILoopWork?[] _running = new ILoopWork?[64];
    private int _count;
    private int _runningCount;
    private bool _isDraining;

    /// <summary>True when the caller must wake the loop thread: it was at rest and nobody else has woken it.</summary>
    public bool Add(ILoopWork work)
    {
        lock (_gate)
        {
            if (_count == _filling.Length)
            {
                Array.Resize(ref _filling, _count * 2);
            }

            _filling[_count++] = work;
            return _count == 1 && !_isDraining;
        }
    }

    /// <summary>What was added until now. What comes meanwhile waits for the next round: that is the fairness.</summary>
    public ReadOnlySpan<ILoopWork?> BeginDrain()
    {
        lock (_gate)
        {
            (_running, _filling) = (_filling, _running);
            _runningCount = _count;
            _count = 0;
            _isDraining = true;
            return _running.AsSpan(0, _runningCount);
        }
    }

    /// <summary>True when work came meanwhile, for which nobody has rung.</summary>
    public bool EndDrain()
    {
        lock (_gate)
        {
            Array.Clear(_running, 0, _runningCount);
            _isDraining = false;
            return _count > 0;
        }
    }
}
