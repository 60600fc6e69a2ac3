using System.Text;
using FastMail.Storage;

namespace FastMail.Tests.Storage;

/// <summary>
/// One recovery of a log in memory, without the threads of an open log: what it lists and how it goes on. Owned by one
/// test and its thread.
/// </summary>
internal sealed class RecoveredLog : IDisposable
{
    public const string DirectoryPath = "/store";

    private readonly DataDirectory _place;
    private readonly SegmentList _segments = new();
    private readonly MaildropTable _maildrops;

    public RecoveredLog(MemoryDisk disk)
    {
        _place = DataDirectory.Lock(disk, DirectoryPath);
        StoreFormat format = StoreFormat.Read(disk, DirectoryPath)!.Value;
        _maildrops = new MaildropTable(format.UidValidity, _segments);
        List<string> names = [];
        _ = disk.List(Path.Join(DirectoryPath, "log"), names);
        try
        {
            End = new Recovery(_place, format, _maildrops, _segments, Notices.Add).Run(names);
        }
        catch (IOException)
        {
            _segments.Dispose();
            throw;
        }
    }

    public LogEnd End { get; }

    public List<string> Notices { get; } = [];

    /// <summary>A closed log of the real disk, copied into memory.</summary>
    public static MemoryDisk Load(LogScene scene)
    {
        MemoryDisk disk = new();
        foreach ((string name, byte[] content) in scene.Files())
        {
            if (name == "FORMAT" || name.EndsWith(".seg", StringComparison.Ordinal))
            {
                disk.Put(Path.Join(DirectoryPath, name), content);
            }
        }

        return disk;
    }

    /// <summary>Unique-id and body of every message, in order; null for a body that cannot be read.</summary>
    public List<(ulong Uid, string? Body)> List(ulong mailbox)
    {
        List<(ulong Uid, string? Body)> all = [];
        MaildropSnapshot snapshot = _maildrops.Snapshot(mailbox);
        for (int i = 0; i < snapshot.Count; i++)
        {
            ReadStatus status = RecordReader.TryRead(
                _segments.Find(snapshot[i].Lsn), snapshot[i].Lsn, out StoredMessage message);
            all.Add((snapshot[i].Uid, status == ReadStatus.Ok ? Encoding.Latin1.GetString(message.Wire.Span) : null));
        }

        return all;
    }

    /// <summary>Where each relay recipient of a message stands; null when it is not in the queue.</summary>
    public QueueState[]? StatesOf(ulong seq)
    {
        return _maildrops.Queue.TryFind(seq, out _, out ReadOnlySpan<RecipientRecord> recipients)
            ? [.. recipients.ToArray().Select(r => r.State)]
            : null;
    }

    /// <summary>The unique-id that the next message would get.</summary>
    public ulong NextUid(ulong mailbox)
    {
        return _maildrops.NextUid(mailbox);
    }

    public void Dispose()
    {
        _segments.Dispose();
        _place.Dispose();
    }
}

/// <summary>A record of a sound log, as a walk over it found it. A value.</summary>
internal readonly record struct KnownRecord(string Path, long Offset, RecordHeader Header)
{
    public long End => Offset + Header.TotalBytes;

    public bool Contains(string path, long offset)
    {
        return path == Path && offset >= Offset && offset < End;
    }

    /// <summary>All records of a log, in order.</summary>
    public static List<KnownRecord> ReadAll(MemoryDisk disk)
    {
        List<KnownRecord> all = [];
        foreach (string path in disk.Paths.Where(SegmentHeader.IsSegmentName).Order(StringComparer.Ordinal))
        {
            ReadOnlySpan<byte> content = disk[path];
            _ = SegmentHeader.TryParseName(System.IO.Path.GetFileName(path), out _, out ulong baseLsn);
            RecordHeader header;
            for (long offset = SegmentHeader.Bytes; offset < content.Length; offset += header.TotalBytes)
            {
                header = RecordHeader.Read(content[(int)offset..]);
                if (header.Magic != RecordHeader.MagicNumber || header.Lsn != baseLsn + (ulong)offset)
                {
                    break;
                }

                all.Add(new KnownRecord(path, offset, header));
            }
        }

        return all;
    }
}
