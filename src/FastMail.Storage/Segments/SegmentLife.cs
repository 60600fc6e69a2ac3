namespace FastMail.Storage;

/// <summary>
/// What of a segment is still needed: the fold of the messages that came into it and those that went. Owned by its
/// <see cref="Segment"/>, kept by the <see cref="Liveness"/>; guarded by <see cref="MaildropTable.Gate"/>.
/// </summary>
internal sealed class SegmentLife
{
    /// <summary>Messages that somebody still needs: exact.</summary>
    public long Messages { get; set; }

    /// <summary>Octets of their records, the padding included.</summary>
    public long Bytes { get; set; }

    /// <summary>What <see cref="Bytes"/> was when this process made the cold segment; 0 for all others.</summary>
    public long BornBytes { get; set; }

    /// <summary>
    /// It holds a removal, or a change of the queue, whose message may still lie in a cold segment: that must not go
    /// before the message.
    /// </summary>
    public bool HasAimed { get; set; }

    /// <summary>The log says that it is no longer needed; its file may go.</summary>
    public bool IsRetired { get; set; }

    /// <summary>
    /// A cold segment whose MOVE has not been applied: nobody needs it yet, and when there is no room for the MOVE its
    /// file goes without a word in the log.
    /// </summary>
    public bool AwaitsMove { get; set; }

    /// <summary>A live message in it could not be read: it is kept as it is until that is tried again.</summary>
    public bool IsUnreadable { get; set; }
}
