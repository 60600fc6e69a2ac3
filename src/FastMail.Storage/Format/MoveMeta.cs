using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>
/// Meta of a MOVE record. One says where live records were copied to: every record of a cold segment takes the place of
/// its original. The other says which segments hold nothing live any more, before their files are removed: it is the
/// proof that a file which is not there was not lost. Stateless; any thread.
/// </summary>
internal static class MoveMeta
{
    private const int RangeBytes = 2 * sizeof(ulong);
    private const int RangesPerField = 4095;

    public static byte[] WriteMovedTo(ulong coldLsn)
    {
        byte[] meta = new byte[MetaReader.FieldHeaderBytes + sizeof(ulong)];
        MetaReader.WriteFieldHeader(meta, MetaType.MovedTo, sizeof(ulong));
        BinaryPrimitives.WriteUInt64LittleEndian(meta.AsSpan(MetaReader.FieldHeaderBytes), coldLsn);
        return meta;
    }

    public static byte[] WriteRetired(IReadOnlyList<Segment> segments)
    {
        int fields = (segments.Count + RangesPerField - 1) / RangesPerField;
        byte[] all = new byte[(fields * MetaReader.FieldHeaderBytes) + (segments.Count * RangeBytes)];
        Span<byte> meta = all;
        for (int i = 0; i < segments.Count; i++)
        {
            if (i % RangesPerField == 0)
            {
                int part = Math.Min(RangesPerField, segments.Count - i);
                MetaReader.WriteFieldHeader(meta, MetaType.Retired, part * RangeBytes);
                meta = meta[MetaReader.FieldHeaderBytes..];
            }

            BinaryPrimitives.WriteUInt64LittleEndian(meta, segments[i].BaseLsn);
            BinaryPrimitives.WriteUInt64LittleEndian(meta[sizeof(ulong)..], segments[i].EndLsn);
            meta = meta[RangeBytes..];
        }

        return all;
    }

    /// <summary>Reads either kind; false when the meta is neither.</summary>
    public static bool TryRead(ReadOnlySpan<byte> meta, out ulong movedTo, List<(ulong Base, ulong End)> retired)
    {
        movedTo = 0;
        bool isAny = false;
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            ReadOnlySpan<byte> value = reader.Value;
            if (reader.Type == MetaType.MovedTo && value.Length >= sizeof(ulong))
            {
                movedTo = BinaryPrimitives.ReadUInt64LittleEndian(value);
                isAny = true;
            }
            else if (reader.Type == MetaType.Retired)
            {
                isAny = true;
                for (; value.Length >= RangeBytes; value = value[RangeBytes..])
                {
                    retired.Add((
                        BinaryPrimitives.ReadUInt64LittleEndian(value),
                        BinaryPrimitives.ReadUInt64LittleEndian(value[sizeof(ulong)..])));
                }
            }
        }

        return isAny;
    }
}
