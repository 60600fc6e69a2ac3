using System.Text.Json;
using System.Text.Json.Serialization;

namespace FastMail.Server.Backup;

/// <summary>
/// <c>backup.json</c>, written last: what a backup holds. Until the first one is finished it is empty, so that a server
/// which is started in that copy knows that it was restored. Immutable.
/// </summary>
/// <param name="Version">1.</param>
/// <param name="Created">When the backup began, UTC.</param>
/// <param name="EndLsn">Everything acknowledged below is in it; null when it was made without a server.</param>
/// <param name="Segments">Names of the segments.</param>
/// <param name="Complete">Names of those that are full and will never change.</param>
/// <param name="CopiedBytes">Octets that the last run copied.</param>
/// <param name="UnverifiedFrom">
/// Address of the first segment that was brought and not read back to the end yet; null when there is none.
/// </param>
internal sealed record BackupManifest(
    int Version, DateTimeOffset Created, ulong? EndLsn, IReadOnlyList<string> Segments, IReadOnlyList<string> Complete,
    long CopiedBytes, ulong? UnverifiedFrom = null)
{
    public const string FileName = FastMail.Storage.MailLog.BackupName;

    /// <summary>Null when there is none, or none that this program can read: then nothing is taken for finished.</summary>
    public static BackupManifest? Read(string directory)
    {
        string path = Path.Join(directory, FileName);
        if (!File.Exists(path))
        {
            return null;
        }

        try
        {
            BackupManifest? read = JsonSerializer.Deserialize(File.ReadAllBytes(path), BackupJson.Default.BackupManifest);
            return read is { Version: 1, Segments: not null, Complete: not null } ? read : null;
        }
        catch (JsonException)
        {
            return null;
        }
    }

    /// <summary>What comes into the directory from now on is a backup, though no finished one.</summary>
    public static void Begin(string directory)
    {
        string path = Path.Join(directory, FileName);
        if (!File.Exists(path))
        {
            File.WriteAllBytes(path, []);
            File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
            BackupFiles.Flush(path);
        }
    }

    public void Write(string directory)
    {
        string path = Path.Join(directory, FileName);
        string part = path + BackupFiles.PartSuffix;
        File.WriteAllBytes(part, JsonSerializer.SerializeToUtf8Bytes(this, BackupJson.Default.BackupManifest));
        File.SetUnixFileMode(part, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        BackupFiles.Flush(part);
        BackupFiles.Reveal(path);
    }
}

/// <summary>Generated serialisation of the manifest.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, WriteIndented = true)]
[JsonSerializable(typeof(BackupManifest))]
internal sealed partial class BackupJson : JsonSerializerContext;
