using System.Globalization;

namespace FastMail.Storage;

/// <summary>A checkpoint that was found and checked: its manifest, its open shards and the queue. Immutable.</summary>
internal sealed record Checkpoint(Manifest Manifest, IReadOnlyList<Shard> Shards, QueueCapture Queue);

/// <summary>
/// The directory <c>ckpt/</c>: one directory a checkpoint, named by its place in the log, in it <c>MANIFEST</c> and the
/// shard files that were written for it; the shards that had not changed stay where they were and are named by the
/// manifest. Used by the thread that opens the log, then by the checkpointer.
/// </summary>
internal sealed class CheckpointFiles(IDisk disk, string dataPath, Guid storeId)
{
    public const string DirectoryName = "ckpt";

    private readonly string _path = Path.Join(dataPath, DirectoryName);

    public IDisk Disk => disk;

    /// <summary>
    /// Looks for the newest checkpoint whose every octet is what was written, and is not older than
    /// <paramref name="firstLsn"/>: what is older cannot be continued by the log. Changes nothing.
    /// </summary>
    /// <exception cref="IOException">The directory cannot be listed.</exception>
    public FoundCheckpoint Find(ulong firstLsn, Action<string> notice)
    {
        LogPoint proven = default;
        ulong needed = 0;
        bool isNewest = true;
        foreach (ulong lsn in List())
        {
            Manifest? manifest = ReadManifest(lsn, out string why);
            if (manifest is null)
            {
                if (why.Length > 0)
                {
                    isNewest = false;
                    Tell(notice, lsn, why);
                }

                continue; // without a MANIFEST it was never finished
            }

            needed = Math.Max(needed, manifest.PreviousLsn);
            proven = manifest.Point.Lsn > proven.Lsn ? manifest.Point : proven;
            if (lsn < firstLsn)
            {
                Tell(notice, lsn, "the log does not reach back to it");
            }
            else if (Open(manifest, out why) is { } checkpoint)
            {
                // A newer one that is damaged now may have let go of all below this one.
                needed = isNewest ? needed : Math.Max(needed, lsn);
                return new FoundCheckpoint(checkpoint, proven, needed);
            }
            else
            {
                isNewest = false;
                Tell(notice, lsn, why);
            }
        }

        return new FoundCheckpoint(null, proven, needed);
    }

    /// <summary>Places of all that is there, finished or not, newest first.</summary>
    /// <exception cref="IOException">The directory cannot be listed.</exception>
    public List<ulong> List()
    {
        List<string> names = [];
        int errno = disk.ListDirectories(_path, names);
        Errno.Check(errno == Errno.NotFound ? 0 : errno, "list", _path);
        List<ulong> all = [];
        foreach (string name in names)
        {
            if (TryParse(name, out ulong lsn))
            {
                all.Add(lsn);
            }
        }

        all.Sort(static (a, b) => b.CompareTo(a));
        return all;
    }

    public string DirectoryOf(ulong lsn)
    {
        return Path.Join(_path, lsn.ToString("x16", CultureInfo.InvariantCulture));
    }

    /// <summary>Null when there is none that is intact; the reason is empty when there is none at all.</summary>
    public Manifest? ReadManifest(ulong lsn, out string why)
    {
        Manifest? manifest = Manifest.Read(disk, Path.Join(DirectoryOf(lsn), Manifest.FileName), out why);
        if (manifest is not null && (manifest.StoreId != storeId || manifest.Point.Lsn != lsn))
        {
            why = "its MANIFEST belongs to another store or another checkpoint";
            return null;
        }

        return manifest;
    }

    /// <summary>
    /// All files of it, checked; null, with the reason, when one of them is not what was written. The shards are the
    /// caller's.
    /// </summary>
    public Checkpoint? Open(Manifest manifest, out string why)
    {
        ulong lsn = manifest.Point.Lsn;
        QueueCapture? queue = QueueFile.TryRead(disk, DirectoryOf(lsn), storeId, lsn, manifest.Queue, out why);
        List<Shard> shards = [];
        foreach (ShardReference reference in queue is null ? [] : manifest.Shards)
        {
            if (OpenShard(reference, out why) is not { } shard)
            {
                shards.ForEach(s => s.Release());
                return null;
            }

            shards.Add(shard);
        }

        return queue is null ? null : new Checkpoint(manifest, shards, queue);
    }

    public Shard? OpenShard(in ShardReference reference, out string why)
    {
        string path = Path.Join(DirectoryOf(reference.Lsn), Shard.FileName(reference.Number));
        return Shard.Open(disk, path, storeId, reference, out why);
    }

