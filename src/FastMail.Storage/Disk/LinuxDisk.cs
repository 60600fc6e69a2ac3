using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// The real disk, by system calls of Linux. Stateless and shared by the process; any thread. Its own calls are needed
/// because the platform's <c>Flush(true)</c> returns normally when <c>fsync</c> fails.
/// </summary>
public sealed unsafe class LinuxDisk : IDisk
{
    private const int DirectoryMode = 0x1C0; // 0700
    private const int FileMode = 0x180; // 0600

    private LinuxDisk()
    {
    }

    /// <summary>The one instance.</summary>
    public static LinuxDisk Instance { get; } = new();

    /// <inheritdoc/>
    public int CreateDirectory(string path)
    {
        int errno = Result(Native.MakeDirectory(path, DirectoryMode));
        return errno == Errno.Exists && Directory.Exists(path) ? 0 : errno;
    }

    /// <inheritdoc/>
    public int List(string directory, ICollection<string> names)
    {
        return List(Directory.EnumerateFiles, directory, names);
    }

    /// <inheritdoc/>
    public int ListDirectories(string directory, ICollection<string> names)
    {
        return List(Directory.EnumerateDirectories, directory, names);
    }

    /// <inheritdoc/>
    public int Open(string path, FileUse use, out IDiskFile? file)
    {
        if (use == FileUse.ExistingUncached)
        {
            return OpenUncached(path, out file);
        }

        int flags = Native.ReadWrite | Native.CloseOnExec | Native.NoFollow | use switch
        {
            FileUse.Existing => 0,
            FileUse.OpenOrCreate => Native.Create,
            FileUse.CreateNew => Native.Create | Native.Exclusive,
            _ => Native.Create | Native.Truncate,
        };
        int errno = Open(path, flags, out int fd);
        file = errno == 0 ? new LinuxFile(fd) : null;
        return errno;
    }

    /// <inheritdoc/>
    public int Rename(string from, string to)
    {
        return Result(Native.Rename(from, to));
    }

    /// <inheritdoc/>
    public int Remove(string path)
    {
        int errno = Result(Native.Unlink(path));
        return errno == Errno.NotFound ? 0 : errno;
    }

    /// <inheritdoc/>
    public int RemoveDirectory(string path)
    {
        int errno = Result(Native.RemoveDirectory(path));
        return errno == Errno.NotFound ? 0 : errno;
    }

    /// <inheritdoc/>
    public int SyncDirectory(string path)
    {
        int fd = Native.Open(path, Native.ReadOnly | Native.CloseOnExec, 0);
        if (fd < 0)
        {
            return Result(fd);
        }

        int errno = Result(Native.Sync(fd));
        _ = Native.Close(fd);
        return errno;
    }

    /// <inheritdoc/>
    public int FreeBytes(string path, out long bytes)
    {
        // struct statvfs opens with f_bsize, f_frsize, f_blocks, f_bfree, f_bavail, each 64 bits wide here.
        ulong* status = stackalloc ulong[32];
        int errno = Result(Native.StatFileSystem(path, status));
        bytes = errno == 0 ? (long)(status[1] * status[4]) : 0;
        return errno;
    }

    /// <inheritdoc/>
    public bool FlushReportsErrors()
    {
        // -1 is never a descriptor, so no other thread's file can be meant: EBADF is the only right answer.
        return Result(Native.SyncContent(-1)) == 9;
    }

    internal static int Result(long returned)
    {
        return returned < 0 ? Marshal.GetLastPInvokeError() : 0;
    }

    /// <summary>
    /// Some file systems know no direct reads; there the pages are given up again after each read.
    /// </summary>
    private static int OpenUncached(string path, out IDiskFile? file)
    {
        int flags = Native.ReadOnly | Native.CloseOnExec | Native.NoFollow;
        int errno = Open(path, flags | Native.Direct, out int fd);
        bool isDirect = errno != Errno.Invalid;
        errno = isDirect ? errno : Open(path, flags, out fd);
        file = errno == 0 ? new LinuxFile(fd, isDirect ? Caching.None : Caching.Brief) : null;
        return errno;
    }

