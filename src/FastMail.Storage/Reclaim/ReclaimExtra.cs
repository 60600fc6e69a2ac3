using System.Buffers.Binary;

namespace FastMail.Storage;

/// <summary>
/// What reclamation keeps with a checkpoint: what is live in each segment, and the records with several references.
/// Captured under the lock of the maildrops, so it belongs to the same place in the log as the index. Stateless.
/// </summary>
/// <remarks>
/// retired-below u64, next cold address u64, segments u32, records u32; a segment: base u64, messages u64, octets u64,
/// flags u64 (1: a record in it is aimed at a cold segment); a record: address u64, references u64; then, unless an
/// older program wrote it, traits u64 (1: octets are without body files).
/// </remarks>
internal sealed class ReclaimExtra(SegmentList segments, MaildropTable maildrops)
{
    private const uint Version = 1;
    private const int HeaderBytes = 24;
    private const int SegmentBytes = 32;
    private const int SharedBytes = 16;
    private const int TraitsBytes = 8;
    private const ulong WithoutBodies = 1;

    public CheckpointExtra Capture()
    {
        Liveness liveness = maildrops.Liveness;
        List<Segment> all = [];
        foreach (Segment segment in segments.All)
        {
            if (!segment.Life.IsRetired && !segment.Life.AwaitsMove)
            {
                all.Add(segment);
            }
        }

        byte[] bytes = new byte[
            HeaderBytes + (all.Count * SegmentBytes) + (liveness.Shared.Count * SharedBytes) + TraitsBytes];
        Span<byte> rest = bytes;
        BinaryPrimitives.WriteUInt64LittleEndian(rest, liveness.RetiredBelow);
        BinaryPrimitives.WriteUInt64LittleEndian(rest[8..], liveness.NextColdLsn);
        BinaryPrimitives.WriteInt32LittleEndian(rest[16..], all.Count);
        BinaryPrimitives.WriteInt32LittleEndian(rest[20..], liveness.Shared.Count);
        rest = rest[HeaderBytes..];
        foreach (Segment segment in all)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(rest, segment.BaseLsn);
            BinaryPrimitives.WriteInt64LittleEndian(rest[8..], segment.Life.Messages);
            BinaryPrimitives.WriteInt64LittleEndian(rest[16..], segment.Life.Bytes);
            BinaryPrimitives.WriteInt64LittleEndian(rest[24..], segment.Life.HasAimed ? 1 : 0);
            rest = rest[SegmentBytes..];
        }

        foreach ((ulong lsn, int references) in liveness.Shared)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(rest, lsn);
            BinaryPrimitives.WriteInt64LittleEndian(rest[8..], references);
            rest = rest[SharedBytes..];
        }

        BinaryPrimitives.WriteUInt64LittleEndian(rest, WithoutBodies);
        return new CheckpointExtra(Version, bytes);
    }

    /// <summary>Goes on from a checkpoint; false, and nothing changed, when it has no such section.</summary>
    /// <param name="manifest">The checkpoint's.</param>
    /// <param name="segments">Those that are there.</param>
    /// <param name="liveness">Filled.</param>
    /// <param name="cold">The cold segments that must be there, unless the log says otherwise, are added.</param>
    /// <param name="countsBodies">The octets of segments include body files.</param>
    public static bool TryRestore(
        Manifest manifest, SegmentList segments, Liveness liveness, HashSet<ulong> cold, out bool countsBodies)
    {
        countsBodies = true;
        ReadOnlySpan<byte> rest = manifest.Extra.Span;
        if (manifest.ExtraVersion != Version || rest.Length < HeaderBytes)
        {
            return false;
        }

        liveness.RetiredBelow = BinaryPrimitives.ReadUInt64LittleEndian(rest);
        liveness.NextColdLsn = Math.Max(liveness.NextColdLsn, BinaryPrimitives.ReadUInt64LittleEndian(rest[8..]));
        int count = BinaryPrimitives.ReadInt32LittleEndian(rest[16..]);
        int shared = BinaryPrimitives.ReadInt32LittleEndian(rest[20..]);
        rest = rest[HeaderBytes..];
        for (int i = 0; i < count; i++)
        {
            ulong baseLsn = BinaryPrimitives.ReadUInt64LittleEndian(rest);
            if (baseLsn >= SegmentList.ColdLsn)
            {
                _ = cold.Add(baseLsn);
            }

            if (segments.Find(baseLsn) is { } segment)
            {
                segment.Life.Messages = BinaryPrimitives.ReadInt64LittleEndian(rest[8..]);
                segment.Life.Bytes = BinaryPrimitives.ReadInt64LittleEndian(rest[16..]);
                segment.Life.HasAimed = BinaryPrimitives.ReadInt64LittleEndian(rest[24..]) != 0;
            }

            rest = rest[SegmentBytes..];
        }

        for (int i = 0; i < shared; i++)
        {
            liveness.Restore(
                BinaryPrimitives.ReadUInt64LittleEndian(rest), (int)BinaryPrimitives.ReadInt64LittleEndian(rest[8..]));
            rest = rest[SharedBytes..];
        }

        countsBodies = rest.Length < TraitsBytes
            || (BinaryPrimitives.ReadUInt64LittleEndian(rest) & WithoutBodies) == 0;
        return true;
    }
}
