namespace FastMail.Storage;

/// <summary>
/// A checkpoint of the index as an inspection found it. A damaged one costs no mail: the next start goes without it.
/// Immutable.
/// </summary>
public sealed class LogCheckpoint
{
    internal LogCheckpoint(string path, ulong lsn, string? problem)
    {
        Path = path;
        Lsn = lsn;
        Problem = problem;
    }

    /// <summary>Its directory.</summary>
    public string Path { get; }

    /// <summary>Its place in the log: a start that uses it reads the log from here.</summary>
    public ulong Lsn { get; }

    /// <summary>Null when every octet of it is what was written; else what is wrong, in one line.</summary>
    public string? Problem { get; }

    /// <summary>When it was made, microseconds since 1970 UTC; 0 when its manifest is damaged.</summary>
    public long CreatedMicros { get; internal init; }

    /// <summary>Mailboxes in it; 0 when it is damaged.</summary>
    public long Mailboxes { get; internal init; }

    /// <summary>Messages in it, counted once a mailbox; 0 when it is damaged.</summary>
    public long Messages { get; internal init; }

    /// <summary>Messages that waited to be relayed; 0 when it is damaged.</summary>
    public long QueuedMessages { get; internal init; }

    /// <summary>Everything below was durable when it was made; 0 when its manifest is damaged.</summary>
    internal ulong ProvenLsn { get; init; }

    /// <summary>What lies below may have been dropped.</summary>
    internal ulong OldestNeededLsn { get; init; }

    /// <summary>All that were finished, newest first, each read and checked.</summary>
    internal static List<LogCheckpoint> ReadAll(string dataPath, Guid storeId)
    {
        CheckpointFiles files = new(ReadOnlyDisk.Instance, dataPath, storeId);
        List<LogCheckpoint> all = [];
        foreach (ulong lsn in files.List())
        {
            Manifest? manifest = files.ReadManifest(lsn, out string why);
            LogCheckpoint checkpoint = manifest is not null
                ? Read(files, manifest)
                : new LogCheckpoint(files.DirectoryOf(lsn), lsn, why);
            bool isThere = manifest is not null || why.Length > 0;
            if (isThere && checkpoint.Problem is not null)
            {
                // A running server may have removed it meanwhile, its manifest first.
                isThere = files.ReadManifest(lsn, out why) is not null || why.Length > 0;
            }

            if (isThere)
            {
                all.Add(checkpoint);
            }
        }

        return all;
    }

    private static LogCheckpoint Read(CheckpointFiles files, Manifest manifest)
    {
        ulong lsn = manifest.Point.Lsn;
        Checkpoint? read = files.Open(manifest, out string why);
        LogCheckpoint checkpoint = new(files.DirectoryOf(lsn), lsn, read is null ? why : null)
        {
            CreatedMicros = manifest.CreatedMicros,
            Mailboxes = read?.Shards.Sum(s => (long)s.Mailboxes.Length) ?? 0,
            Messages = read?.Shards.Sum(s => s.Entries) ?? 0,
            QueuedMessages = read?.Queue.Messages ?? 0,
            ProvenLsn = lsn,
            OldestNeededLsn = manifest.PreviousLsn,
        };
        foreach (Shard shard in read?.Shards ?? [])
        {
            shard.Release();
        }

        return checkpoint;
    }
}
