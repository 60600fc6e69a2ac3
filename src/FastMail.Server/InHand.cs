using System.Buffers.Binary;
using System.IO.MemoryMappedFiles;
using Microsoft.Extensions.Logging;

namespace FastMail.Server;

/// <summary>
/// Tells the next start which messages the loop had in hand when the process died, so that a message that kills it is held
/// back after some deaths instead of killing it at every start. It is a page of a file, mapped, so its last word is what was
/// true at the death. The file is there from the start to an orderly stop; only who finds one writes marks, and for an hour,
/// since what kills is tried soon after the start. A power loss may forget marks. Belongs to the thread that starts the
/// server, which holds the lock of the directory, and from <see cref="BeginMarking"/> on to the loop.
/// </summary>
internal sealed class InHand : IDisposable
{
    public const string FileName = "in-hand";

    /// <summary>So many deaths with a message in hand are its fault.</summary>
    public const int MostDeaths = 3;

    private const ulong Magic = 0x31646E61486E4946; // "FInHand1"
    private const int PageBytes = 4096;
    private const int DepthAt = 8;
    private const int MarksAt = 64; // mailbox and number of each; mailbox 0 is the queue
    private const int MarkBytes = 16;
    private const int MostMarks = 32;
    private const int DeathsAt = 1024; // mailbox, number, deaths
    private const int DeathBytes = 24;
    private const int MostKept = (PageBytes - DeathsAt) / DeathBytes;

    private static readonly TimeSpan MarkingTime = TimeSpan.FromHours(1);

    private readonly string _path;
    private readonly ILogger _log;
    private readonly Dictionary<(ulong MailboxId, ulong Number), int> _deaths = [];
    private readonly long _until = Environment.TickCount64 + (long)MarkingTime.TotalMilliseconds;
    private MemoryMappedViewAccessor? _page; // while it marks
    private bool _hasDied;
    private int _depth;

    private InHand(string path, ILogger log)
    {
        _path = path;
        _log = log;
    }

    /// <summary>The server has come up, so the end of this object is an orderly stop, which forgets everything.</summary>
    public bool IsServing { get; set; }

    /// <summary>How many are in hand, and what puts down those that are taken from now on.</summary>
    public int Depth => _depth;

    /// <summary>Deaths with that message of the queue in hand.</summary>
    public int DeathsWith(ulong seq) => DeathsWith(0, seq);

    /// <summary>The same for a message of a maildrop.</summary>
    public int DeathsWith(ulong mailboxId, ulong number) =>
        _deaths.Count == 0 ? 0 : _deaths.GetValueOrDefault((mailboxId, number));

    /// <summary>It is an operator's now: whoever releases it gives it new chances. Before <see cref="BeginMarking"/>.</summary>
    public void Forget(ulong seq) => _deaths.Remove((0, seq));

    /// <summary>Reads what the last process left.</summary>
    public static InHand Open(string directory, ILogger log)
    {
        var inHand = new InHand(Path.Join(directory, FileName), log);
        inHand.Guard(inHand.Read);
        return inHand;
    }

    /// <summary>Leaves the deaths so far to the next process, and marks from now on if the last one has died.</summary>
    public void BeginMarking() => Guard(Write);

    /// <summary>A message of the queue is about to be worked on. Returns what <see cref="PutDown"/> wants.</summary>
    public int Take(ulong seq) => Take(0, seq);

    /// <summary>The same for a message of a maildrop.</summary>
    public int Take(ulong mailboxId, ulong number)
    {
        int depth = _depth;
        if (_page is null)
        {
            return depth;
        }

        if (Environment.TickCount64 > _until && depth == 0)
        {
            StopMarking();
            return 0;
        }

        if (depth < MostMarks)
        {
            _page.Write(MarksAt + (depth * MarkBytes), mailboxId);
            _page.Write(MarksAt + (depth * MarkBytes) + sizeof(ulong), number);
            SetDepth(depth + 1);
        }

        return depth;
    }

    /// <summary>What was taken since then is out of danger.</summary>
    public void PutDown(int depth)
    {
        if (_page is not null && _depth != depth)
        {
            SetDepth(depth);
        }
    }

    public void Dispose()
    {
        StopMarking();
        if (IsServing)
        {
            Guard(() => DurableFile.Remove(_path));
        }
    }

    /// <summary>A server that cannot write here serves nevertheless.</summary>
    private void Guard(Action step)
    {
        try
        {
            step();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _log.LogWarning("a message that kills the process could not be told from the others: {Reason}", e.Message);
        }
    }

    private void Read()
    {
        _hasDied = File.Exists(_path);
        if (!_hasDied)
        {
            return;
        }

        ReadOnlySpan<byte> page = File.ReadAllBytes(_path);
        if (page.Length != PageBytes || BinaryPrimitives.ReadUInt64LittleEndian(page) != Magic)
        {
            return; // what is no such page says no more than that it is there
        }

        for (int at = DeathsAt; at + DeathBytes <= PageBytes; at += DeathBytes)
        {
            int deaths = (int)BinaryPrimitives.ReadUInt64LittleEndian(page[(at + MarkBytes)..]);
            if (deaths > 0)
            {
                _deaths[MessageAt(page, at)] = deaths;
            }
        }

        uint depth = Math.Min(BinaryPrimitives.ReadUInt32LittleEndian(page[DepthAt..]), MostMarks);
        var marked = new HashSet<(ulong MailboxId, ulong Number)>();
        for (int i = 0; i < depth; i++)
        {
            marked.Add(MessageAt(page, MarksAt + (i * MarkBytes)));
        }

        foreach ((ulong MailboxId, ulong Number) message in marked)
        {
            int deaths = _deaths.GetValueOrDefault(message) + 1;
            _deaths[message] = deaths;
            _log.LogWarning(
                "the program has died with message {Number} of {Place} in hand, which makes {Deaths}",
                message.Number, message.MailboxId == 0 ? "the queue" : $"maildrop {message.MailboxId}", deaths);
        }
    }

    private void Write()
    {
        byte[] page = new byte[PageBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(page, Magic);
        int at = DeathsAt;
        foreach (((ulong mailboxId, ulong number), int deaths) in _deaths.OrderByDescending(pair => pair.Value).Take(MostKept))
        {
            BinaryPrimitives.WriteUInt64LittleEndian(page.AsSpan(at), mailboxId);
            BinaryPrimitives.WriteUInt64LittleEndian(page.AsSpan(at + sizeof(ulong)), number);
            BinaryPrimitives.WriteUInt64LittleEndian(page.AsSpan(at + MarkBytes), (ulong)deaths);
            at += DeathBytes;
        }

        DurableFile.Write(_path, page);
        if (_hasDied)
        {
            using MemoryMappedFile file = MemoryMappedFile.CreateFromFile(_path, FileMode.Open);
            _page = file.CreateViewAccessor(0, PageBytes);
        }
    }

    private static (ulong MailboxId, ulong Number) MessageAt(ReadOnlySpan<byte> page, int at) =>
        (BinaryPrimitives.ReadUInt64LittleEndian(page[at..]), BinaryPrimitives.ReadUInt64LittleEndian(page[(at + sizeof(ulong))..]));

    private void SetDepth(int depth)
    {
        _depth = depth;
        _page!.Write(DepthAt, (uint)depth); // behind the marks: a death between the two finds those that were there
    }

    private void StopMarking()
    {
        if (_page is not null)
        {
            SetDepth(0);
            _page.Dispose();
            _page = null;
        }
    }
}
