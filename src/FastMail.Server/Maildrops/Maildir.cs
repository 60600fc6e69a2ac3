using System.Buffers;
using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace FastMail.Server.Maildrops;

/// <summary>
/// A directory with a file for each message, in <c>new/</c>, under names that are unique and tell time and size
/// (<c>S=</c> of the file, <c>W=</c> with CRLF). The files have the time of arrival; <c>dovecot-uidlist</c> keeps the
/// unique-ids. Owned by the verb; one thread.
/// </summary>
internal sealed partial class MaildirWriter : IMessageWriter
{
    private readonly string _path;
    private readonly string _part;
    private readonly bool _keepsCrlf;
    private readonly uint _uidValidity;
    private readonly List<(ulong Uid, string Line)> _uidList = [];
    private readonly ArrayBufferWriter<byte> _text = new(1 << 16);
    private bool _isComplete;

    /// <param name="path">Where it will be when it is complete; nothing is there yet.</param>
    /// <param name="keepsCrlf">Lines end with CRLF, not LF.</param>
    /// <param name="uidValidity">For the list of unique-ids.</param>
    public MaildirWriter(string path, bool keepsCrlf, uint uidValidity)
    {
        _path = path;
        _part = path + Backup.BackupFiles.PartSuffix;
        _keepsCrlf = keepsCrlf;
        _uidValidity = uidValidity;
        if (Directory.Exists(_part))
        {
            Directory.Delete(_part, recursive: true);
        }

        foreach (string name in (ReadOnlySpan<string>)["tmp", "new", "cur"])
        {
            Accounts.AccountStore.MakeDirectory(Path.GetFullPath(Path.Join(_part, name)));
        }
    }

    public void Add(ExportedMessage message, ReadOnlySpan<byte> text)
    {
        int wire = text.Length;
        ReadOnlySpan<byte> written = text;
        if (!_keepsCrlf)
        {
            _text.ResetWrittenCount();
            while (!text.IsEmpty)
            {
                int end = text.IndexOf("\r\n"u8);
                _text.Write(text[..end]);
                _text.Write("\n"u8);
                text = text[(end + 2)..];
            }

            written = _text.WrittenSpan;
        }

        string name = string.Create(
            CultureInfo.InvariantCulture,
            $"{message.ArrivalSeconds}.M{message.Uid}P{Environment.ProcessId}.fastmail,S={written.Length},W={wire}");
        string temporary = Path.Join(_part, "tmp", name);
        string target = Path.Join(_part, "new", name);
        using (var file = new FileStream(temporary, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            BufferSize = 0,
            UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
        }))
        {
            file.Write(written);
        }

        File.SetLastWriteTimeUtc(temporary, DateTime.UnixEpoch.AddSeconds(message.ArrivalSeconds));
        File.Move(temporary, target);
        _uidList.Add((message.Uid, $"P{message.UniqueId} :{name}"));
    }

    public void Complete()
    {
        File.WriteAllText(Path.Join(_part, Maildir.UidListName), UidList());
        SyncFileSystem();
        Directory.Move(_part, _path);
        SyncFileSystem();
        _isComplete = true;
    }

    public void Dispose()
    {
        if (!_isComplete)
        {
            Directory.Delete(_part, recursive: true);
        }
    }

    /// <summary>
    /// The numbers in it have 32 bits, and Dovecot throws away a list with longer ones: then the messages are counted. By
    /// POP3 they are known by what stands behind the P in any case.
    /// </summary>
    private string UidList()
    {
        bool fits = _uidList.TrueForAll(static line => line.Uid < uint.MaxValue);
        ulong last = _uidList.Count == 0 ? 0 : fits ? _uidList[^1].Uid : (ulong)_uidList.Count;
        var list = new StringBuilder();
        list.Append(CultureInfo.InvariantCulture, $"3 V{_uidValidity} N{last + 1}\n");
        for (int i = 0; i < _uidList.Count; i++)
        {
            list.Append(CultureInfo.InvariantCulture, $"{(fits ? _uidList[i].Uid : (ulong)i + 1)} {_uidList[i].Line}\n");
        }

        return list.ToString();
    }

    /// <summary>One flush for all files; each its own would take a millisecond or more a message.</summary>
    private void SyncFileSystem()
    {
        string here = Directory.Exists(_part) ? _part : _path;
        using Microsoft.Win32.SafeHandles.SafeFileHandle handle = File.OpenHandle(Path.Join(here, Maildir.UidListName));
        if (Sync(handle) != 0)
        {
            throw new IOException($"{here}: {Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError())}");
        }
    }

    [LibraryImport("libc", EntryPoint = "syncfs", SetLastError = true)]
    private static partial int Sync(Microsoft.Win32.SafeHandles.SafeFileHandle file);
}

