using System.Buffers.Binary;
using System.Globalization;

namespace FastMail.Storage;

/// <summary>
/// The directory <c>body/</c>: one file for each body that is too long for a segment, <c>&lt;16 hex&gt;.body</c>, whole
/// wire form and nothing else. Owned by the <see cref="LogParts"/>; any thread, one at a time on one file.
/// </summary>
internal sealed class BodyFiles(IDisk disk, string storePath, TimeProvider clock)
{
    public const string DirectoryName = "body";

    private const string Suffix = ".body";
    private const string TemporarySuffix = ".tmp";
    private const int HexDigits = 16;

    private long _lastId;

    public string DirectoryPath { get; } = Path.Join(storePath, DirectoryName);

    public IDisk Disk => disk;

    /// <summary>Makes the directory when there is none; its name is flushed with the others of the store.</summary>
    public void MakeDirectory()
    {
        Errno.Check(disk.CreateDirectory(DirectoryPath), "make", DirectoryPath);
    }

    /// <summary>No id up to this one is given again. Opening thread only.</summary>
    public void StartBehind(ulong id)
    {
        _lastId = Math.Max(_lastId, (long)Math.Min(id, long.MaxValue - 1));
    }

    /// <summary>
    /// An id that was never given before: microseconds since 1970, so that a listing shows the order of arrival, pushed
    /// forward when the clock stands still or goes back.
    /// </summary>
    public ulong NextId()
    {
        long now = (clock.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond;
        while (true)
        {
            long last = Interlocked.Read(ref _lastId);
            long next = Math.Max(last + 1, now);
            if (Interlocked.CompareExchange(ref _lastId, next, last) == last)
            {
                return (ulong)next;
            }
        }
    }

    public string PathOf(ulong id)
    {
        return Path.Join(DirectoryPath, NameOf(id));
    }

    /// <summary>The name until all of it is there.</summary>
    public string TemporaryPathOf(ulong id)
    {
        return PathOf(id) + TemporarySuffix;
    }

    /// <summary>Removes what an earlier run did not finish; no record ever names such a file.</summary>
    public void RemoveTemporaries()
    {
        List<string> names = [];
        Errno.Check(disk.List(DirectoryPath, names), "list", DirectoryPath);
        foreach (string name in names.Where(n => n.EndsWith(TemporarySuffix, StringComparison.Ordinal)))
        {
            string path = Path.Join(DirectoryPath, name);
            Errno.Check(disk.Remove(path), "remove", path);
        }
    }

    public static string NameOf(ulong id)
    {
        return id.ToString("x16", CultureInfo.InvariantCulture) + Suffix;
    }

    public static bool TryParseName(string name, out ulong id)
    {
        id = 0;
        return name.Length == HexDigits + Suffix.Length && name.EndsWith(Suffix, StringComparison.Ordinal)
            && ulong.TryParse(
                name.AsSpan(0, HexDigits), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out id);
    }

    /// <summary>The ids of all body files, in no order.</summary>
    public List<ulong> List()
    {
        List<string> names = [];
        int errno = disk.List(DirectoryPath, names);
        Errno.Check(errno == Errno.NotFound ? 0 : errno, "list", DirectoryPath);
        List<ulong> ids = [];
        foreach (string name in names)
        {
            if (TryParseName(name, out ulong id))
            {
                ids.Add(id);
            }
        }

        return ids;
    }
}

/// <summary>
/// What a record says of its body when that is a file of its own: meta field <see cref="MetaType.BodyFile"/>. A value.
/// </summary>
/// <param name="Id">Names the file.</param>
/// <param name="Bytes">Octets of the body in wire form; the file has exactly as many.</param>
public readonly record struct BodyReference(ulong Id, long Bytes)
{
    internal const int FieldBytes = sizeof(ulong) * 2;

    /// <summary>Name of the file in the store's directory <c>body</c>.</summary>
    public string FileName => BodyFiles.NameOf(Id);

    internal void Write(Span<byte> destination)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(destination, Id);
        BinaryPrimitives.WriteInt64LittleEndian(destination[sizeof(ulong)..], Bytes);
    }

    /// <summary>Finds the field; false when there is none or it is too short.</summary>
    internal static bool TryFind(ReadOnlySpan<byte> meta, out BodyReference body)
    {
        MetaReader reader = new(meta);
        while (reader.Read())
        {
            if (reader.Type == MetaType.BodyFile && reader.Value.Length >= FieldBytes)
            {
                body = new BodyReference(
                    BinaryPrimitives.ReadUInt64LittleEndian(reader.Value),
                    BinaryPrimitives.ReadInt64LittleEndian(reader.Value[sizeof(ulong)..]));
                return true;
            }
        }

        body = default;
        return false;
    }
}
