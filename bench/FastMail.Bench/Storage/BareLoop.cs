using FastMail.Storage;

namespace FastMail.Bench.Storage;

/// <summary>
/// The baseline: one thread writes a group of records with one pwritev and one fdatasync into a zero-filled file, and
/// does nothing else. Owned and used by one benchmark thread.
/// </summary>
internal sealed class BareLoop : IDisposable
{
    private readonly string _path;
    private readonly IDiskFile _file;
    private readonly long _bytes;
    private readonly byte[][] _records;
    private readonly IoVector[] _vectors;
    private long _offset;

    public BareLoop(string directory, int recordBytes, int group, long bytes)
    {
        _path = Path.Join(directory, "bare");
        Errno.Check(LinuxDisk.Instance.Open(_path, FileUse.CreateEmpty, out IDiskFile? file), "create", _path);
        _file = file!;
        _bytes = bytes;
        byte[] zeros = GC.AllocateArray<byte>(1024 * 1024, pinned: true);
        for (long offset = 0; offset < bytes; offset += zeros.Length)
        {
            Errno.Check(_file.WriteAll(zeros, offset), "write", _path);
        }

        Errno.Check(_file.Flush(), "flush", _path);
        _records = new byte[group][];
        for (int i = 0; i < group; i++)
        {
            _records[i] = GC.AllocateArray<byte>(recordBytes, pinned: true);
            _records[i].AsSpan().Fill((byte)'x');
        }

        _vectors = new IoVector[group];
    }

    /// <summary>Writes and flushes one group; starts over at the end of the file.</summary>
    public void Commit()
    {
        long bytes = 0;
        for (int i = 0; i < _vectors.Length; i++)
        {
            _vectors[i] = new IoVector(DiskWriting.AddressOf(_records[i], 0), _records[i].Length);
            bytes += _records[i].Length;
        }

        _offset = _offset + bytes > _bytes ? 0 : _offset;
        Errno.Check(_file.WriteAll(_vectors, _offset), "write", _path);
        Errno.Check(_file.Flush(), "flush", _path);
        _offset += bytes;
    }

    public void Dispose()
    {
        _file.Dispose();
        File.Delete(_path);
    }
}
