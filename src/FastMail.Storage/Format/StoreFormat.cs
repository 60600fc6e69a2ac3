using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>
/// The FORMAT file: which features the store uses and its identity. Written once, last of all when a store is made, so
/// that its presence says that the first segment exists. A value; read and written by the thread that opens the log.
/// </summary>
/// <param name="Compatible">Features an older program may ignore.</param>
/// <param name="ReadOnlyCompatible">Features an older program may ignore while it only reads.</param>
/// <param name="Incompatible">Features without which the store cannot be understood.</param>
/// <param name="StoreId">Random identity; stands in every segment header.</param>
internal readonly record struct StoreFormat(
    ulong Compatible, ulong ReadOnlyCompatible, ulong Incompatible, Guid StoreId)
{
    public const string FileName = "FORMAT";

    private const int Bytes = 60;
    private const int CrcOffset = 56;
    private const ulong ExternalBodies = 1; // records name body files; set before the first of them is written
    private const ulong KnownIncompatible = ExternalBodies;
    private const ulong KnownReadOnlyCompatible = 0;

    private static ReadOnlySpan<byte> Magic => "fastmail-store\n\0"u8;

    /// <summary>One for the whole store for now: it changes only if the unique-id counters were ever lost.</summary>
    public uint UidValidity
    {
        get
        {
            Span<byte> id = stackalloc byte[16];
            _ = StoreId.TryWriteBytes(id);
            return (BinaryPrimitives.ReadUInt32LittleEndian(id) & int.MaxValue) | 1; // IMAP wants it non-zero
        }
    }

    /// <summary>Records of this store name body files: a program that knows none of them must keep off.</summary>
    public bool HasExternalBodies => (Incompatible & ExternalBodies) != 0;

    public StoreFormat WithExternalBodies => this with { Incompatible = Incompatible | ExternalBodies };

    /// <summary>Null when there is no FORMAT file.</summary>
    /// <exception cref="DamagedLogException">The file is not intact.</exception>
    /// <exception cref="IncompatibleFormatException">It names features this program does not know.</exception>
    /// <exception cref="IOException">It cannot be read.</exception>
    public static StoreFormat? Read(IDisk disk, string directory)
    {
        string path = Path.Join(directory, FileName);
        int errno = disk.Open(path, FileUse.Existing, out IDiskFile? file);
        if (errno == Errno.NotFound)
        {
            return null;
        }

        Errno.Check(errno, "open", path);
        Span<byte> bytes = stackalloc byte[Bytes];
        int read;
        using (file)
        {
            Errno.Check(file!.Read(bytes, 0, out read), "read", path);
        }

        if (read < Bytes || !bytes.StartsWith(Magic)
            || Crc32C.Extend(0, bytes[..CrcOffset]) != BinaryPrimitives.ReadUInt32LittleEndian(bytes[CrcOffset..]))
        {
            throw new DamagedLogException(
                $"{path} is not an intact FORMAT file of a FastMail store; put this one file of a backup of this store in its place");
        }

        StoreFormat format = new(
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[24..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[32..]),
            new Guid(bytes.Slice(40, 16)));
        format.Admit(path);
        return format;
    }

    /// <summary>Writes the file so that it appears whole or not at all, and survives a power loss.</summary>
    /// <exception cref="IOException">The disk failed.</exception>
    public void Write(IDisk disk, string directory)
    {
        Errno.Check(TryWrite(disk, directory), "write", Path.Join(directory, FileName));
    }

    /// <summary>The same; answers an errno.</summary>
    public int TryWrite(IDisk disk, string directory)
    {
        Span<byte> bytes = stackalloc byte[Bytes];
        Magic.CopyTo(bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], Compatible);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[24..], ReadOnlyCompatible);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[32..], Incompatible);
        _ = StoreId.TryWriteBytes(bytes[40..]);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[CrcOffset..], Crc32C.Extend(0, bytes[..CrcOffset]));

        string path = Path.Join(directory, FileName);
        string temporary = path + ".tmp";
        int errno = disk.Open(temporary, FileUse.CreateEmpty, out IDiskFile? file);
        if (errno != 0)
        {
            return errno;
        }

        using (file!)
        {
            errno = file!.WriteAll(bytes, 0);
            errno = errno != 0 ? errno : file!.Flush();
        }

        errno = errno != 0 ? errno : disk.Rename(temporary, path);
        return errno != 0 ? errno : disk.SyncDirectory(directory);
    }

    private void Admit(string path)
    {
        ulong unknown = Incompatible & ~KnownIncompatible;
        if (unknown != 0)
        {
            throw new IncompatibleFormatException(
                $"{path} names features this program does not know (incompat 0x{unknown:x}); use a newer FastMail");
        }

        unknown = ReadOnlyCompatible & ~KnownReadOnlyCompatible;
        if (unknown != 0)
        {
            throw new IncompatibleFormatException(
                $"{path} names features this program may not write (ro_compat 0x{unknown:x}); use a newer FastMail");
        }
    }
}
