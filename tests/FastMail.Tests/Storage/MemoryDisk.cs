using System.Runtime.InteropServices;
using FastMail.Storage;

namespace FastMail.Tests.Storage;

/// <summary>
/// Files in memory, for tests that recover the same small log ten thousand times. It does not lie: every write is
/// durable at once. Owned by one test and its thread.
/// </summary>
internal sealed unsafe class MemoryDisk : IDisk, IDisposable
{
    private readonly Dictionary<string, MemoryFile> _files = new(StringComparer.Ordinal);

    public IEnumerable<string> Paths => _files.Keys;

    /// <summary>The content of a file, to be damaged in place.</summary>
    public Span<byte> this[string path] => _files[path].Content;

    /// <summary>Makes or replaces a file.</summary>
    public void Put(string path, ReadOnlySpan<byte> content)
    {
        _ = Open(path, FileUse.CreateEmpty, out IDiskFile? file);
        _ = file!.Allocate(content.Length);
        content.CopyTo(this[path]);
    }

    public int CreateDirectory(string path)
    {
        return 0;
    }

    public int List(string directory, ICollection<string> names)
    {
        foreach (string path in _files.Keys.Where(path => Path.GetDirectoryName(path) == directory))
        {
            names.Add(Path.GetFileName(path));
        }

        return 0;
    }

    public int ListDirectories(string directory, ICollection<string> names)
    {
        foreach (string path in _files.Keys.Select(p => Path.GetDirectoryName(p)!).Distinct(StringComparer.Ordinal))
        {
            if (Path.GetDirectoryName(path) == directory)
            {
                names.Add(Path.GetFileName(path));
            }
        }

        return 0;
    }

    public int Open(string path, FileUse use, out IDiskFile? file)
    {
        file = null;
        if (_files.TryGetValue(path, out MemoryFile? found) && use == FileUse.CreateNew)
        {
            return 17;
        }

        if (found is not null && use == FileUse.CreateEmpty)
        {
            found.Free();
            found = null;
        }

        if (found is null && use is not (FileUse.Existing or FileUse.ExistingUncached))
        {
            found = new MemoryFile();
            _files[path] = found;
        }

        file = found;
        return found is null ? 2 : 0;
    }

    public int Rename(string from, string to)
    {
        _ = Remove(to);
        return _files.Remove(from, out MemoryFile? file) && _files.TryAdd(to, file) ? 0 : 2;
    }

    public int Remove(string path)
    {
        if (_files.Remove(path, out MemoryFile? file))
        {
            file.Free();
        }

        return 0;
    }

    public int RemoveDirectory(string path)
    {
        return 0; // a directory without files is none here
    }

    public int SyncDirectory(string path)
    {
        return 0;
    }

    public int FreeBytes(string path, out long bytes)
    {
        bytes = long.MaxValue;
        return 0;
    }

    public bool FlushReportsErrors()
    {
        return true;
    }

    public void Dispose()
    {
        foreach (MemoryFile file in _files.Values)
        {
            file.Free();
        }

        _files.Clear();
    }

    /// <summary>One file; closing it frees nothing, as it stays on the disk.</summary>
    private sealed class MemoryFile : IDiskFile
    {
        private byte* _start;
        private long _length;
        private long _punchedBytes;

        public Span<byte> Content => new(_start, (int)_length);

        public void Free()
        {
            NativeMemory.Free(_start);
            _start = null;
            _length = 0;
        }

        public int Length(out long bytes)
        {
            bytes = _length;
            return 0;
        }

        public int TryLock()
        {
            return 0;
        }

        public int Allocate(long bytes)
        {
            byte* larger = (byte*)NativeMemory.AllocZeroed((nuint)bytes);
            Content.CopyTo(new Span<byte>(larger, (int)bytes));
            NativeMemory.Free(_start);
            _start = larger;
            _length = bytes;
            return 0;
        }

        public int Reserve(long offset, long length)
        {
            return 0;
        }

        public int Truncate(long bytes)
        {
            _length = Math.Min(_length, bytes);
            return 0;
        }

        public int Read(Span<byte> destination, long offset, out int read)
        {
            read = (int)Math.Clamp(_length - offset, 0, destination.Length);
            new Span<byte>(_start + offset, read).CopyTo(destination);
            return 0;
        }

        public int Write(ReadOnlySpan<IoVector> vectors, long offset, out long written)
        {
            written = 0;
            foreach (IoVector vector in vectors)
            {
                if (offset + written + vector.Length > _length)
                {
                    _ = Allocate(offset + written + vector.Length);
                }

                new Span<byte>((byte*)vector.Address, (int)vector.Length).CopyTo(
                    new Span<byte>(_start + offset + written, (int)vector.Length));
                written += vector.Length;
            }

            return 0;
        }

        public int Usage(out FileUsage usage)
        {
            usage = new FileUsage(_length - _punchedBytes, 1);
            return 0;
        }

        public int PunchHole(long offset, long length)
        {
            _punchedBytes += length;
            Content.Slice((int)offset, (int)length).Clear();
            return 0;
        }

        public void BeginFlush()
        {
        }

        public int Flush()
        {
            return 0;
        }

        public int Map(long length, out nint address)
        {
            address = (nint)_start;
            return length <= _length ? 0 : 22;
        }

        public int Unmap(nint address, long length)
        {
            return 0;
        }

        public int Populate(nint address, long offset, long length)
        {
            return offset >= 0 && length > 0 && offset + length <= _length ? 0 : 14; // EFAULT, as the kernel would
        }

        public int Depopulate(nint address, long length)
        {
            return 0;
        }

        public void Dispose()
        {
        }
    }
}
