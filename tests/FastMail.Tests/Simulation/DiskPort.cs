using FastMail.Storage;

namespace FastMail.Tests.Simulation;

/// <summary>
/// The disk as one process sees it: every call is counted, may fail or end the process, and once the process has ended
/// nothing reaches the disk any more. Any thread.
/// </summary>
internal sealed class DiskPort(LyingDisk disk, FaultPlan plan) : IDisk
{
    private const int TracedCalls = 48;

    private readonly Queue<string> _trace = new();

    /// <summary>The process has ended: all calls fail, and what they would have changed stays as it is.</summary>
    public bool IsDown { get; private set; }

    public FaultPlan Plan => plan;

    public LyingDisk Disk => disk;

    /// <summary>Told of every call after it, outside the lock.</summary>
    public Action<DiskCall>? Called { get; set; }

    /// <summary>The last calls, oldest first.</summary>
    public string Trace
    {
        get
        {
            lock (disk.Gate)
            {
                return string.Join('\n', _trace);
            }
        }
    }

    /// <summary>kill -9, or the power switch.</summary>
    public void End()
    {
        lock (disk.Gate)
        {
            IsDown = true;
        }
    }

    public int CreateDirectory(string path)
    {
        return Call(DiskVerb.MakeDirectory, path, static (disk, path, _) =>
        {
            if (disk.Find(LyingDisk.Parent(path)) is not { IsDirectory: true })
            {
                return Errno.NotFound;
            }

            if (disk.Find(path) is null)
            {
                disk.Change(new NameChange(LyingDisk.Parent(path), null, path, disk.Make(isDirectory: true)));
            }

            return 0;
        });
    }

    public int List(string directory, ICollection<string> names)
    {
        return Call(DiskVerb.List, directory, (disk, path, _) =>
        {
            if (disk.Find(path) is not { IsDirectory: true })
            {
                return Errno.NotFound;
            }

            foreach ((string name, LyingContent content) in disk.Names)
            {
                if (!content.IsDirectory && LyingDisk.Parent(name) == path)
                {
                    names.Add(Path.GetFileName(name));
                }
            }

            return 0;
        });
    }

    public int ListDirectories(string directory, ICollection<string> names)
    {
        return Call(DiskVerb.List, directory, (disk, path, _) =>
        {
            if (disk.Find(path) is not { IsDirectory: true })
            {
                return Errno.NotFound;
            }

            foreach ((string name, LyingContent content) in disk.Names)
            {
                if (content.IsDirectory && LyingDisk.Parent(name) == path)
                {
                    names.Add(Path.GetFileName(name));
                }
            }

            return 0;
        });
    }

    public int Open(string path, FileUse use, out IDiskFile? file)
    {
        IDiskFile? opened = null;
        int errno = Call(DiskVerb.Open, path, (disk, path, _) =>
        {
            LyingContent? content = disk.Find(path);
            bool mustExist = use is FileUse.Existing or FileUse.ExistingUncached;
            if (content is null && (mustExist || disk.Find(LyingDisk.Parent(path)) is null))
            {
                return Errno.NotFound;
            }

            if (content is not null && use == FileUse.CreateNew)
            {
                return Errno.Exists;
            }

            if (content is not null && use == FileUse.CreateEmpty)
            {
                content.SetLength(0);
            }

            if (content is null)
            {
                content = disk.Make(isDirectory: false);
                disk.Change(new NameChange(LyingDisk.Parent(path), null, path, content));
            }

            opened = new PortFile(this, content, path);
            return 0;
        });
        file = opened;
        return errno;
    }

    public int Rename(string from, string to)
    {
        return Call(DiskVerb.Rename, from, (disk, from, _) =>
        {
            if (disk.Find(from) is not { } content)
            {
                return Errno.NotFound;
            }

            disk.Change(new NameChange(LyingDisk.Parent(to), from, to, content));
            return 0;
        });
    }

    public int Remove(string path)
    {
        return Call(DiskVerb.Remove, path, static (disk, path, _) =>
        {
            if (disk.Find(path) is { } content)
            {
                disk.Change(new NameChange(LyingDisk.Parent(path), path, null, content));
            }

            return 0;
        });
    }

    public int RemoveDirectory(string path)
    {
        return Call(DiskVerb.RemoveDirectory, path, static (disk, path, _) =>
        {
            if (disk.Find(path) is not { } content)
            {
                return 0;
            }

            if (disk.Names.Keys.Any(name => LyingDisk.Parent(name) == path))
            {
                return 39; // ENOTEMPTY
            }

            disk.Change(new NameChange(LyingDisk.Parent(path), path, null, content));
            return 0;
        });
    }

    public int SyncDirectory(string path)
    {
        return Call(DiskVerb.SyncDirectory, path, static (disk, path, isCut) =>
        {
            if (!isCut && !disk.IsSyncALie)
            {
                disk.SyncDirectory(path);
            }

            return disk.Find(path) is null ? Errno.NotFound : 0;
        });
    }

    public int FreeBytes(string path, out long bytes)
    {
        long free = 0;
        int errno = Call(DiskVerb.Free, path, (disk, _, _) =>
        {
            free = Math.Max(0, disk.FreeBytes);
            return 0;
        });
        bytes = free;
        return errno;
    }

    public bool FlushReportsErrors()
    {
        return true;
    }

    /// <summary>
    /// Does one call unless fate is against it. When the process ends in it, it takes effect as far as a call without
    /// a sync can: as something unflushed.
    /// </summary>
    public int Call(
        DiskVerb verb, string path, Func<LyingDisk, string, bool, int> action, Func<DiskLane, Fate, int?>? odd = null)
    {
        DiskCall call;
        int errno;
        lock (disk.Gate)
        {
            if (IsDown)
            {
                return Errno.InputOutput;
            }

            Fate fate = plan.Decide(verb, path, LaneOfThread(), out call);
            errno = Do(call, fate, action, odd);
            IsDown |= fate == Fate.EndOfProcess;
            Note($"{call.Lane} {call.Number} {verb} {Path.GetFileName(path)}: {fate} {errno}");
        }

        Called?.Invoke(call);
        return errno;
    }

    private int Do(
        in DiskCall call, Fate fate, Func<LyingDisk, string, bool, int> action, Func<DiskLane, Fate, int?>? odd)
    {
        if (fate != Fate.Done && odd?.Invoke(call.Lane, fate) is { } answered)
        {
            return answered;
        }

        switch (fate)
        {
            case Fate.Failed:
                return plan.ErrorNumber;
            case Fate.EndOfProcess:
                _ = action(disk, call.Path, true);
                return Errno.InputOutput;
            default:
                return action(disk, call.Path, false);
        }
    }

    private void Note(string what)
    {
        if (_trace.Count == TracedCalls)
        {
            _ = _trace.Dequeue();
        }

        _trace.Enqueue(what);
    }

    private static DiskLane LaneOfThread()
    {
        return Thread.CurrentThread.Name switch
        {
            "fastmail appender" => DiskLane.Appender,
            "fastmail spare segment" => DiskLane.Spare,
            "fastmail bodies" => DiskLane.Bodies,
            "fastmail body reader" => DiskLane.BodyReader,
            "fastmail checkpoint" => DiskLane.Checkpoint,
            "fastmail reclaimer" => DiskLane.Reclaimer,
            _ => DiskLane.Opener,
        };
    }
}
