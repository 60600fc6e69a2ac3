using FastMail.Storage;

namespace FastMail.Tests.Simulation;

/// <summary>The calls a log makes of its disk.</summary>
internal enum DiskVerb
{
    MakeDirectory,
    List,
    Open,
    Rename,
    Remove,
    RemoveDirectory,
    SyncDirectory,
    Free,
    Length,
    Lock,
    Allocate,
    Truncate,
    Read,
    Write,
    Punch,
    Usage,
    Flush,
    Map,
    Populate,
}

/// <summary>Which thread of the log makes a call: each lane has its own count, so that a count means something.</summary>
internal enum DiskLane
{
    Opener,
    Appender,
    Spare,
    Bodies,
    BodyReader,
    Checkpoint,
    Reclaimer,
}

/// <summary>One call. A value.</summary>
internal readonly record struct DiskCall(DiskVerb Verb, string Path, DiskLane Lane, int Number)
{
    /// <summary>It takes space, so a full disk may refuse it.</summary>
    public bool Allocates => Verb
        is DiskVerb.MakeDirectory or DiskVerb.Open or DiskVerb.Rename or DiskVerb.Allocate or DiskVerb.Write;

    /// <summary>The real disk may fail it.</summary>
    public bool CanFail => Verb is not (DiskVerb.Lock or DiskVerb.Length or DiskVerb.Free);
}

/// <summary>What becomes of a call.</summary>
internal enum Fate
{
    Done,
    Failed,
    Interrupted,
    Shortened,
    EndOfProcess,
}

/// <summary>
/// When what goes wrong for one process. Made and armed by the test's thread; asked under the disk's lock by any.
/// </summary>
internal sealed class FaultPlan(int seed, int stutterPercent = 0, Action? slowCall = null)
{
    private readonly Random[] _random =
        [new(seed), new(seed + 1), new(seed + 2), new(seed + 3), new(seed + 4), new(seed + 5), new(seed + 6)];

    private readonly int[] _count = new int[7];
    private DiskLane _lane;
    private int _at = -1;
    private bool _isSticky;
    private bool _isBroken;
    private Fate _fate;
    private Func<DiskCall, bool> _only = static _ => true;

    /// <summary>What a failing call answers.</summary>
    public int ErrorNumber { get; private set; }

    /// <summary>What was armed has happened.</summary>
    public bool HasFired => FiredAt >= 0;

    /// <summary>The number, in its lane, of the call in which it has; -1 before.</summary>
    public int FiredAt { get; private set; } = -1;

    public int CallsIn(DiskLane lane)
    {
        return _count[(int)lane];
    }

    public Random RandomOf(DiskLane lane)
    {
        return _random[(int)lane];
    }

    /// <summary>
    /// The process ends in the call of that lane which comes after so many others, in the first such call when it is
    /// said which.
    /// </summary>
    public void EndProcessAfter(DiskLane lane, int calls, Func<DiskCall, bool>? only = null)
    {
        Arm(lane, calls, Fate.EndOfProcess, only);
    }

    /// <summary>
    /// The call fails that comes after so many others and can fail this way; for ever: and all calls behind it, of
    /// every thread.
    /// </summary>
    public void FailAfter(DiskLane lane, int calls, int errno, bool isForEver, Func<DiskCall, bool>? only = null)
    {
        ErrorNumber = errno;
        _isSticky = isForEver;
        Arm(lane, calls, Fate.Failed, only);
    }

    /// <summary>Names the call and decides it.</summary>
    public Fate Decide(DiskVerb verb, string path, DiskLane lane, out DiskCall call)
    {
        call = new DiskCall(verb, path, lane, _count[(int)lane]++);
        if (_isBroken && Suits(call))
        {
            return Fate.Failed;
        }

        bool isDue = _at >= 0 && lane == _lane && call.Number >= _at && _only(call);
        if (isDue && (_fate == Fate.EndOfProcess || Suits(call)))
        {
            _at = -1;
            _isBroken = _isSticky;
            FiredAt = call.Number;
            return _fate;
        }

        return Stutter(verb, lane);
    }

    private bool Suits(in DiskCall call)
    {
        return ErrorNumber == Errno.NoSpace ? call.Allocates : call.CanFail;
    }

    private Fate Stutter(DiskVerb verb, DiskLane lane)
    {
        if (stutterPercent == 0 || RandomOf(lane).Next(100) >= stutterPercent)
        {
            return Fate.Done;
        }

        slowCall?.Invoke();
        return verb != DiskVerb.Write ? Fate.Done : RandomOf(lane).Next(2) == 0 ? Fate.Interrupted : Fate.Shortened;
    }

    private void Arm(DiskLane lane, int calls, Fate fate, Func<DiskCall, bool>? only)
    {
        _only = only ?? _only;
        _lane = lane;
        _fate = fate;
        _at = _count[(int)lane] + calls;
    }
}
