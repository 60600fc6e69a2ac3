namespace FastMail.Storage;

/// <summary>
/// Once the log has been read: removes the body files that no message names any more (of messages that were never
/// complete, or are gone), and tells of those that are named and not there. Stateless; used by the thread that opens
/// the log, before anything new is written.
/// </summary>
internal static class BodySweep
{
    /// <summary>Running it twice does no harm.</summary>
    /// <param name="files">The directory.</param>
    /// <param name="table">What the messages name; while records are missing, none is removed.</param>
    /// <param name="notice">For the operator.</param>
    /// <exception cref="IOException">The disk failed.</exception>
    public static void Run(BodyFiles files, BodyTable table, Action<string> notice)
    {
        List<ulong> found = files.List();
        files.StartBehind(table.HighestId);
        Dictionary<ulong, ulong> missing = table.All.ToDictionary(b => b.Id, b => b.Lsn);
        int kept = 0;
        foreach (ulong id in found.Order())
        {
            files.StartBehind(id);
            if (missing.Remove(id))
            {
                continue;
            }

            if (table.HasLostRecords)
            {
                kept++;
            }
            else
            {
                Errno.Check(files.Disk.Remove(files.PathOf(id)), "remove", files.PathOf(id));
            }
        }

        table.ForgetUnused();
        if (kept > 0)
        {
            notice(
                $"{kept} file(s) in {files.DirectoryPath} are named by no message; they are kept, because records that "
                + "are missing may have named them");
        }

        foreach ((ulong id, ulong lsn) in missing.OrderBy(m => m.Key))
        {
            notice(
                $"{files.PathOf(id)} is missing: the message at position 0x{lsn:x} stays listed and cannot be "
                + "retrieved; restore the file");
        }
    }
}
