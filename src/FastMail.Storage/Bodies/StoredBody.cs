using System.Buffers;

namespace FastMail.Storage;

/// <summary>
/// An open body file. It keeps its content also when the message is removed meanwhile. Owned by whoever opened it; one
/// thread at a time. All calls wait for the disk.
/// </summary>
public sealed class StoredBody : IDisposable
{
    private const int BlockBytes = 256 * 1024;

    private readonly IDiskFile _file;
    private readonly uint _crc;

    private StoredBody(IDiskFile file, long bytes, uint crc)
    {
        _file = file;
        _crc = crc;
        Bytes = bytes;
    }

    /// <summary>Octets in wire form, <c>CRLF.CRLF</c> at the end.</summary>
    public long Bytes { get; }

    internal uint Crc => _crc;

    /// <summary>Opens the file; <see cref="ReadStatus.NotFound"/> when it is absent.</summary>
    internal static ReadStatus Open(IDisk disk, string path, long bytes, uint crc, out StoredBody? body)
    {
        body = null;
        int errno = disk.Open(path, FileUse.Existing, out IDiskFile? file);
        if (errno != 0)
        {
            return errno == Errno.NotFound ? ReadStatus.NotFound : ReadStatus.Unavailable;
        }

        errno = file!.Length(out long length);
        if (errno != 0 || length != bytes)
        {
            file.Dispose();
            return errno != 0 ? ReadStatus.Unavailable : ReadStatus.Damaged;
        }

        body = new StoredBody(file, bytes, crc);
        return ReadStatus.Ok;
    }

    /// <summary>Reads all of it and holds it against the checksum of its record, through a small buffer.</summary>
    /// <param name="progress">Told the octets of each step.</param>
    /// <param name="cancellation">Ends it half-way.</param>
    /// <exception cref="OperationCanceledException">It was.</exception>
    public ReadStatus Verify(Action<int>? progress = null, CancellationToken cancellation = default)
    {
        byte[] block = ArrayPool<byte>.Shared.Rent(BlockBytes);
        try
        {
            uint crc = 0;
            for (long offset = 0; offset < Bytes;)
            {
                cancellation.ThrowIfCancellationRequested();
                Span<byte> part = block.AsSpan(0, (int)Math.Min(BlockBytes, Bytes - offset));
                ReadStatus status = Read(part, offset);
                if (status != ReadStatus.Ok)
                {
                    return status;
                }

                crc = Crc32C.Extend(crc, part);
                offset += part.Length;
                progress?.Invoke(part.Length);
            }

            return crc == _crc ? ReadStatus.Ok : ReadStatus.Damaged;
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(block);
        }
    }

    /// <summary>Fills all of <paramref name="destination"/> from that offset.</summary>
    public ReadStatus Read(Span<byte> destination, long offset)
    {
        int errno = _file.Read(destination, offset, out int read);
        if (errno != 0)
        {
            return ReadStatus.Unavailable;
        }

        return read == destination.Length ? ReadStatus.Ok : ReadStatus.Damaged; // it has become shorter meanwhile
    }

    /// <summary>Closes the file.</summary>
    public void Dispose()
    {
        _file.Dispose();
    }
}