    private static int Open(string path, int flags, out int fd)
    {
        do
        {
            fd = Native.Open(path, flags, FileMode);
        }
        while (fd < 0 && Marshal.GetLastPInvokeError() == Errno.Interrupted);
        return Result(fd);
    }

    private static int List(Func<string, IEnumerable<string>> enumerate, string directory, ICollection<string> names)
    {
        try
        {
            foreach (string path in enumerate(directory))
            {
                names.Add(Path.GetFileName(path));
            }

            return 0;
        }
        catch (DirectoryNotFoundException)
        {
            return Errno.NotFound;
        }
        catch (IOException e)
        {
            // The base library hands the errno through as HResult here.
            return e.HResult > 0 ? e.HResult : Errno.InputOutput;
        }
        catch (UnauthorizedAccessException)
        {
            return 13; // EACCES
        }
    }
}

/// <summary>What becomes of the pages that a file's reads go through. A value.</summary>
internal enum Caching
{
    /// <summary>They stay, as the kernel sees fit.</summary>
    Normal,

    /// <summary>They are given up after each read, unless somebody has mapped them.</summary>
    Brief,

    /// <summary>There are none: O_DIRECT.</summary>
    None,
}

/// <summary>
/// A file of <see cref="LinuxDisk"/>: one descriptor. Owned by its opener; positioned calls, any thread.
/// </summary>
internal sealed unsafe class LinuxFile(int fd, Caching caching = Caching.Normal) : IDiskFile
{
    private const int MaxVectors = 1024; // IOV_MAX

    private static int _populateIsUnknown; // an old kernel; learnt once
    private int _fd = fd;

    public int Length(out long bytes)
    {
        bytes = Native.Seek(_fd, 0, Native.SeekEnd);
        return LinuxDisk.Result(bytes);
    }

    public int TryLock()
    {
        return LinuxDisk.Result(Native.Lock(_fd, Native.LockExclusive | Native.LockNonBlocking));
    }

    public int Allocate(long bytes)
    {
        int errno;
        do
        {
            errno = LinuxDisk.Result(Native.Allocate(_fd, 0, 0, bytes));
        }
        while (errno == Errno.Interrupted);

        // A file system without fallocate gets the length only; writing the zeros then finds a full disk.
        bool isUnknown = errno is Errno.NotSupported or Errno.NoSystemCall;
        return isUnknown ? LinuxDisk.Result(Native.SetLength(_fd, bytes)) : errno;
    }

    public int Reserve(long offset, long length)
    {
        int errno;
        do
        {
            errno = LinuxDisk.Result(Native.Allocate(_fd, Native.KeepSize, offset, length));
        }
        while (errno == Errno.Interrupted);
        return errno is Errno.NotSupported or Errno.NoSystemCall ? 0 : errno;
    }

    public int Truncate(long bytes)
    {
        int errno;
        do
        {
            errno = LinuxDisk.Result(Native.SetLength(_fd, bytes));
        }
        while (errno == Errno.Interrupted);
        return errno;
    }

    public int PunchHole(long offset, long length)
    {
        int errno = Usage(out FileUsage usage);
        if (errno != 0 || usage.Names > 1)
        {
            return errno != 0 ? errno : Errno.Busy;
        }

        do
        {
            errno = LinuxDisk.Result(Native.Allocate(_fd, Native.PunchHole | Native.KeepSize, offset, length));
        }
        while (errno == Errno.Interrupted);

        return errno == Errno.NoSystemCall ? Errno.NotSupported : errno;
    }

