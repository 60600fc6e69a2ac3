using FastMail.Server.Accounts;
using FastMail.Storage;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Backup;

/// <summary>
/// One backup of a data directory into another directory. The caller sees to it that the segment files stay: by the
/// directory's lock, or by a hold of the server. Owned by its caller; one thread.
/// </summary>
/// <remarks>
/// Everything is brought in under temporary names first and then revealed segment by segment in the order of the log,
/// so that the target is at every moment a log that ends early, and can be restored even if this run never ends. The
/// accounts come after the position of the log was taken: a mailbox number that mail in the backup names is never
/// given to somebody else by the restored server.
/// </remarks>
internal sealed class BackupRun
{
    /// <summary>Directories of files that are written once: kept as they are, by name.</summary>
    private static readonly string[] Shelves = ["body", "quarantine"];

    private readonly string _source;
    private readonly string _target;
    private readonly LogInspector _log;
    private readonly BackupFiles _files;
    private readonly BackupManifest? _before;
    private readonly DateTimeOffset _now;
    private readonly List<string> _placed = [];
    private readonly HashSet<string> _shelved = new(StringComparer.Ordinal);

    /// <param name="source">The data directory.</param>
    /// <param name="target">Where the backup goes.</param>
    /// <param name="log">The source's log, locked or held.</param>
    /// <param name="files">How files are brought in.</param>
    /// <param name="now">Noted in the manifest.</param>
    public BackupRun(string source, string target, LogInspector log, BackupFiles files, DateTimeOffset now)
    {
        _source = Path.GetFullPath(source);
        _target = Path.GetFullPath(target);
        _log = log;
        _files = files;
        _now = now;
        _before = BackupManifest.Read(_target);
    }

    /// <summary>Segments that an earlier run had brought in and this one kept.</summary>
    public int Kept { get; private set; }

    /// <summary>Address of the first segment that this run brought in; null when there was none.</summary>
    public ulong? FirstPlacedLsn { get; private set; }

    /// <summary>Why the target cannot take this backup; null when it can.</summary>
    public string? Refusal(bool isIncremental)
    {
        if (_target == _source || _target.StartsWith(_source + Path.DirectorySeparatorChar, StringComparison.Ordinal)
            || _source.StartsWith(_target + Path.DirectorySeparatorChar, StringComparison.Ordinal))
        {
            return $"{_target} and the data directory lie within each other; choose a directory outside";
        }

        if (!Directory.Exists(_target) || !Directory.EnumerateFileSystemEntries(_target).Any())
        {
            return null;
        }

        if (File.Exists(Path.Join(_target, "LOCK")))
        {
            return $"a server has been started in {_target}; a backup must not be mixed with what came after";
        }

        // The identity and not all of FORMAT: a store comes to use features as it lives.
        if (LogInspector.StoreIdOf(_target) != _log.StoreId)
        {
            return $"{_target} is not empty and holds no backup of this store; choose an empty directory";
        }

        return isIncremental ? null : $"{_target} holds a backup already; add to it with --incremental or choose an empty directory";
    }

    /// <exception cref="IOException">A disk failed or is full.</exception>
    /// <exception cref="SqliteException">The accounts cannot be read or written.</exception>
    /// <exception cref="OperationCanceledException">Interrupted; running it again goes on.</exception>
    public BackupManifest Run()
    {
        string log = Path.Join(_target, "log");
        AccountStore.MakeDirectory(_target);
        AccountStore.MakeDirectory(log);
        RemoveParts();
        CopyIfThere("FORMAT");
        CopyIfThere(Configuration.Settings.FileName);
        CopyIfThere(Tls.SelfSigned.FileName);
        List<string> shelved = [.. Shelves.SelectMany(PlaceShelf)];
        foreach (string name in _log.Names)
        {
            PlaceSegment(name, Path.Join(log, name));
        }

        CopyAccounts();
        foreach (string path in shelved.Concat(_placed))
        {
            BackupFiles.Reveal(path);
        }

        RemoveDropped(log);
        RemoveDroppedBodies();
        List<string> complete = [.. _log.Names.Where(name => !IsGrowing(name))];
        var manifest = new BackupManifest(1, _now, _log.EndLsn, _log.Names, complete, _files.CopiedBytes);
        manifest.Write(_target);
        return manifest;
    }

