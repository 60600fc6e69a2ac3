using FastMail.Server.Accounts;
using FastMail.Server.Dkim;
using FastMail.Storage;
using Microsoft.Data.Sqlite;

namespace FastMail.Server.Backup;

/// <summary>
/// One backup of a data directory into another directory. The caller sees to it that the segment files stay: by the
/// directory's lock, or by a hold of the server. Owned by its caller; one thread.
/// </summary>
/// <remarks>
/// Everything is brought in under temporary names first and then revealed segment by segment: cold ones, then the log in
/// its order. So a run that never ends leaves a log that ends early, with the checkpoint of the run before, and can be
/// restored; unless the store has dropped segments that the run before had not seen: their place is empty until all
/// behind them is revealed, and a start in such a target may refuse. The same with --incremental mends it. The
/// accounts come after the position of the log was taken: a mailbox number that mail in the backup names is never
/// given to somebody else by the restored server.
/// </remarks>
internal sealed class BackupRun
{
    /// <summary>Directories of files that are written once: kept as they are, by name.</summary>
    private static readonly string[] Shelves = ["body", "quarantine"];

    private const string FormatName = "FORMAT";
    private const string CheckpointName = "ckpt";
    private const string ManifestName = "MANIFEST";

    private readonly string _source;
    private readonly string _target;
    private readonly LogInspector _log;
    private readonly BackupFiles _files;
    private readonly Action _checkSource;
    private readonly BackupManifest? _before;
    private readonly DateTimeOffset _now;
    private readonly List<string> _placed = [];
    private readonly HashSet<string> _shelved = new(StringComparer.Ordinal);
    private readonly HashSet<string> _checkpoints = new(StringComparer.Ordinal);

    /// <param name="source">The data directory.</param>
    /// <param name="target">Where the backup goes.</param>
    /// <param name="log">The source's log, locked or held.</param>
    /// <param name="files">How files are brought in.</param>
    /// <param name="checkSource">Throws when the source's files may have changed while they were read.</param>
    /// <param name="now">Noted in the manifest.</param>
    public BackupRun(string source, string target, LogInspector log, BackupFiles files, Action checkSource, DateTimeOffset now)
    {
        _source = Path.GetFullPath(source);
        _target = Path.GetFullPath(target);
        _log = log;
        _files = files;
        _checkSource = checkSource;
        _now = now;
        _before = BackupManifest.Read(_target);
        UnverifiedFrom = _before?.UnverifiedFrom;
    }

    /// <summary>Segments that an earlier run had brought in and this one kept.</summary>
    public int Kept { get; private set; }

    /// <summary>Address of the first segment that this run or one before brought in and that nobody has read back.</summary>
    public ulong? UnverifiedFrom { get; private set; }

    /// <summary>Why the target cannot take this backup; null when it can.</summary>
    public string? Refusal(bool isIncremental)
    {
        if (_target == _source || _target.StartsWith(_source + Path.DirectorySeparatorChar, StringComparison.Ordinal)
            || _source.StartsWith(_target + Path.DirectorySeparatorChar, StringComparison.Ordinal))
        {
            return $"{_target} and the data directory lie within each other; choose a directory outside";
        }

        if (!Directory.Exists(_target) || Directory.EnumerateFileSystemEntries(_target).All(IsBeginning))
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

        return isIncremental
            ? OtherHistory()
            : $"{_target} holds a backup already; add to it with --incremental or choose an empty directory";
    }

    /// <summary>
    /// A store that was put back to an older state, and went on, gives the same names to other segments: the mail in
    /// these of the backup may be nowhere else.
    /// </summary>
    private string? OtherHistory()
    {
        const string Remedy = "the store was put back to an older state since; keep that backup and begin one in a new directory";
        string? other = _log.Names.FirstOrDefault(name =>
        {
            string copy = Path.Join(_target, "log", name);
            return File.Exists(copy) && LogInspector.AreDifferentSegments(copy, _log.PathOf(name));
        });
        if (other is not null)
        {
            return $"{_target} holds another segment by the name {other}: {Remedy}";
        }

        return _before?.EndLsn is { } before && _log.FindEnd() is var end && end < before
            ? $"{_target} reaches to 0x{before:x}, and the log ends at 0x{end:x}: {Remedy}"
            : null;
    }

    /// <summary>All that a run leaves which was interrupted before its first file was whole.</summary>
    private static bool IsBeginning(string path) => Path.GetFileName(path) == FormatName + BackupFiles.PartSuffix;

