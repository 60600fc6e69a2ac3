using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>
/// The baseline: one thread writes a group of records with one pwritev and one fdatasync into a zero-filled file, and
/// does nothing else. Owned and used by one benchmark thread.
/// </summary>
internal sealed class BareLoop : IDisposable
{
    private static readonly byte[] Zeros = GC.AllocateArray<byte>(1 << 20, pinned: true);

    private readonly string _path;
    private readonly IDiskFile _file;
    private readonly byte[][] _records;
    private readonly IoVector[] _vectors;
    private readonly long _groupBytes;
    private long _bytes;
    private long _offset;

    /// <summary>Makes an empty file, to be filled with zeros before the first group.</summary>
    /// <param name="path">Of the file.</param>
    /// <param name="recordBytes">Octets of a record.</param>
    /// <param name="group">Records a group.</param>
    public BareLoop(string path, int recordBytes, int group)
    {
        _path = path;
        Errno.Check(LinuxDisk.Instance.Open(_path, FileUse.CreateEmpty, out IDiskFile? file), "create", _path);
        _file = file!;
        _groupBytes = (long)recordBytes * group;
        _records = new byte[group][];
        for (int i = 0; i < group; i++)
        {
            _records[i] = GC.AllocateArray<byte>(recordBytes, pinned: true);
            _records[i].AsSpan().Fill((byte)'x');
        }

        _vectors = new IoVector[group];
    }

    /// <summary>Whether the file has no room for one more group.</summary>
    public bool IsFull => _offset + _groupBytes > _bytes;

    /// <summary>Lengthens the file by zeros; they are to be flushed before the first group.</summary>
    /// <param name="bytes">Octets, a multiple of a MiB.</param>
    public void Fill(long bytes)
    {
        for (long end = _bytes + bytes; _bytes < end; _bytes += Zeros.Length)
        {
            Errno.Check(_file.WriteAll(Zeros, _bytes), "write", _path);
        }
    }

    /// <summary>Flushes the zeros.</summary>
    public void Flush()
    {
        Errno.Check(_file.Flush(), "flush", _path);
    }

    /// <summary>Writes and flushes one group; starts over at the end of the file.</summary>
    /// <returns>Octets of the group.</returns>
    public long Commit()
    {
        for (int i = 0; i < _vectors.Length; i++)
        {
            _vectors[i] = new IoVector(DiskWriting.AddressOf(_records[i], 0), _records[i].Length);
        }

        _offset = IsFull ? 0 : _offset;
        Errno.Check(_file.WriteAll(_vectors, _offset), "write", _path);
        Errno.Check(_file.Flush(), "flush", _path);
        _offset += _groupBytes;
        return _groupBytes;
    }

    public void Dispose()
    {
        _file.Dispose();
        File.Delete(_path);
    }
}
