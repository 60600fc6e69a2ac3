using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>What a manifest says of the file with the queue; the default stands for an empty queue, without a file.</summary>
/// <param name="Bytes">Its length.</param>
/// <param name="Crc">CRC-32C of all of it.</param>
internal readonly record struct QueueReference(long Bytes, uint Crc)
{
    public bool IsEmpty => Bytes == 0;
}

/// <summary>
/// The queue in a checkpoint, a file of its own beside the shards: the pages as they are in memory (both supported
/// processors are little-endian). Stateless; one thread for a file.
/// </summary>
/// <remarks>
/// magic, store 16 octets, lsn u64, pages u32, messages u32, redirected recipients u32, 0 u32; a page: messages u32,
/// recipients u32, these; a redirected recipient: seq u64, recipient u32, length u32, forward-path.
/// </remarks>
internal static class QueueFile
{
    public const string FileName = "queue.fmq";

    private const int HeaderBytes = 48;
    private const int BufferBytes = 256 * 1024;

    private static ReadOnlySpan<byte> Magic => "FMQUEUE\u0001"u8;

    /// <summary>Writes and flushes it; answers an errno. The name is not durable before its directory is flushed.</summary>
    public static int Write(
        IDisk disk, string directory, Guid storeId, ulong lsn, QueueCapture queue, out QueueReference reference)
    {
        reference = default;
        if (queue.Messages == 0)
        {
            return 0;
        }

        string path = Path.Join(directory, FileName);
        string temporary = path + ".tmp";
        int errno = disk.Open(temporary, FileUse.CreateEmpty, out IDiskFile? file);
        if (errno != 0)
        {
            return errno;
        }

        using (file)
        {
            Output output = new(file!);
            WriteContent(output, storeId, lsn, queue);
            errno = output.Drain();
            errno = errno != 0 ? errno : file!.Flush();
            reference = new QueueReference(output.Written, output.Crc);
        }

        return errno != 0 ? errno : disk.Rename(temporary, path);
    }

    /// <summary>Reads and checks all of it; null, with the reason, when it is not what was written.</summary>
    public static QueueCapture? TryRead(
        IDisk disk, string directory, Guid storeId, ulong lsn, QueueReference reference, out string why)
    {
        why = "";
        if (reference.IsEmpty)
        {
            return new QueueCapture([], 0, []);
        }

        int errno = disk.Open(Path.Join(directory, FileName), FileUse.Existing, out IDiskFile? file);
        if (errno != 0)
        {
            why = $"{FileName}: {Errno.Text(errno)}";
            return null;
        }

        using (file)
        {
            errno = file!.Length(out long length);
            Input input = new(file, reference.Bytes);
            QueueCapture? queue = errno == 0 && length == reference.Bytes ? ReadContent(input, storeId, lsn) : null;
            if (queue is not null && input.Left == 0 && input.Crc == reference.Crc)
            {
                return queue;
            }

            errno = errno != 0 ? errno : input.Error;
        }

        why = errno != 0 ? $"{FileName}: {Errno.Text(errno)}" : $"{FileName} is damaged";
        return null;
    }

    private static void WriteContent(Output output, Guid storeId, ulong lsn, QueueCapture queue)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        header.Clear();
        Magic.CopyTo(header);
        _ = storeId.TryWriteBytes(header[8..]);
        BinaryPrimitives.WriteUInt64LittleEndian(header[24..], lsn);
        BinaryPrimitives.WriteInt32LittleEndian(header[32..], queue.Pages.Length);
        BinaryPrimitives.WriteInt32LittleEndian(header[36..], queue.Messages);
        BinaryPrimitives.WriteInt32LittleEndian(header[40..], queue.Paths.Length);
        output.Put(header);
        Span<byte> head = stackalloc byte[2 * sizeof(uint)];
        foreach (QueuePage page in queue.Pages)
        {
            BinaryPrimitives.WriteInt32LittleEndian(head, page.Count);
            BinaryPrimitives.WriteInt32LittleEndian(head[sizeof(uint)..], page.RecipientCount);
            output.Put(head);
            output.Put(MemoryMarshal.AsBytes(page.Messages.AsSpan(0, page.Count)));
            output.Put(MemoryMarshal.AsBytes(page.Recipients.AsSpan(0, page.RecipientCount)));
        }