    /// <summary>
    /// Makes the names of a checkpoint durable that was found at the start: the process that made it may have ended
    /// before it had flushed them, and the cache shows such names as well as any other.
    /// </summary>
    public int Sync(Manifest manifest)
    {
        int errno = 0;
        foreach (ulong lsn in manifest.Shards.Select(s => s.Lsn).Append(manifest.Point.Lsn).Distinct())
        {
            errno = errno != 0 ? errno : disk.SyncDirectory(DirectoryOf(lsn));
        }

        errno = errno != 0 ? errno : disk.SyncDirectory(_path);
        return errno != 0 ? errno : disk.SyncDirectory(dataPath);
    }

    /// <summary>Makes the directory of a new checkpoint, its name durable and without a manifest.</summary>
    public int Begin(ulong lsn, out string directory)
    {
        directory = DirectoryOf(lsn);
        int errno = disk.CreateDirectory(_path);
        errno = errno != 0 ? errno : disk.SyncDirectory(dataPath);
        errno = errno != 0 ? errno : disk.CreateDirectory(directory);
        errno = errno != 0 ? errno : disk.Remove(Path.Join(directory, Manifest.FileName)); // of a damaged one there
        return errno != 0 ? errno : disk.SyncDirectory(_path);
    }

    /// <summary>
    /// Ends a checkpoint: the names of its shards are durable before its manifest says that they are there.
    /// </summary>
    public int Finish(Manifest manifest, ReadOnlySpan<byte> bytes)
    {
        string directory = DirectoryOf(manifest.Point.Lsn);
        string path = Path.Join(directory, Manifest.FileName);
        string temporary = path + ".tmp";
        int errno = disk.SyncDirectory(directory);
        IDiskFile? file = null;
        errno = errno != 0 ? errno : disk.Open(temporary, FileUse.CreateEmpty, out file);
        using (file)
        {
            errno = errno != 0 ? errno : file!.WriteAll(bytes, 0);
            errno = errno != 0 ? errno : file!.Flush();
        }

        errno = errno != 0 ? errno : disk.Rename(temporary, path);
        return errno != 0 ? errno : disk.SyncDirectory(directory);
    }

    /// <summary>
    /// Removes what a checkpoint that failed has left, which may be what fills the disk. What cannot be removed now the
    /// next checkpoint removes.
    /// </summary>
    public void Abandon(ulong lsn)
    {
        _ = RemoveOthers(DirectoryOf(lsn), []);
    }

    /// <summary>
    /// Removes everything that none of these needs. The manifests go first, so that a checkpoint is never seen without
    /// its shards. A failure leaves something behind for the next time.
    /// </summary>
    public int RemoveOthers(IReadOnlyList<Manifest> kept)
    {
        List<string> names = [];
        int errno = disk.ListDirectories(_path, names);
        HashSet<string> needed = new(StringComparer.Ordinal);
        foreach (Manifest manifest in kept)
        {
            _ = needed.Add(Path.Join(DirectoryOf(manifest.Point.Lsn), Manifest.FileName));
            _ = needed.Add(Path.Join(DirectoryOf(manifest.Point.Lsn), QueueFile.FileName));
            needed.UnionWith(manifest.Shards.Select(
                s => Path.Join(DirectoryOf(s.Lsn), Shard.FileName(s.Number))));
        }

        foreach (string name in names)
        {
            if (errno == 0 && TryParse(name, out _))
            {
                errno = RemoveOthers(Path.Join(_path, name), needed);
            }
        }

        return errno == Errno.NotFound ? 0 : errno;
    }

    private int RemoveOthers(string directory, HashSet<string> needed)
    {
        List<string> files = [];
        int errno = disk.List(directory, files);
        files.Sort(StringComparer.Ordinal); // MANIFEST before shards
        int left = 0;
        foreach (string name in files)
        {
            string path = Path.Join(directory, name);
            if (needed.Contains(path))
            {
                left++;
            }
            else if (errno == 0)
            {
                errno = disk.Remove(path);
            }
        }

        return errno != 0 || left > 0 ? errno : disk.RemoveDirectory(directory);
    }

    private static void Tell(Action<string> notice, ulong lsn, string why)
    {
        notice($"the checkpoint at position 0x{lsn:x} is not used: {why}. No mail is affected: the index is rebuilt "
            + "from an older one or from the log");
    }

    private static bool TryParse(string name, out ulong lsn)
    {
        lsn = 0;
        return name.Length == 16
            && ulong.TryParse(name, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out lsn);
    }
}

/// <summary>What a search for checkpoints found. A value.</summary>
/// <param name="Checkpoint">The newest that can be used; null when there is none.</param>
/// <param name="Proven">
/// The furthest place that any manifest, usable or not, proves to have been durable; the beginning when there is none.
/// </param>
/// <param name="OldestNeededLsn">What lies below may have been dropped, by what the manifests say.</param>
internal readonly record struct FoundCheckpoint(Checkpoint? Checkpoint, LogPoint Proven, ulong OldestNeededLsn);
