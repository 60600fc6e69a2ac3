using System.Runtime.InteropServices;
using FastMail.Storage;

namespace FastMail.Server.Backup;

/// <summary>
/// Brings single files into a backup: each appears under its name whole and flushed, or not at all. Owned by one
/// <see cref="BackupRun"/>; its thread.
/// </summary>
internal sealed partial class BackupFiles
{
    /// <summary>Ending of what is not finished; nobody but a backup run looks at such a file.</summary>
    public const string PartSuffix = ".part";

    private const int BlockBytes = 1 << 20;

    private readonly bool _mayLink;
    private readonly Action<long> _progress;
    private readonly CancellationToken _token;
    private readonly byte[] _block = GC.AllocateUninitializedArray<byte>(BlockBytes);

    /// <param name="mayLink">Files that never change may become hard links of the originals.</param>
    /// <param name="progress">Told the octets of each step.</param>
    /// <param name="token">Ends a copy half-way.</param>
    public BackupFiles(bool mayLink, Action<long> progress, CancellationToken token)
    {
        _mayLink = mayLink;
        _progress = progress;
        _token = token;
    }

    public int Linked { get; private set; }

    public int Copied { get; private set; }

    public long CopiedBytes { get; private set; }

    /// <summary>
    /// Puts a file that never changes beside its later name. Another file system, or one that refuses the link, gets
    /// a copy.
    /// </summary>
    public void Place(string source, string target)
    {
        string part = target + PartSuffix;
        File.Delete(part);
        if (_mayLink && Link(source, part) == 0)
        {
            Linked++;
            _progress(new FileInfo(part).Length);
            return;
        }

        Copy(source, target, long.MaxValue);
    }

    /// <summary>
    /// Copies the first octets of a file and gives the copy the length of the original; what is not copied reads as
    /// zeros.
    /// </summary>
    public void Copy(string source, string target, long bytes)
    {
        string part = target + PartSuffix;
        Check(LinuxDisk.Instance.Open(part, FileUse.CreateEmpty, out IDiskFile? made), part);
        using IDiskFile file = made!;
        using var from = new FileStream(source, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1);
        long length = from.Length;
        long end = Math.Min(length, bytes);
        for (long offset = 0; offset < end;)
        {
            _token.ThrowIfCancellationRequested();
            int read = RandomAccess.Read(from.SafeFileHandle, _block.AsSpan(0, (int)Math.Min(BlockBytes, end - offset)), offset);
            if (read == 0)
            {
                throw new IOException($"{source} became shorter while it was copied");
            }

            if (_block.AsSpan(0, read).ContainsAnyExcept((byte)0)) // zeros are there already: the file is new
            {
                Write(file, _block.AsSpan(0, read), offset, part);
            }

            offset += read;
            CopiedBytes += read;
            _progress(read);
        }

        File.SetUnixFileMode(part, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        using (var sized = new FileStream(part, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, 1))
        {
            sized.SetLength(length);
        }

        Check(file.Flush(), part);
        Copied++;
    }

    /// <summary>Flushes a file that somebody else has written.</summary>
    public static void Flush(string path)
    {
        Check(LinuxDisk.Instance.Open(path, FileUse.Existing, out IDiskFile? file), path);
        using (file)
        {
            Check(file!.Flush(), path);
        }
    }

    /// <summary>Gives a finished file its name.</summary>
    public static void Reveal(string target)
    {
        Check(LinuxDisk.Instance.Rename(target + PartSuffix, target), target);
        Check(LinuxDisk.Instance.SyncDirectory(Path.GetDirectoryName(target)!), target);
    }

    private static unsafe void Write(IDiskFile file, ReadOnlySpan<byte> octets, long offset, string path)
    {
        fixed (byte* start = octets)
        {
            for (long done = 0; done < octets.Length;)
            {
                Check(file.Write([new IoVector((nint)(start + done), (nint)(octets.Length - done))], offset + done, out long written), path);
                done += written;
            }
        }
    }

    private static void Check(int errno, string path)
    {
        if (errno != 0)
        {
            throw new IOException($"{path}: {Marshal.GetPInvokeErrorMessage(errno)}");
        }
    }

    [LibraryImport("libc", EntryPoint = "link", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Link(string existing, string made);
}