    private bool IsGrowing(string name) => name == _log.GrowingName;

    private void PlaceSegment(string name, string target)
    {
        if (_before is not null && _before.Complete.Contains(name, StringComparer.Ordinal) && File.Exists(target))
        {
            Kept++;
            return;
        }

        string source = Path.Join(_source, "log", name);
        if (IsGrowing(name))
        {
            _files.Copy(source, target, _log.GrowingBytes); // never a link: the server goes on writing into its file
        }
        else
        {
            _files.Place(source, target);
        }

        FirstPlacedLsn ??= LogInspector.BaseLsnOf(name);
        _placed.Add(target);
    }

    private List<string> PlaceShelf(string shelf)
    {
        string source = Path.Join(_source, shelf);
        List<string> placed = [];
        if (!Directory.Exists(source))
        {
            return placed;
        }

        string target = Path.Join(_target, shelf);
        AccountStore.MakeDirectory(target);
        foreach (string path in Directory.EnumerateFiles(source))
        {
            _ = _shelved.Add(Path.GetFileName(path));
            string copy = Path.Join(target, Path.GetFileName(path));
            if (!path.EndsWith(".tmp", StringComparison.Ordinal) && !File.Exists(copy))
            {
                _files.Place(path, copy);
                placed.Add(copy);
            }
        }

        return placed;
    }

    private void CopyIfThere(string name)
    {
        string source = Path.Join(_source, name);
        if (File.Exists(source))
        {
            string target = Path.Join(_target, name);
            _files.Copy(source, target, long.MaxValue);
            BackupFiles.Reveal(target);
        }
    }

    private void CopyAccounts()
    {
        string source = Path.Join(_source, AccountStore.FileName);
        if (!File.Exists(source))
        {
            return;
        }

        string target = Path.Join(_target, AccountStore.FileName);
        string part = target + BackupFiles.PartSuffix;
        using (SqliteConnection from = Connect(source, SqliteOpenMode.ReadWrite))
        using (SqliteConnection to = Connect(part, SqliteOpenMode.ReadWriteCreate))
        {
            from.BackupDatabase(to);
            using SqliteCommand command = to.CreateCommand();
            command.CommandText = "PRAGMA journal_mode=DELETE"; // one file, without a log of its own beside it
            command.ExecuteNonQuery();
            command.CommandText = "PRAGMA integrity_check";
            if (command.ExecuteScalar() is not "ok")
            {
                throw new IOException($"{source}: the accounts are damaged");
            }
        }

        File.SetUnixFileMode(part, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        BackupFiles.Flush(part);
        foreach (string suffix in (ReadOnlySpan<string>)["-wal", "-shm"])
        {
            File.Delete(target + suffix); // of somebody who looked at the backup: it would be taken for the new one's
        }

        BackupFiles.Reveal(target);
    }

    private static SqliteConnection Connect(string path, SqliteOpenMode mode)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder
        {
            DataSource = path,
            Mode = mode,
            Pooling = false,
        }.ToString());
        connection.Open();
        return connection;
    }

    /// <summary>Segments that the store no longer has: all their mail is gone or has moved.</summary>
    private void RemoveDropped(string log)
    {
        foreach (string path in Directory.EnumerateFiles(log, "*.seg"))
        {
            if (!_log.Names.Contains(Path.GetFileName(path), StringComparer.Ordinal))
            {
                File.Delete(path);
            }
        }
    }

    /// <summary>Body files that the store had no more when this run looked: their messages are gone.</summary>
    private void RemoveDroppedBodies()
    {
        string bodies = Path.Join(_target, "body");
        foreach (string path in Directory.Exists(bodies) ? Directory.EnumerateFiles(bodies) : [])
        {
            if (!_shelved.Contains(Path.GetFileName(path)))
            {
                File.Delete(path);
            }
        }
    }

    private void RemoveParts()
    {
        foreach (string path in Directory.EnumerateFiles(_target, "*" + BackupFiles.PartSuffix, SearchOption.AllDirectories))
        {
            File.Delete(path);
        }
    }
}
