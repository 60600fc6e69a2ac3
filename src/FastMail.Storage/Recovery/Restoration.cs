namespace FastMail.Storage;

/// <summary>
/// The first start in a copy of a backup. What was accepted after the backup is not in it, and others know its numbers
/// and unique-ids: a client that leaves mail on the server would take new mail of the same unique-id for mail it has
/// seen, and never fetch it. So the log goes on in a new segment, far above all that may have been given. Used once, by
/// the thread that opens the log, before anything else is written.
/// </summary>
internal sealed class Restoration(DataDirectory place, Action<string> notice)
{
    /// <summary>
    /// How far. A record takes a number and gives each mailbox at most one unique-id; no server writes as many between
    /// two backups.
    /// </summary>
    public const ulong Skipped = 1UL << 32;

    private string BackupPath => Path.Join(place.Path, MailLog.BackupName);

    /// <summary>A backup was copied here, and no start has gone on from it.</summary>
    /// <exception cref="IOException">The disk failed.</exception>
    public bool IsDue()
    {
        int errno = place.Disk.Open(BackupPath, FileUse.Existing, out IDiskFile? file);
        file?.Dispose();
        Errno.Check(errno == Errno.NotFound ? 0 : errno, "open", BackupPath);
        return errno == 0;
    }

    /// <summary>
    /// Goes on above what was given, and only when that is durable forgets that it is a backup: after a crash in between
    /// the next start does it once more, which does no harm.
    /// </summary>
    /// <exception cref="IOException">The disk failed or is full; the next start tries again.</exception>
    public void Run(GroupWriter writer)
    {
        Errno.Check(writer.Skip(Skipped, out bool hasSpace), "begin a segment in", place.LogPath);
        Errno.Check(hasSpace ? 0 : Errno.NoSpace, "begin a segment in", place.LogPath);
        Errno.Check(place.Disk.Remove(BackupPath), "remove", BackupPath);
        Errno.Check(place.Disk.SyncDirectory(place.Path), "flush", place.Path);
        notice($"{place.Path} was restored from a backup: unique-ids and the numbers of records go on {Skipped} higher, "
            + "so that none is given again that was given after the backup");
    }
}