        Span<byte> name = stackalloc byte[2 * sizeof(ulong)];
        foreach (((ulong seq, uint recipient), byte[] path) in queue.Paths)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(name, seq);
            BinaryPrimitives.WriteUInt32LittleEndian(name[8..], recipient);
            BinaryPrimitives.WriteInt32LittleEndian(name[12..], path.Length);
            output.Put(name);
            output.Put(path);
        }
    }

    private static QueueCapture? ReadContent(Input input, Guid storeId, ulong lsn)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        if (!input.TryTake(header) || !header.StartsWith(Magic) || new Guid(header.Slice(8, 16)) != storeId
            || BinaryPrimitives.ReadUInt64LittleEndian(header[24..]) != lsn)
        {
            return null;
        }

        List<QueuePage> pages = [];
        int messages = BinaryPrimitives.ReadInt32LittleEndian(header[36..]);
        int left = messages;
        for (int i = BinaryPrimitives.ReadInt32LittleEndian(header[32..]); i > 0; i--)
        {
            if (ReadPage(input) is not { } page)
            {
                return null;
            }

            pages.Add(page);
            left -= page.Count;
        }

        List<KeyValuePair<(ulong, uint), byte[]>> paths = [];
        Span<byte> name = stackalloc byte[2 * sizeof(ulong)];
        for (int i = BinaryPrimitives.ReadInt32LittleEndian(header[40..]); i > 0; i--)
        {
            if (!input.TryTake(name)
                || BinaryPrimitives.ReadUInt32LittleEndian(name[12..]) > QueueChange.MaxForwardPathBytes)
            {
                return null;
            }

            byte[] path = new byte[BinaryPrimitives.ReadUInt32LittleEndian(name[12..])];
            if (!input.TryTake(path))
            {
                return null;
            }

            ulong seq = BinaryPrimitives.ReadUInt64LittleEndian(name);
            paths.Add(new((seq, BinaryPrimitives.ReadUInt32LittleEndian(name[8..])), path));
        }

        return left == 0 ? new QueueCapture([.. pages], messages, [.. paths]) : null;
    }

    private static QueuePage? ReadPage(Input input)
    {
        Span<byte> head = stackalloc byte[2 * sizeof(uint)];
        if (!input.TryTake(head))
        {
            return null;
        }

        uint messages = BinaryPrimitives.ReadUInt32LittleEndian(head);
        uint recipients = BinaryPrimitives.ReadUInt32LittleEndian(head[sizeof(uint)..]);
        long bytes = (messages * (long)Unsafe.SizeOf<QueuedRecord>())
            + (recipients * (long)Unsafe.SizeOf<RecipientRecord>());
        if (messages > QueuePage.Capacity || bytes > input.Left)
        {
            return null;
        }

        QueuePage page = new((int)Math.Max(recipients, QueuePage.Capacity));
        bool isRead = input.TryTake(MemoryMarshal.AsBytes(page.Messages.AsSpan(0, (int)messages)))
            && input.TryTake(MemoryMarshal.AsBytes(page.Recipients.AsSpan(0, (int)recipients)));
        return isRead && page.TryAdopt((int)messages, (int)recipients) ? page : null;
    }

    /// <summary>Writes in blocks and adds up the CRC. Used once.</summary>
    private sealed class Output(IDiskFile file)
    {
        private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(BufferBytes, pinned: true);
        private int _used;
        private int _errno;

        public long Written { get; private set; }

        public uint Crc { get; private set; }

        public void Put(ReadOnlySpan<byte> bytes)
        {
            while (!bytes.IsEmpty && _errno == 0)
            {
                int part = Math.Min(bytes.Length, _buffer.Length - _used);
                bytes[..part].CopyTo(_buffer.AsSpan(_used));
                bytes = bytes[part..];
                _used += part;
                if (_used == _buffer.Length)
                {
                    _ = Drain();
                }
            }
        }

        public int Drain()
        {
            ReadOnlySpan<byte> block = _buffer.AsSpan(0, _used);
            Crc = Crc32C.Extend(Crc, block);
            _errno = _errno != 0 ? _errno : file.WriteAll(block, Written);
            Written += _used;
            _used = 0;
            return _errno;
        }
    }

    /// <summary>Reads in blocks and adds up the CRC. Used once.</summary>
    private sealed class Input(IDiskFile file, long length)
    {
        private readonly long _length = length;
        private readonly byte[] _buffer = GC.AllocateUninitializedArray<byte>(BufferBytes, pinned: true);
        private int _start;
        private int _end;
        private long _position;

        /// <summary>Octets not taken yet.</summary>
        public long Left { get; private set; } = length;

        public int Error { get; private set; }

        public uint Crc { get; private set; }

        public bool TryTake(Span<byte> destination)
        {
            if (destination.Length > Left)
            {
                return false;
            }

            Left -= destination.Length;
            while (!destination.IsEmpty)
            {
                if (_start == _end && !Fill())
                {
                    return false;
                }

                int part = Math.Min(destination.Length, _end - _start);
                _buffer.AsSpan(_start, part).CopyTo(destination);
                destination = destination[part..];
                _start += part;
            }

            return true;
        }

        private bool Fill()
        {
            Span<byte> block = _buffer.AsSpan(0, (int)Math.Min(_buffer.Length, _length - _position));
            Error = file.Read(block, _position, out int read);
            _start = 0;
            _end = Error == 0 ? read : 0;
            _position += _end;
            Crc = Crc32C.Extend(Crc, _buffer.AsSpan(0, _end));
            return _end > 0;
        }
    }
}
