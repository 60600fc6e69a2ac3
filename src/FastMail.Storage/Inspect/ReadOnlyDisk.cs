using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// The real disk for those who only look: files are opened for reading, and every call that would change something
/// answers <c>EROFS</c> (30). Stateless and shared by the process; any thread.
/// </summary>
internal sealed class ReadOnlyDisk : IDisk
{
    private const int ReadOnlyFileSystem = 30;

    private ReadOnlyDisk()
    {
    }

    public static ReadOnlyDisk Instance { get; } = new();

    public int CreateDirectory(string path)
    {
        return ReadOnlyFileSystem;
    }

    public int List(string directory, ICollection<string> names)
    {
        return LinuxDisk.Instance.List(directory, names);
    }

    public int ListDirectories(string directory, ICollection<string> names)
    {
        return LinuxDisk.Instance.ListDirectories(directory, names);
    }

    public int Open(string path, FileUse use, out IDiskFile? file)
    {
        file = null;
        if (use != FileUse.Existing)
        {
            return ReadOnlyFileSystem;
        }

        int fd;
        do
        {
            fd = Native.Open(path, Native.ReadOnly | Native.CloseOnExec | Native.NoFollow, 0);
        }
        while (fd < 0 && Marshal.GetLastPInvokeError() == Errno.Interrupted);
        file = fd < 0 ? null : new LinuxFile(fd); // writing to it fails with EBADF, because of how it was opened
        return LinuxDisk.Result(fd);
    }

    public int Rename(string from, string to)
    {
        return ReadOnlyFileSystem;
    }

    public int Remove(string path)
    {
        return ReadOnlyFileSystem;
    }

    public int RemoveDirectory(string path)
    {
        return ReadOnlyFileSystem;
    }

    public int SyncDirectory(string path)
    {
        return ReadOnlyFileSystem;
    }

    public int FreeBytes(string path, out long bytes)
    {
        return LinuxDisk.Instance.FreeBytes(path, out bytes);
    }

    public bool FlushReportsErrors()
    {
        return LinuxDisk.Instance.FlushReportsErrors();
    }
}
