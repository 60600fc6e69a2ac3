using System.Globalization;
using System.Text;

namespace FastMail.Storage;

/// <summary>
/// The data directory, locked for this process: <c>FORMAT</c>, <c>LOCK</c>, <c>log/</c>, <c>body/</c>, <c>ckpt/</c>,
/// <c>quarantine/</c> once there was damage. Owned by the <see cref="LogParts"/>; used by the thread that opens the log.
/// </summary>
internal sealed class DataDirectory : IDisposable
{
    private const string LockName = "LOCK";
    private const string LogName = "log";

    private readonly IDiskFile _lock;

    private DataDirectory(IDisk disk, string path, IDiskFile locked)
    {
        Disk = disk;
        Path = path;
        LogPath = System.IO.Path.Join(path, LogName);
        _lock = locked;
    }

    public IDisk Disk { get; }

    public string Path { get; }

    public string LogPath { get; }

    /// <summary>
    /// Makes the directory when there is none and takes its lock, which ends with the process at the latest.
    /// </summary>
    /// <exception cref="DataDirectoryInUseException">Another process holds the lock.</exception>
    /// <exception cref="IOException">The disk failed.</exception>
    public static DataDirectory Lock(IDisk disk, string directory)
    {
        string path = System.IO.Path.GetFullPath(directory);
        Errno.Check(disk.CreateDirectory(path), "make", path);
        string lockPath = System.IO.Path.Join(path, LockName);
        Errno.Check(disk.Open(lockPath, FileUse.OpenOrCreate, out IDiskFile? file), "open", lockPath);
        int errno = file!.TryLock();
        if (errno == 0)
        {
            return new DataDirectory(disk, path, file);
        }

        Span<byte> owner = stackalloc byte[20];
        _ = file.Read(owner, 0, out int read); // only to say who; unreadable is as good as unknown
        file.Dispose();
        if (errno != Errno.WouldBlock)
        {
            throw Errno.Failure(errno, "lock", lockPath);
        }

        string process = Encoding.ASCII.GetString(owner[..read]).Trim();
        throw new DataDirectoryInUseException(
            $"{path} is in use by process {(process.Length > 0 ? process : "(unknown)")}; "
            + "two servers must not share a data directory");
    }

    /// <summary>Writes this process's id into the lock file, for the message of the next one that tries.</summary>
    public void WriteOwner()
    {
        string text = Environment.ProcessId.ToString(CultureInfo.InvariantCulture).PadRight(19) + "\n";
        string path = System.IO.Path.Join(Path, LockName);
        Errno.Check(_lock.WriteAll(Encoding.ASCII.GetBytes(text), 0), "write", path);
    }

    public List<string> ListLog()
    {
        List<string> names = [];
        int errno = Disk.List(LogPath, names);
        Errno.Check(errno == Errno.NotFound ? 0 : errno, "list", LogPath);
        return names;
    }

    /// <summary>
    /// Makes the first segment, then FORMAT: a crash in between leaves a directory that is simply made anew.
    /// </summary>
    /// <exception cref="DamagedLogException">There was a store, and its FORMAT is gone; nothing was touched.</exception>
    public StoreFormat MakeStore(MailLogOptions options, TimeProvider clock, Random random)
    {
        List<string> unused = FindUnusedSegments();
        Errno.Check(Disk.CreateDirectory(LogPath), "make", LogPath);
        // Now, and not together with the name of FORMAT: that must not survive a power loss which takes log/.
        Errno.Check(Disk.SyncDirectory(Path), "flush", Path);
        foreach (string path in unused)
        {
            Errno.Check(Disk.Remove(path), "remove", path);
        }

        Span<byte> id = stackalloc byte[16];
        random.NextBytes(id);
        StoreFormat format = new(0, 0, 0, new Guid(id));

        SegmentFiles files = new(Disk, LogPath, format.StoreId, clock, random);
        int errno = files.Zero(SegmentFiles.TemporaryName, options.FirstSegmentBytes, _ => true, out IDiskFile? file);
        Errno.Check(errno, "prepare the first segment in", LogPath);
        PreparedFile prepared = new(file!, options.FirstSegmentBytes, SegmentFiles.TemporaryName);
        errno = files.Name(prepared, 0, 0, out Segment? segment);
        segment?.Dispose(); // recovery opens it again, like any other
        file!.Dispose();
        Errno.Check(errno, "make the first segment in", LogPath);
        format.Write(Disk, Path);
        return format;
    }

