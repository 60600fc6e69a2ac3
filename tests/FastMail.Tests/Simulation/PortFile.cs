using FastMail.Storage;

namespace FastMail.Tests.Simulation;

/// <summary>An open file of a <see cref="DiskPort"/>. Any thread.</summary>
internal sealed unsafe class PortFile(DiskPort port, LyingContent content, string path) : IDiskFile
{
    public int Length(out long bytes)
    {
        long length = 0;
        int errno = port.Call(DiskVerb.Length, path, (_, _, _) =>
        {
            length = content.Length;
            return 0;
        });
        bytes = length;
        return errno;
    }

    public int TryLock()
    {
        return port.Call(DiskVerb.Lock, path, (_, _, _) =>
        {
            if (content.LockedBy is not null && !ReferenceEquals(content.LockedBy, port))
            {
                return Errno.WouldBlock;
            }

            content.LockedBy = port;
            return 0;
        });
    }

    public int Allocate(long bytes)
    {
        return port.Call(DiskVerb.Allocate, path, (disk, _, _) =>
        {
            if (bytes - content.Length > disk.FreeBytes)
            {
                return Errno.NoSpace;
            }

            content.SetLength(bytes);
            return 0;
        });
    }

    public int Reserve(long offset, long length)
    {
        return port.Call(
            DiskVerb.Allocate, path, (disk, _, _) => length > disk.FreeBytes ? Errno.NoSpace : 0);
    }

    public int Truncate(long bytes)
    {
        return port.Call(DiskVerb.Truncate, path, (_, _, _) =>
        {
            if (bytes < content.Length)
            {
                content.SetLength(bytes);
            }

            return 0;
        });
    }

    public int Read(Span<byte> destination, long offset, out int read)
    {
        byte[] bytes = new byte[destination.Length];
        int got = 0;
        int errno = port.Call(DiskVerb.Read, path, (_, _, _) =>
        {
            got = (int)Math.Clamp(content.Length - offset, 0, bytes.Length);
            content.Cache.Slice((int)Math.Min(offset, content.Length), got).CopyTo(bytes);
            return 0;
        });
        read = errno == 0 ? got : 0;
        bytes.AsSpan(0, read).CopyTo(destination);
        return errno;
    }

    public int Write(ReadOnlySpan<IoVector> vectors, long offset, out long written)
    {
        IoVector[] pieces = vectors.ToArray();
        long total = pieces.Sum(p => (long)p.Length);
        long done = 0;
        int errno = port.Call(
            DiskVerb.Write,
            path,
            (_, _, _) =>
            {
                done = Put(pieces, offset, total);
                return 0;
            },
            (lane, fate) =>
            {
                Random random = port.Plan.RandomOf(lane);
                switch (fate)
                {
                    case Fate.Interrupted:
                        return Errno.Interrupted;
                    case Fate.Shortened:
                        done = Put(pieces, offset, random.NextInt64(1, total + 1));
                        return 0;
                    case Fate.Failed:
                        // Some of it may be in the cache all the same.
                        _ = Put(pieces, offset, random.NextInt64(0, total + 1));
                        return port.Plan.ErrorNumber;
                    case Fate.EndOfProcess:
                        _ = Put(pieces, offset, random.NextInt64(0, total + 1));
                        return Errno.InputOutput;
                    default:
                        return null;
                }
            });
        written = errno == 0 ? done : 0;
        return errno;
    }

    public int PunchHole(long offset, long length)
    {
        return port.Call(DiskVerb.Punch, path, (_, _, _) =>
        {
            // Not durable before the next flush: power loss may bring back any part of what was there.
            content.Write(new byte[length], offset);
            content.PunchedBytes += length;
            return 0;
        });
    }

    public int Usage(out FileUsage usage)
    {
        long allocated = 0;
        int errno = port.Call(DiskVerb.Usage, path, (_, _, _) =>
        {
            allocated = content.Length - content.PunchedBytes;
            return 0;
        });
        usage = new FileUsage(allocated, 1);
        return errno;
    }

    /// <summary>What was written may reach the disk before it is flushed in any case.</summary>
    public void BeginFlush()
    {
    }

    public int Flush()
    {
        return port.Call(
            DiskVerb.Flush,
            path,
            (disk, _, isCut) =>
            {
                if (!isCut && !disk.IsFlushALie)
                {
                    content.Flush();
                }

                return 0;
            },
            (lane, fate) =>
            {
                if (fate != Fate.Failed)
                {
                    return null;
                }

                content.FailFlush(port.Plan.RandomOf(lane));
                return port.Plan.ErrorNumber;
            });
    }

    public int Map(long length, out nint address)
    {
        nint mapped = 0;
        int errno = port.Call(DiskVerb.Map, path, (_, _, _) =>
        {
            if (length > content.Length)
            {
                return Errno.Invalid; // the real one would map it and send a signal later
            }

            content.Maps++;
            mapped = content.Address;
            return 0;
        });
        address = mapped;
        return errno;
    }

    public int Unmap(nint address, long length)
    {
        lock (port.Disk.Gate)
        {
            content.Maps--;
        }

        return 0;
    }

    public int Populate(nint address, long offset, long length)
    {
        return port.Call(
            DiskVerb.Populate, path, (_, _, _) => offset + length <= content.Length ? 0 : Errno.InputOutput);
    }

    public int Depopulate(nint address, long length)
    {
        return 0;
    }

    public void Dispose()
    {
        // A descriptor says nothing to the disk when it is closed; the lock ends with the process here.
    }

    private long Put(IoVector[] pieces, long offset, long limit)
    {
        long done = 0;
        foreach (IoVector piece in pieces)
        {
            int part = (int)Math.Min(piece.Length, limit - done);
            content.Write(new ReadOnlySpan<byte>((void*)piece.Address, part), offset + done);
            done += part;
        }

        return done;
    }
}