/// <summary>
/// Reads a Maildir, as other programs write them too: <c>cur/</c> and <c>new/</c>, in the order of the
/// <c>dovecot-uidlist</c> if there is one, otherwise of arrival. Owned by the verb; one thread.
/// </summary>
internal static class Maildir
{
    public const string UidListName = "dovecot-uidlist";

    private static readonly string[] Folders = ["cur", "new"];

    /// <summary>The messages in order; what is none comes with the reason.</summary>
    public static IEnumerable<SourceMessage> Read(string path)
    {
        Dictionary<string, (ulong Uid, string? UniqueId)> known = ReadUidList(Path.Join(path, UidListName));
        var ordered = Files(path)
            .Select(file => (File: file, Base: BaseOf(file), Arrival: ArrivalOf(file)))
            .Select(f => (f.File, f.Arrival, f.Base, Known: known.TryGetValue(f.Base, out var k) ? k : (ulong.MaxValue, null)))
            .OrderBy(f => f.Known.Item1)
            .ThenBy(f => f.Arrival)
            .ThenBy(f => f.Base, StringComparer.Ordinal);
        foreach (var file in ordered)
        {
            yield return Read(file.File, file.Known.Item2, file.Arrival);
        }
    }

    /// <summary>Length of all messages together, octets.</summary>
    public static long BytesIn(string path) => Files(path).Sum(static file => new FileInfo(file).Length);

    private static IEnumerable<string> Files(string path) => Folders
        .Select(name => Path.Join(path, name))
        .Where(Directory.Exists)
        .SelectMany(Directory.EnumerateFiles)
        .Where(file => !Path.GetFileName(file).StartsWith('.'));

    private static SourceMessage Read(string file, string? uniqueId, long arrival)
    {
        long length = new FileInfo(file).Length;
        if (length == 0)
        {
            return SourceMessage.Damaged(file, "the file is empty");
        }

        if (length >= Frames.LongestText)
        {
            return SourceMessage.Damaged(file, "larger than a message can be");
        }

        ReadOnlyMemory<byte> text = File.ReadAllBytes(file);
        return new SourceMessage(file, uniqueId, arrival, "", text);
    }

    private static string BaseOf(string file)
    {
        string name = Path.GetFileName(file);
        int flags = name.IndexOf(':', StringComparison.Ordinal); // :2,S and the like are not part of the name
        return flags < 0 ? name : name[..flags];
    }

    /// <summary>The seconds that the name begins with; else the time of the file.</summary>
    private static long ArrivalOf(string file)
    {
        string name = Path.GetFileName(file);
        int dot = name.IndexOf('.', StringComparison.Ordinal);
        return dot > 0 && uint.TryParse(name.AsSpan(0, dot), NumberStyles.None, CultureInfo.InvariantCulture, out uint seconds)
            ? seconds
            : Math.Max(0, new DateTimeOffset(File.GetLastWriteTimeUtc(file)).ToUnixTimeSeconds());
    }

    private static Dictionary<string, (ulong Uid, string? UniqueId)> ReadUidList(string path)
    {
        var known = new Dictionary<string, (ulong, string?)>(StringComparer.Ordinal);
        if (!File.Exists(path))
        {
            return known;
        }

        foreach (string line in File.ReadLines(path, Encoding.UTF8).Skip(1))
        {
            int colon = line.IndexOf(" :", StringComparison.Ordinal);
            string[] words = colon < 0 ? [] : line[..colon].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length > 0 && ulong.TryParse(words[0], NumberStyles.None, CultureInfo.InvariantCulture, out ulong uid))
            {
                string? id = words.Skip(1).FirstOrDefault(word => word[0] == 'P')?[1..];
                string name = line[(colon + 2)..];
                int flags = name.IndexOf(':', StringComparison.Ordinal);
                known[flags < 0 ? name : name[..flags]] = (uid, id);
            }
        }

        return known;
    }
}
