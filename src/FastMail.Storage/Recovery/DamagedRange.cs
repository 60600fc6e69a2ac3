namespace FastMail.Storage;

/// <summary>
/// Bytes of acknowledged records that cannot be read any more. Found, counted, kept and told by the thread that opens
/// the log; owned by the <see cref="Recovery"/>.
/// </summary>
/// <param name="Segment">Where.</param>
/// <param name="Offset">Where it begins.</param>
/// <param name="End">Where it ends; the same when nothing is left that could be kept.</param>
/// <param name="What">What is wrong there, for the operator.</param>
internal sealed record DamagedRange(Segment Segment, long Offset, long End, string What)
{
    /// <summary>
    /// Records that are missing here by their numbers; null when they are counted with the next range, because no
    /// valid record stands between the two.
    /// </summary>
    public ulong? Missing { get; set; }

    /// <summary>The records could only be counted by the room they had: there may have been fewer.</summary>
    public bool IsUpperBound { get; set; }

    public ulong Lsn => Segment.BaseLsn + (ulong)Offset;

    public long Bytes => End - Offset;

    /// <summary>For the operator; <paramref name="kept"/> is the path of the copy, or why there is none.</summary>
    public string Tell(string kept)
    {
        string missing = Missing switch
        {
            null => "the records missing here are counted with the next damage",
            0 => "no record is missing",
            { } count => $"{(IsUpperBound ? "at most " : "")}{count} record(s) missing: messages among them are "
                + "lost, removals among them undone",
        };
        return $"{Segment.Path}: {What} at offset {Offset}, {Bytes} bytes (position 0x{Lsn:x}): {missing}; {kept}; "
            + "the log goes on behind it";
    }
}