    /// <exception cref="IOException">A disk failed or is full.</exception>
    /// <exception cref="SqliteException">The accounts cannot be read or written.</exception>
    /// <exception cref="OperationCanceledException">Interrupted; running it again goes on.</exception>
    public BackupManifest Run()
    {
        string log = Path.Join(_target, "log");
        bool hasCheckpoint = Checkpoints(_target).Any(path => File.Exists(Path.Join(path, ManifestName)));
        AccountStore.MakeDirectory(_target);
        RemoveParts();
        CopyIfThere(FormatName); // first: it says whose the directory is from now on
        BackupManifest.Begin(_target);
        AccountStore.MakeDirectory(log);
        CopyIfThere(Configuration.Settings.FileName);
        CopyIfThere(Tls.SelfSigned.FileName);
        CopyIfThere(Control.AdminDoor.FileName);
        CopyIfThere(Relay.Sts.StsPolicies.FileName);
        CopyDkimKeys();
        List<string> checkpoints = PlaceCheckpoints(); // at once: the server replaces them every minute
        List<string> shelved = [.. Shelves.SelectMany(PlaceShelf)];
        foreach (string name in _log.Names)
        {
            PlaceSegment(name, Path.Join(log, name));
        }

        CopyAccounts();
        _checkSource();
        foreach (string path in shelved.Concat(InOrder(hasCheckpoint)).Concat(checkpoints))
        {
            BackupFiles.Reveal(path);
        }

        RemoveDropped(log);
        RemoveOldCheckpoints();
        RemoveDroppedBodies();
        List<string> complete = [.. _log.Names.Where(name => !IsGrowing(name))];
        var manifest = new BackupManifest(1, _now, _log.EndLsn, _log.Names, complete, _files.CopiedBytes, UnverifiedFrom);
        manifest.Write(_target);
        return manifest;
    }

    /// <summary>
    /// A start refuses a log that has moved messages to a cold segment which is missing. One that is there too early is
    /// nothing to a start from a checkpoint; without one, what is in it would be taken for mail of a log that ends
    /// before, and its numbers would be given again. Then the refusal is better.
    /// </summary>
    private IEnumerable<string> InOrder(bool hasCheckpoint) =>
        hasCheckpoint ? _placed.OrderBy(path => !LogInspector.IsCold(Path.GetFileName(path))) : _placed;

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

        UnverifiedFrom = Math.Min(UnverifiedFrom ?? ulong.MaxValue, LogInspector.BaseLsnOf(name));
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

    /// <summary>
    /// The checkpoints that the log of this backup reaches: without one a restored server reads all of it, and would
    /// not know the last unique-ids of maildrops whose segments are gone. They refer to files of older ones. They get
    /// their names last: a checkpoint without the log that it has read looks like a log that has lost its end.
    /// </summary>
    private List<string> PlaceCheckpoints()
    {
        List<string> placed = [];
        foreach (string source in Checkpoints(_source))
        {
            if (_log.EndLsn is { } end && LsnOf(source) > end)
            {
                continue;
            }

            _ = _checkpoints.Add(Path.GetFileName(source));
            string target = Path.Join(_target, CheckpointName, Path.GetFileName(source));
            string copy = target;
            try
            {
                AccountStore.MakeDirectory(target);
                // The manifest last, which says that the rest is there.
                foreach (string path in Directory.GetFiles(source).OrderBy(f => Path.GetFileName(f) == ManifestName))
                {
                    copy = Path.Join(target, Path.GetFileName(path));
                    if (!File.Exists(copy))
                    {
                        _files.Place(path, copy);
                        placed.Add(copy);
                    }
                }
            }
            catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
            {
                // The server has replaced it by a newer one. Without its manifest it is none, but what there is of it
                // may be named by the manifests of others.
                File.Delete(copy + BackupFiles.PartSuffix);
            }
        }

        return placed;
    }

    private void RemoveOldCheckpoints()
    {
        if (!_checkpoints.Any(name => File.Exists(Path.Join(_target, CheckpointName, name, ManifestName))))
        {
            return;
        }

        foreach (string path in Checkpoints(_target).Where(path => !_checkpoints.Contains(Path.GetFileName(path))))
        {
            Directory.Delete(path, recursive: true);
        }
    }

    private static IEnumerable<string> Checkpoints(string directory)
    {
        string path = Path.Join(directory, CheckpointName);
        return Directory.Exists(path)
            ? Directory.GetDirectories(path).Where(d => LsnOf(d) is not null).Order(StringComparer.Ordinal)
            : [];
    }

    private static ulong? LsnOf(string directory) =>
        ulong.TryParse(
            Path.GetFileName(directory), System.Globalization.NumberStyles.AllowHexSpecifier,
            System.Globalization.CultureInfo.InvariantCulture, out ulong lsn)
            ? lsn
            : null;

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

    /// <summary>All of them each time: which one signs changes, and what was removed must sign no more.</summary>
    private void CopyDkimKeys()
    {
        string source = Path.Join(_source, DkimFiles.DirectoryName);
        string target = Path.Join(_target, DkimFiles.DirectoryName);
        string[] names = !Directory.Exists(source) ? []
            : [.. Directory.EnumerateFiles(source, "*", SearchOption.AllDirectories)
                .Where(path => !path.EndsWith(DurableFile.HalfSuffix, StringComparison.Ordinal))
                .Select(path => Path.GetRelativePath(source, path))];
        foreach (string name in names)
        {
            AccountStore.MakeDirectory(Path.GetDirectoryName(Path.Join(target, name))!);
            CopyIfThere(Path.Join(DkimFiles.DirectoryName, name));
        }

        foreach (string path in Directory.Exists(target) ? Directory.EnumerateFiles(target, "*", SearchOption.AllDirectories) : [])
        {
            if (!names.Contains(Path.GetRelativePath(target, path), StringComparer.Ordinal))
            {
                File.Delete(path);
            }
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
            KeptWal.Keep(from);
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
