using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Counts, for every segment, the messages that somebody still needs: a record is live while one of its mailbox entries
/// is, or one of its relay recipients, which count once together. Owned by the <see cref="MaildropTable"/>; guarded by its lock. Most mail has one recipient
/// and needs no more than the two numbers of its segment; only records with several references are counted one by one.
/// </summary>
internal sealed class Liveness(SegmentList segments)
{
    private const int LargeBodyBytes = 64 * 1024;
    private const int MostHoles = 1 << 16; // beyond, large dead bodies wait for their segment to be dropped

    private readonly Dictionary<ulong, int> _shared = []; // by address; absent: one reference
    private readonly List<ulong> _holes = [];
    private Segment? _last; // where the record before was: mail comes and goes in runs

    /// <summary>Called when a segment or a large body has died, under the lock: only ring a bell.</summary>
    public Action? Died { get; set; }

    /// <summary>The log says that its segments below this are no longer needed.</summary>
    public ulong RetiredBelow { get; set; }

    /// <summary>No cold segment was ever made at or above this address.</summary>
    public ulong NextColdLsn { get; set; } = SegmentList.ColdLsn;

    /// <summary>Records with several references, by address: for a checkpoint.</summary>
    public IReadOnlyDictionary<ulong, int> Shared => _shared;

    /// <summary>A new record.</summary>
    /// <param name="lsn">Its address.</param>
    /// <param name="bytes">Its length as <see cref="MaildropEntry.RecordBytes"/> tells it.</param>
    /// <param name="references">Its mailbox entries, and one more if it is in the queue.</param>
    public void Enter(ulong lsn, long bytes, int references)
    {
        if (references == 0 || Find(lsn) is not { } segment)
        {
            return;
        }

        segment.Life.Messages++;
        segment.Life.Bytes += bytes;
        if (references > 1)
        {
            _shared[lsn] = references;
        }
    }

    /// <summary>One reference to a record is gone.</summary>
    public void Release(ulong lsn, long bytes, bool isLarge)
    {
        ref int references = ref CollectionsMarshal.GetValueRefOrNullRef(_shared, lsn);
        if (!System.Runtime.CompilerServices.Unsafe.IsNullRef(ref references))
        {
            if (--references > 0)
            {
                return;
            }

            _ = _shared.Remove(lsn);
        }

        if (Find(lsn) is { } segment)
        {
            Leave(segment, bytes);
            if (isLarge && _holes.Count < MostHoles)
            {
                _holes.Add(lsn);
                Died?.Invoke();
            }
        }
    }

    /// <summary>
    /// A record has a new address, with all the references it has left. Entries that were removed meanwhile are not
    /// among them.
    /// </summary>
    public void Move(ulong from, ulong to, long bytes)
    {
        if (_shared.Remove(from, out int references))
        {
            _shared[to] = references;
        }

        if (Find(from) is { } source)
        {
            Leave(source, bytes);
        }

        if (Find(to) is { } target)
        {
            target.Life.Messages++;
            target.Life.Bytes += bytes;
        }
    }

    /// <summary>More references to a record, of which some are known already. Opening thread only.</summary>
    public void Join(ulong lsn, long bytes, int before, int more)
    {
        if (more > 0 && before > 0)
        {
            _shared[lsn] = before + more;
        }
        else
        {
            Enter(lsn, bytes, more);
        }
    }

    /// <summary>Restores what a checkpoint kept.</summary>
    public void Restore(ulong lsn, int references)
    {
        _shared[lsn] = references;
    }

    /// <summary>Takes the records whose bodies became garbage, for punching them out.</summary>
    public void TakeHoles(List<ulong> into)
    {
        into.AddRange(_holes);
        _holes.Clear();
    }

    public static bool IsLarge(uint wireBytes)
    {
        return wireBytes >= LargeBodyBytes;
    }

    private void Leave(Segment segment, long bytes)
    {
        segment.Life.Messages--;
        segment.Life.Bytes -= bytes;
        if (segment.Life.Messages == 0)
        {
            Died?.Invoke();
        }
    }

    private Segment? Find(ulong lsn)
    {
        if (_last is null || lsn < _last.BaseLsn || lsn >= _last.EndLsn)
        {
            _last = segments.Find(lsn);
        }

        return _last;
    }
}
