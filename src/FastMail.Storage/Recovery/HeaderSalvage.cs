namespace FastMail.Storage;

/// <summary>
/// Rebuilds the header page of a segment when it is damaged: the name tells the address, the neighbours the size, and
/// the salt follows from the first two records, because a CRC can be run backwards. In memory only: a segment is never
/// rewritten, so every start does it again. Stateless; used by the thread that opens the log.
/// </summary>
internal static class HeaderSalvage
{
    private const uint Polynomial = 0x82F63B78; // CRC-32C, reflected

    /// <summary>Octets behind the header page that <see cref="TryRebuild"/> looks at.</summary>
    public const int LookBytes = GroupMeta.TotalBytes + RecordHeader.Bytes;

    /// <summary>
    /// False when the first two records do not agree on a salt. The first is the GROUP that begins every segment, so
    /// no octet of it was chosen by a sender of mail; the second must be valid under the salt of the first.
    /// </summary>
    public static bool TryRebuild(
        ReadOnlySpan<byte> records, in SegmentHeader known, out SegmentHeader header)
    {
        header = default;
        RecordHeader first = RecordHeader.Read(records);
        ulong lsn = known.BaseLsn + SegmentHeader.Bytes;
        if (first.Magic != RecordHeader.MagicNumber || first.Type != RecordType.Group || first.Lsn != lsn
            || first.VersionBits != RecordHeader.Version || first.TotalBytes != GroupMeta.TotalBytes
            || first.MetaBytes != GroupMeta.Bytes || first.ContentBytes != GroupMeta.Bytes
            || !RecordReader.HasIntactMeta(first, records[..GroupMeta.TotalBytes]))
        {
            return false;
        }

        uint salt = SaltOf(records[..RecordHeader.Bytes], first.HeaderCrc);
        long room = known.SegmentBytes - SegmentHeader.Bytes - GroupMeta.TotalBytes;
        header = known with
        {
            Salt = salt,
            CreatedMicros = first.TimestampMicros,
            IsReused = true, // it may be
            IsRebuilt = true,
        };
        return RecordHeader.TryRead(
                records[GroupMeta.TotalBytes..], salt, lsn + GroupMeta.TotalBytes, room, out RecordHeader second)
            && second.Seq == first.Seq + 1;
    }

    /// <summary>The salt under which this header has this CRC: there is exactly one.</summary>
    private static uint SaltOf(ReadOnlySpan<byte> header, uint crc)
    {
        Span<byte> octets = stackalloc byte[RecordHeader.Bytes];
        header.CopyTo(octets);
        octets.Slice(RecordHeader.CrcOffset, sizeof(uint)).Clear();
        uint state = ~crc;
        for (int i = octets.Length - 1; i >= 0; i--)
        {
            for (int bit = 0; bit < 8; bit++)
            {
                // Forward, the bit that falls out at the bottom decides about the polynomial, whose top bit is set.
                state = (state & 0x80000000) != 0 ? ((state ^ Polynomial) << 1) | 1 : state << 1;
            }

            state ^= octets[i];
        }

        return ~state;
    }
}
