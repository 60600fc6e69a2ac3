namespace FastMail.Storage;

/// <summary>
/// Where the records of the last segment end, by the rule of recovery: what a later GROUP proves durable is damaged
/// when it is not valid; the first invalid record behind every proof is where the tail was torn. Stateless; any thread.
/// </summary>
internal static class SegmentTail
{
    /// <summary>
    /// Offset behind the last record that counts. What the disk cannot read there may be a record that counts too:
    /// then <paramref name="unreadable"/> says why.
    /// </summary>
    public static long FindEnd(Segment segment, LogChain chain, out string? unreadable)
    {
        ulong proven = FindProof(segment, chain);
        SegmentScan scan = new(segment, chain.Seq, chain.IsSeqKnown, isLenient: true);
        while (scan.MoveNext())
        {
            bool follows = scan.GapOffset == scan.CurrentOffset && scan.MissingRecords == 0;
            unreadable = scan.Unreadable;
            if (!follows && segment.BaseLsn + (ulong)scan.GapOffset >= proven)
            {
                return scan.GapOffset;
            }

            if (scan.Current.Lsn >= proven && !scan.HasIntactBody())
            {
                unreadable = scan.Unreadable;
                return scan.CurrentOffset;
            }
        }

        unreadable = scan.Unreadable;
        return scan.Offset;
    }

    private static ulong FindProof(Segment segment, LogChain chain)
    {
        ulong proven = segment.BaseLsn;
        SegmentScan scan = new(segment, chain.Seq, chain.IsSeqKnown, isLenient: true);
        while (scan.MoveNext())
        {
            if (scan.Current.Type == RecordType.Group && GroupMeta.TryRead(scan.CurrentMeta, out GroupMeta group)
                && group.DurableLsn <= scan.Current.Lsn)
            {
                proven = Math.Max(proven, group.DurableLsn);
            }
            else if (scan.Current.Type == RecordType.Seal)
            {
                proven = scan.Current.Lsn; // all groups had been flushed before the SEAL was written
            }
        }

        return proven;
    }
}
