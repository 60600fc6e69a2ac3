namespace FastMail.Storage;

/// <summary>
/// Makes segment files: zero-filled first under a temporary name, then given a header, then its name, each step
/// durable before the next, so that a segment never appears half made. Used by the thread that opens the log, then by
/// the spare maker (zeros) and the appender (names), never two at once on one file.
/// </summary>
internal sealed class SegmentFiles(
    IDisk disk, string directory, Guid storeId, TimeProvider clock, Random random)
{
    public const string SpareName = "spare";
    public const string ReserveName = "reserve"; // lies there until a full disk leaves nothing else
    public const string TemporaryName = "spare.tmp";
    public const string ReserveTemporaryName = "reserve.tmp";

    private const int WriteBytes = 1024 * 1024;
    private const int FlushBytes = 8 * 1024 * 1024; // small, so that the appender's flushes do not queue behind it

    private static readonly byte[] Zeros = GC.AllocateArray<byte>(WriteBytes, pinned: true);

    public string DirectoryPath => directory;

    /// <summary>
    /// Makes a file of that many zeros, flushed. On failure nothing is left behind. Real zeros: an allocated but
    /// unwritten range would cost every flush a metadata commit (1.3 to 3.6 times slower, measured).
    /// </summary>
    public int Zero(string name, long bytes, Func<bool> isStopped, out IDiskFile? file)
    {
        string path = Path.Join(directory, name);
        int errno = disk.Open(path, FileUse.CreateEmpty, out file);
        if (errno != 0)
        {
            return errno;
        }

        errno = FillAndFlush(file!, bytes, isStopped);
        if (errno != 0)
        {
            file!.Dispose();
            file = null;
            _ = disk.Remove(path); // what stays behind is removed by the next start
        }

        return errno;
    }

    /// <summary>Renames the finished zeros so that the next start finds and reuses them.</summary>
    public int Keep(string temporaryName, string name)
    {
        return disk.Rename(Path.Join(directory, temporaryName), Path.Join(directory, name));
    }

    /// <summary>
    /// The file of that name that an earlier run made and did not use; null when there is none, or none that is large
    /// enough.
    /// </summary>
    public PreparedFile? Find(string name, long leastBytes)
    {
        if (disk.Open(Path.Join(directory, name), FileUse.Existing, out IDiskFile? file) != 0)
        {
            return null;
        }

        if (file!.Length(out long bytes) == 0 && bytes >= leastBytes
            && bytes <= MailLogOptions.MaxSegmentBytes && bytes % SegmentHeader.Bytes == 0)
        {
            return new PreparedFile(file, bytes, name);
        }

        file.Dispose();
        return null;
    }

    /// <summary>Removes a spare that turned out too small; its space may be needed for the next.</summary>
    public void RemoveSpare()
    {
        _ = disk.Remove(Path.Join(directory, SpareName)); // what stays behind is replaced by the next
    }

    /// <summary>
    /// Gives prepared zeros their header and name and maps them. The caller has sealed the segment before.
    /// </summary>
    public int Name(in PreparedFile prepared, ulong baseLsn, ulong previousBaseLsn, out Segment? segment)
    {
        segment = null;
        long now = (clock.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond;
        uint salt = (uint)random.NextInt64(1L << 32);
        SegmentHeader header = new(storeId, 0, salt, baseLsn, previousBaseLsn, now, prepared.Bytes);
        byte[] page = new byte[SegmentHeader.Bytes];
        header.Write(page);
        string path = Path.Join(directory, header.FileName);

        int errno = prepared.File.WriteAll(page, 0);
        errno = errno != 0 ? errno : prepared.File.Flush();
        errno = errno != 0 ? errno : disk.Rename(Path.Join(directory, prepared.FileName), path);
        errno = errno != 0 ? errno : disk.SyncDirectory(directory);
        return errno != 0 ? errno : Segment.Open(prepared.File, header, prepared.Bytes, path, out segment);
    }

    /// <summary>True when a file of that size has room on the disk.</summary>
    public bool HasRoomFor(long bytes)
    {
        return disk.FreeBytes(directory, out long free) == 0 && free >= bytes;
    }

    private static int FillAndFlush(IDiskFile file, long bytes, Func<bool> isStopped)
    {
        int errno = file.Allocate(bytes);
        for (long offset = 0; errno == 0 && offset < bytes;)
        {
            if (isStopped())
            {
                return Errno.Interrupted;
            }

            int part = (int)Math.Min(WriteBytes, bytes - offset);
            errno = file.WriteAll(Zeros.AsSpan(0, part), offset);
            offset += part;
            if (errno == 0 && (offset % FlushBytes == 0 || offset == bytes))
            {
                errno = file.Flush();
            }
        }

        return errno;
    }
}

/// <summary>A zero-filled file that waits to become a segment. Owned by whoever holds it; used once.</summary>
internal readonly record struct PreparedFile(IDiskFile File, long Bytes, string FileName);