    public int Usage(out FileUsage usage)
    {
        const int SectorBytes = 512; // whatever the disk has
        // struct statx is the same everywhere, which struct stat is not; stx_nlink is its fifth word, stx_blocks begins
        // with the thirteenth.
        ulong* status = stackalloc ulong[32];
        int errno = LinuxDisk.Result(Native.Status(_fd, "", Native.EmptyPath, Native.StatusUsage, (uint*)status));
        usage = errno == 0 ? new FileUsage((long)status[6] * SectorBytes, (uint)status[2]) : default;
        return errno;
    }

    public int Read(Span<byte> destination, long offset, out int read)
    {
        read = 0;
        fixed (byte* start = destination)
        {
            while (read < destination.Length)
            {
                nint got = Native.ReadAt(_fd, start + read, destination.Length - read, offset + read);
                int errno = LinuxDisk.Result(got);
                if (errno == Errno.Interrupted)
                {
                    continue;
                }

                if (errno != 0)
                {
                    return errno;
                }

                if (got == 0)
                {
                    break;
                }

                read += (int)got;
                if (caching == Caching.None && got % SegmentHeader.Bytes != 0)
                {
                    break; // the end of the file; a direct read that begins there would be refused
                }
            }
        }

        if (caching == Caching.Brief)
        {
            _ = Native.AdviseFile(_fd, offset, read, Native.DontNeed); // only advice
        }

        return 0;
    }

    public int Write(ReadOnlySpan<IoVector> vectors, long offset, out long written)
    {
        fixed (IoVector* first = vectors)
        {
            written = Native.WriteVectorsAt(_fd, first, Math.Min(vectors.Length, MaxVectors), offset);
        }

        int errno = LinuxDisk.Result(written);
        if (errno != 0)
        {
            written = 0;
        }

        return errno;
    }

    public void BeginFlush()
    {
        _ = Native.BeginSync(_fd, 0, 0, Native.BeginWriting); // not known to every file system, and never needed
    }

    public int Flush()
    {
        return LinuxDisk.Result(Native.SyncContent(_fd));
    }

    public int Map(long length, out nint address)
    {
        address = Native.Map(0, (nint)length, Native.ProtectRead, Native.MapShared, _fd, 0);
        return address == -1 ? Marshal.GetLastPInvokeError() : 0;
    }

    public int Unmap(nint address, long length)
    {
        return LinuxDisk.Result(Native.Unmap(address, (nint)length));
    }

    public int Populate(nint address, long offset, long length)
    {
        if (Volatile.Read(ref _populateIsUnknown) != 0)
        {
            return PopulateSlow(offset, length);
        }

        long start = offset & -Environment.SystemPageSize;
        int errno;
        do
        {
            nint bytes = (nint)(offset + length - start);
            errno = LinuxDisk.Result(Native.Advise(address + (nint)start, bytes, Native.PopulateRead));
        }
        while (errno == Errno.Interrupted);

        if (errno == Errno.Invalid)
        {
            Volatile.Write(ref _populateIsUnknown, 1);
            return PopulateSlow(offset, length);
        }

        return errno;
    }

    public int Depopulate(nint address, long length)
    {
        return LinuxDisk.Result(Native.Advise(address, (nint)length, Native.DontNeed));
    }

    /// <summary>
    /// Before Linux 5.14: reading the range shows its errors as numbers and leaves it in the page cache.
    /// </summary>
    internal int PopulateSlow(long offset, long length)
    {
        Span<byte> scratch = stackalloc byte[16 * 1024];
        while (length > 0)
        {
            Span<byte> part = scratch[..(int)Math.Min(length, scratch.Length)];
            int errno = Read(part, offset, out int read);
            if (errno != 0 || read < part.Length)
            {
                return errno != 0 ? errno : Errno.InputOutput;
            }

            offset += read;
            length -= read;
        }

        return 0;
    }

    public void Dispose()
    {
        int open = Interlocked.Exchange(ref _fd, -1);
        if (open >= 0)
        {
            _ = Native.Close(open);
        }
    }
}
