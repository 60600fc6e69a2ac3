using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>Meta of a CKPT record, 20 octets: written after the checkpoint was durable. A value.</summary>
/// <param name="Lsn">Place of the checkpoint, and the name of its directory.</param>
/// <param name="OldestNeededLsn">Place of the older one kept beside it; what lies below may have been dropped.</param>
/// <param name="ManifestCrc">CRC-32C of the MANIFEST file.</param>
public readonly record struct CheckpointMeta(ulong Lsn, ulong OldestNeededLsn, uint ManifestCrc)
{
    internal const int Bytes = 20;

    internal void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, Lsn);
        BinaryPrimitives.WriteUInt64LittleEndian(destination[8..], OldestNeededLsn);
        BinaryPrimitives.WriteUInt32LittleEndian(destination[16..], ManifestCrc);
    }

    internal static bool TryRead(ReadOnlySpan<byte> meta, out CheckpointMeta checkpoint)
    {
        checkpoint = default;
        if (meta.Length != Bytes)
        {
            return false;
        }

        checkpoint = new(
            BinaryPrimitives.ReadUInt64LittleEndian(meta),
            BinaryPrimitives.ReadUInt64LittleEndian(meta[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(meta[16..]));
        return true;
    }
}
