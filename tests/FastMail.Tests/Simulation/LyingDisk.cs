namespace FastMail.Tests.Simulation;

/// <summary>
/// A disk in memory that keeps its promises to the letter and no further: what was not flushed may be lost, late or
/// torn when the power goes, and a name that was not synced may be missing or be back. Survives the processes that use
/// it, each through a <see cref="DiskPort"/> of its own. Owned by one test; the ports lock it.
/// </summary>
internal sealed class LyingDisk(int blockBytes, long capacityBytes = 64L << 20)
{
    /// <summary>The one directory that is there from the beginning.</summary>
    public const string Root = "/disk";

    private readonly Dictionary<string, LyingContent> _durable = new(StringComparer.Ordinal)
    {
        [Root] = new LyingContent(blockBytes, isDirectory: true),
    };

    private readonly List<NameChange> _unsynced = [];
    private Dictionary<string, LyingContent> _names = new(StringComparer.Ordinal);

    /// <summary>Held for every call.</summary>
    public Lock Gate { get; } = new();

    /// <summary>Flush reports success and does nothing: the disk that must be found out.</summary>
    public bool IsFlushALie { get; init; }

    /// <summary>Sync of a directory reports success and does nothing.</summary>
    public bool IsSyncALie { get; init; }

    public long FreeBytes => capacityBytes - _names.Values.Sum(c => c.Length);

    public IReadOnlyDictionary<string, LyingContent> Names => _names;

    private bool IsSettled => _unsynced.Count == 0 && _durable.Count == _names.Count;

    /// <summary>The first process to see the disk, or the next.</summary>
    public DiskPort Boot(FaultPlan plan)
    {
        if (_names.Count == 0)
        {
            _names = new(_durable, StringComparer.Ordinal);
        }

        return new DiskPort(this, plan);
    }

    /// <summary>The same disk once more, to see what else could become of it. No process uses this one any more.</summary>
    public LyingDisk Copy()
    {
        LyingDisk copy = new(blockBytes, capacityBytes) { IsFlushALie = IsFlushALie, IsSyncALie = IsSyncALie };
        Dictionary<LyingContent, LyingContent> contents = new(ReferenceEqualityComparer.Instance);
        copy._durable.Clear();
        foreach ((string path, LyingContent content) in _durable)
        {
            copy._durable.Add(path, CopyOf(content));
        }

        foreach ((string path, LyingContent content) in _names)
        {
            copy._names.Add(path, CopyOf(content));
        }

        copy._unsynced.AddRange(_unsynced.Select(c => c with { Content = CopyOf(c.Content) }));
        return copy;

        LyingContent CopyOf(LyingContent content)
        {
            if (!contents.TryGetValue(content, out LyingContent? other))
            {
                contents.Add(content, other = content.Copy());
            }

            return other;
        }
    }

    /// <summary>
    /// No process, and no loss of power, could tell it from the other: all of both is flushed and synced, and the same.
    /// </summary>
    public bool IsSettledLike(LyingDisk other)
    {
        return IsSettled && other.IsSettled && _names.Count == other._names.Count
            && _names.All(n => other._names.TryGetValue(n.Key, out LyingContent? content) && content.IsSettledLike(n.Value));
    }

    /// <summary>
    /// The process was killed, the machine was not: unflushed blocks and unsynced names stay, visible and unproven.
    /// Its log is disposed already.
    /// </summary>
    public void EndProcess(bool evicts)
    {
        lock (Gate)
        {
            foreach (LyingContent content in _names.Values)
            {
                content.LockedBy = null;
                if (evicts && !content.IsDirectory)
                {
                    content.Evict();
                }
            }
        }
    }

    /// <summary>The machine lost its power. The log of its process is disposed already.</summary>
    /// <param name="random">Chooses what survives.</param>
    /// <param name="keepsNothing">Nothing survives that was not flushed, no name that was not synced.</param>
    public void LosePower(Random random, bool keepsNothing = false)
    {
        lock (Gate)
        {
            int style = keepsNothing ? 0 : random.Next(4);
            int kept = random.Next(_unsynced.Count + 1);
            for (int i = 0; i < _unsynced.Count; i++)
            {
                bool survives = style switch
                {
                    0 => false,
                    1 => i < kept, // in order, as a journal would
                    _ => random.Next(2) == 0,
                };
                if (survives)
                {
                    _unsynced[i].ApplyTo(_durable);
                }
            }

            _unsynced.Clear();
            RemoveOrphans();
            int seed = random.Next();
            foreach ((string path, LyingContent content) in _durable)
            {
                content.LosePower(RandomOf(seed, path), keepsNothing);
            }

            _names = new(_durable, StringComparer.Ordinal);
        }
    }

    /// <summary>Chance of one file: independent of the order in which threads came by.</summary>
    public static Random RandomOf(int seed, string path)
    {
        uint hash = (uint)seed;
        foreach (char c in path)
        {
            hash = (hash ^ c) * 16777619;
        }

        return new Random((int)hash);
    }

    /// <summary>Content without a name yet.</summary>
    public LyingContent Make(bool isDirectory)
    {
        return new LyingContent(blockBytes, isDirectory);
    }

    public void Change(NameChange change)
    {
        change.ApplyTo(_names);
        _unsynced.Add(change);
    }

    public void SyncDirectory(string path)
    {
        foreach (NameChange change in _unsynced.Where(c => c.Directory == path))
        {
            change.ApplyTo(_durable);
        }

        _ = _unsynced.RemoveAll(c => c.Directory == path);
    }

    public LyingContent? Find(string path)
    {
        return _names.GetValueOrDefault(path);
    }

    public static string Parent(string path)
    {
        return Path.GetDirectoryName(path)!;
    }

    /// <summary>What is in a directory that was lost is lost.</summary>
    private void RemoveOrphans()
    {
        while (_durable.Keys.FirstOrDefault(p => p != Root && !_durable.ContainsKey(Parent(p))) is { } orphan)
        {
            _ = _durable.Remove(orphan);
        }
    }
}

/// <summary>A name that came, went or changed, not yet synced. A value.</summary>
internal sealed record NameChange(string Directory, string? Removed, string? Added, LyingContent Content)
{
    /// <summary>A rename is atomic, and content has one name at a time, whatever else was lost before.</summary>
    public void ApplyTo(Dictionary<string, LyingContent> names)
    {
        if (Removed is not null && names.TryGetValue(Removed, out LyingContent? present)
            && ReferenceEquals(present, Content))
        {
            _ = names.Remove(Removed);
        }

        if (Added is not null)
        {
            foreach (string other in names.Where(n => ReferenceEquals(n.Value, Content)).Select(n => n.Key).ToArray())
            {
                _ = names.Remove(other);
            }

            names[Added] = Content;
        }
    }
}
