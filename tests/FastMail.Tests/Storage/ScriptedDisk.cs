using FastMail.Storage;

namespace FastMail.Tests.Storage;

/// <summary>
/// The real disk, except where a test's script wants an error: the script sees each call's name and file and answers
/// an errno, 0 to let it happen. Called from any thread.
/// </summary>
internal sealed class ScriptedDisk : IDisk
{
    private Func<string, string, int> _script = static (_, _) => 0;

    /// <summary>Arguments: name of the call, name of the file.</summary>
    public Func<string, string, int> Script
    {
        get => Volatile.Read(ref _script);
        set => Volatile.Write(ref _script, value);
    }

    /// <summary>Learns of every write before it happens: file, offset, bytes.</summary>
    public Action<string, long, long>? OnWrite { get; set; }

    /// <summary>
    /// Where a page of the segments begins that cannot be read; negative when all can. Writing it heals it.
    /// </summary>
    public long BadPage { get; set; } = -1;

    /// <summary>Every write is cut short at an odd place, and each is interrupted first.</summary>
    public bool IsStuttering { get; set; }

    /// <summary>What <see cref="FlushReportsErrors"/> answers.</summary>
    public bool IsHonest { get; set; } = true;

    public int CreateDirectory(string path)
    {
        return Ask("mkdir", path) is var errno and not 0 ? errno : LinuxDisk.Instance.CreateDirectory(path);
    }

    public int List(string directory, ICollection<string> names)
    {
        return Ask("list", directory) is var errno and not 0 ? errno : LinuxDisk.Instance.List(directory, names);
    }

    public int ListDirectories(string directory, ICollection<string> names)
    {
        return Ask("listdirs", directory) is var errno and not 0
            ? errno
            : LinuxDisk.Instance.ListDirectories(directory, names);
    }

    public int Open(string path, FileUse use, out IDiskFile? file)
    {
        file = null;
        int errno = Ask("open", path);
        if (errno == 0)
        {
            errno = LinuxDisk.Instance.Open(path, use, out file);
        }

        if (errno == 0)
        {
            file = new ScriptedFile(this, file!, Path.GetFileName(path));
        }

        return errno;
    }

    public int Rename(string from, string to)
    {
        return Ask("rename", to) is var errno and not 0 ? errno : LinuxDisk.Instance.Rename(from, to);
    }

    public int Remove(string path)
    {
        return Ask("remove", path) is var errno and not 0 ? errno : LinuxDisk.Instance.Remove(path);
    }

    public int RemoveDirectory(string path)
    {
        return Ask("rmdir", path) is var errno and not 0 ? errno : LinuxDisk.Instance.RemoveDirectory(path);
    }

    public int SyncDirectory(string path)
    {
        return Ask("syncdir", path) is var errno and not 0 ? errno : LinuxDisk.Instance.SyncDirectory(path);
    }

    public int FreeBytes(string path, out long bytes)
    {
        bytes = 0;
        return Ask("free", path) is var errno and not 0 ? errno : LinuxDisk.Instance.FreeBytes(path, out bytes);
    }

    public bool FlushReportsErrors()
    {
        return IsHonest;
    }

    private bool IsBad(string name, long offset, long length)
    {
        return BadPage >= 0 && name.EndsWith(".seg", StringComparison.Ordinal) && offset < BadPage + 4096
            && offset + length > BadPage;
    }

    private int Ask(string call, string path)
    {
        return Script(call, Path.GetFileName(path));
    }

    private sealed class ScriptedFile(ScriptedDisk disk, IDiskFile file, string name) : IDiskFile
    {
        private bool _mayPass;

        public int Length(out long bytes)
        {
            return file.Length(out bytes);
        }

        public int TryLock()
        {
            return file.TryLock();
        }

        public int Allocate(long bytes)
        {
            return disk.Script("allocate", name) is var errno and not 0 ? errno : file.Allocate(bytes);
        }

        public int Reserve(long offset, long length)
        {
            return disk.Script("reserve", name) is var errno and not 0 ? errno : file.Reserve(offset, length);
        }

        public int Truncate(long bytes)
        {
            return disk.Script("truncate", name) is var errno and not 0 ? errno : file.Truncate(bytes);
        }

        public int Read(Span<byte> destination, long offset, out int read)
        {
            read = 0;
            int errno = disk.IsBad(name, offset, destination.Length) ? 5 : disk.Script("read", name);
            return errno != 0 ? errno : file.Read(destination, offset, out read);
        }

        public int Write(ReadOnlySpan<IoVector> vectors, long offset, out long written)
        {
            written = 0;
            disk.OnWrite?.Invoke(name, offset, vectors.ToArray().Sum(v => (long)v.Length));
            int errno = disk.Script("write", name);
            if (disk.BadPage >= 0 && disk.IsBad(name, offset, vectors.ToArray().Sum(v => (long)v.Length)))
            {
                disk.BadPage = -1;
            }

            if (errno != 0 || !disk.IsStuttering)
            {
                return errno != 0 ? errno : file.Write(vectors, offset, out written);
            }

            _mayPass = !_mayPass;
            if (!_mayPass)
            {
                return 4; // EINTR
            }

            IoVector part = vectors[0] with { Length = Math.Min(vectors[0].Length, 4093) };
            return file.Write([part], offset, out written);
        }

        public int PunchHole(long offset, long length)
        {
            return disk.Script("punch", name) is var errno and not 0 ? errno : file.PunchHole(offset, length);
        }

        public int Usage(out FileUsage usage)
        {
            usage = default;
            return disk.Script("usage", name) is var errno and not 0 ? errno : file.Usage(out usage);
        }

        public void BeginFlush()
        {
            file.BeginFlush();
        }

        public int Flush()
        {
            return disk.Script("flush", name) is var errno and not 0 ? errno : file.Flush();
        }

        public int Map(long length, out nint address)
        {
            return file.Map(length, out address);
        }

        public int Unmap(nint address, long length)
        {
            return file.Unmap(address, length);
        }

        public int Populate(nint address, long offset, long length)
        {
            int errno = disk.IsBad(name, offset, length) ? 14 : disk.Script("populate", name); // EFAULT, as the kernel
            return errno != 0 ? errno : file.Populate(address, offset, length);
        }

        public int Depopulate(nint address, long length)
        {
            return file.Depopulate(address, length);
        }

        public void Dispose()
        {
            file.Dispose();
        }
    }
}