    /// <summary>
    /// Makes every name on the way to the log durable, before anything is acknowledged. At each start: the run before
    /// may have ended between giving a name and flushing it, and the cache shows such a name as well as any other.
    /// </summary>
    public void SyncNames(Action<string> notice)
    {
        Errno.Check(Disk.SyncDirectory(LogPath), "flush", LogPath);
        Errno.Check(Disk.SyncDirectory(Path), "flush", Path);
        if (System.IO.Path.GetDirectoryName(Path) is not { } parent)
        {
            return;
        }

        int errno = Disk.SyncDirectory(parent);
        if (errno is Errno.AccessDenied or Errno.Invalid or Errno.ReadOnly)
        {
            // A parent that is not ours to flush was made by somebody else, and so was our own name in it.
            notice($"{parent} could not be flushed: {Errno.Text(errno)}");
            return;
        }

        Errno.Check(errno, "flush", parent);
    }

    /// <summary>Removes half-made files of an earlier run.</summary>
    public void RemoveTemporaries()
    {
        foreach (string name in ListLog().Where(n => SegmentFiles.IsTemporaryName(n) || n == ColdWriter.TemporaryName))
        {
            string path = System.IO.Path.Join(LogPath, name);
            Errno.Check(Disk.Remove(path), "remove", path);
        }
    }

    public void Dispose()
    {
        _lock.Dispose();
    }

    /// <summary>
    /// Without FORMAT a segment can only be the empty one of an interrupted beginning, and nothing else can be there.
    /// All is looked at before anything is removed, to the last octet: the start of a segment may have decayed too.
    /// </summary>
    private List<string> FindUnusedSegments()
    {
        List<string> unused = [];
        foreach (string name in ListLog().Where(SegmentHeader.IsSegmentName))
        {
            string path = System.IO.Path.Join(LogPath, name);
            if (!IsUnused(path))
            {
                throw WithoutFormat(name);
            }

            unused.Add(path);
        }

        List<string> others = [];
        int errno = Disk.ListDirectories(System.IO.Path.Join(Path, CheckpointFiles.DirectoryName), others);
        Errno.Check(errno == Errno.NotFound ? 0 : errno, "list", Path);
        errno = Disk.List(System.IO.Path.Join(Path, BodyFiles.DirectoryName), others);
        Errno.Check(errno == Errno.NotFound ? 0 : errno, "list", Path);
        return others.Count == 0 ? unused : throw WithoutFormat(others[0]);
    }

    private DamagedLogException WithoutFormat(string name)
    {
        return new($"{Path} has mail in {name} but no FORMAT file; restore that file");
    }

    /// <summary>Nothing but zeros behind the header page, which a segment has before it has a name.</summary>
    private bool IsUnused(string path)
    {
        Errno.Check(Disk.Open(path, FileUse.Existing, out IDiskFile? file), "open", path);
        using (file)
        {
            byte[] piece = new byte[256 * 1024];
            long offset = SegmentHeader.Bytes;
            int read;
            do
            {
                Errno.Check(file!.Read(piece, offset, out read), "read", path);
                offset += read;
            }
            while (read > 0 && !piece.AsSpan(0, read).ContainsAnyExcept((byte)0));
            return read == 0 && offset > SegmentHeader.Bytes;
        }
    }
}
