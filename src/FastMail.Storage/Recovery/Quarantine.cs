using System.Buffers;
using System.Globalization;

namespace FastMail.Storage;

/// <summary>
/// Copies damaged ranges to <c>quarantine/&lt;lsn&gt;-&lt;length&gt;.bin</c>, so that they outlive their segment and
/// can be looked at. A copy appears whole and durable or not at all; one that is there is kept as it is, because it is
/// the nearer to what was written. Owned by the <see cref="Recovery"/>.
/// </summary>
internal sealed class Quarantine(DataDirectory place)
{
    private const int BlockBytes = 1024 * 1024;
    private const string TemporaryName = "quarantine.tmp";

    /// <summary>Keeps one range. Running it twice does no harm.</summary>
    /// <returns>For the operator: where the copy is, or why there is none.</returns>
    /// <exception cref="IOException">The disk failed; a full one only means that there is no copy.</exception>
    public string Keep(DamagedRange range)
    {
        if (range.Bytes == 0)
        {
            return "nothing is left there that could be kept";
        }

        string directory = Path.Join(place.Path, "quarantine");
        string name = string.Create(CultureInfo.InvariantCulture, $"{range.Lsn:x16}-{range.Bytes}.bin");
        string path = Path.Join(directory, name);
        string temporary = Path.Join(directory, TemporaryName);
        try
        {
            Errno.Check(place.Disk.CreateDirectory(directory), "make", directory);
            Errno.Check(place.Disk.SyncDirectory(place.Path), "flush", place.Path);
            if (!IsKept(path, range.Bytes))
            {
                Errno.Check(Copy(range, temporary), "write", temporary);
                Errno.Check(place.Disk.Rename(temporary, path), "rename", temporary);
            }

            // Also for a copy of an earlier run, which may have ended before this.
            Errno.Check(place.Disk.SyncDirectory(directory), "flush", directory);
            return $"kept in {path}";
        }
        catch (IOException e) when (Errno.IsFull(e.HResult))
        {
            // The original stays in its segment. Not to start would keep people from removing what fills the disk.
            Errno.Check(place.Disk.Remove(temporary), "remove", temporary);
            return "the disk is too full for a copy of it";
        }
    }

    private bool IsKept(string path, long bytes)
    {
        int errno = place.Disk.Open(path, FileUse.Existing, out IDiskFile? file);
        if (errno == Errno.NotFound)
        {
            return false;
        }

        Errno.Check(errno, "open", path);
        using (file)
        {
            Errno.Check(file!.Length(out long length), "measure", path);
            return length == bytes;
        }
    }

    private int Copy(DamagedRange range, string path)
    {
        int errno = place.Disk.Open(path, FileUse.CreateEmpty, out IDiskFile? file);
        if (errno != 0)
        {
            return errno;
        }

        byte[] block = ArrayPool<byte>.Shared.Rent(BlockBytes);
        ReadableWindow window = new(range.Segment);
        using (file)
        {
            for (long done = 0; errno == 0 && done < range.Bytes;)
            {
                int length = (int)Math.Min(BlockBytes, range.Bytes - done);
                window.CopyTo(block.AsSpan(0, length), range.Offset + done);
                errno = file!.WriteAll(block.AsSpan(0, length), done);
                done += length;
            }

            errno = errno != 0 ? errno : file!.Flush();
        }

        ArrayPool<byte>.Shared.Return(block);
        return errno;
    }
}
