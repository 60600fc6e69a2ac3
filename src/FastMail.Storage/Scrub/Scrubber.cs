using System.Runtime.InteropServices;

namespace FastMail.Storage;

/// <summary>
/// Looks through everything durable in the background, so that decay is known while a backup still has the mail, and
/// not when somebody fetches it. Changes nothing: the operator decides. Owned by the <see cref="LogParts"/>; a thread of
/// its own, and whoever asks for a pass.
/// </summary>
/// <remarks>
/// It reads with descriptors of its own, never through the maps: rot and a file that was cut give a number, not a
/// signal, and a segment that is removed meanwhile stays readable to the end. The reads go past the page cache: what is
/// in memory says nothing about the disk, and what others have cached is not pushed out.
/// </remarks>
internal sealed class Scrubber : IDisposable
{
    internal const string Unlisted = "no mail is affected: it was removed or is stored elsewhere too";

    private const int MostProblems = 10_000; // remembered, so that each is told once

    private static readonly TimeSpan FirstPass = TimeSpan.FromMinutes(1); // a start has better things to do

    private readonly IDisk _disk;
    private readonly SegmentList _segments;
    private readonly MaildropTable _maildrops;
    private readonly BodyFiles _bodies;
    private readonly MailLogOptions _options;
    private readonly TimeProvider _clock;
    private readonly Action<string> _notice;
    private readonly ScrubWindow _window;
    private readonly CancellationTokenSource _stop = new();
    private readonly Lock _passing = new();
    private readonly Thread _thread;
    private HashSet<(ulong Lsn, LogProblemKind Kind)> _known = []; // told
    private HashSet<(ulong Lsn, LogProblemKind Kind)> _seen = []; // in this pass
    private readonly Dictionary<ulong, MaildropSnapshot> _snapshots = [];
    private int _first;
    private long _passes;
    private long _problems;
    private long _passEndMicros;

    /// <param name="disk">Where the files are.</param>
    /// <param name="appender">Whose load it gives way to.</param>
    /// <param name="segments">What is looked at.</param>
    /// <param name="maildrops">Tell which damage concerns anybody.</param>
    /// <param name="bodies">Looked at too.</param>
    /// <param name="options">How fast and how often.</param>
    /// <param name="clock">When a pass ended, for people.</param>
    /// <param name="first">
    /// Any number: the first pass begins at that segment, so that a server that is often restarted does not leave the
    /// same ones out for ever.
    /// </param>
    /// <param name="notice">Learns of each damage once.</param>
    public Scrubber(
        IDisk disk, Appender appender, SegmentList segments, MaildropTable maildrops, BodyFiles bodies,
        MailLogOptions options, TimeProvider clock, int first, Action<string> notice)
    {
        _disk = disk;
        _segments = segments;
        _maildrops = maildrops;
        _bodies = bodies;
        _options = options;
        _clock = clock;
        _first = first;
        _notice = notice;
        _window = new ScrubWindow(new ScrubPace(options.ScrubBytesPerSecond, appender));
        _thread = new Thread(Run) { Name = "fastmail scrubber", IsBackground = true };
    }

    /// <summary>What it has done since the log was opened. Any thread.</summary>
    public ScrubStatistics Statistics => new()
    {
        Passes = Volatile.Read(ref _passes),
        Bytes = _window.ReadBytes,
        Problems = Volatile.Read(ref _problems),
        PassEndMicros = Volatile.Read(ref _passEndMicros),
    };

    public void Start()
    {
        if (_options.ScrubBytesPerSecond > 0)
        {
            _thread.Start();
        }
    }

    /// <summary>Looks at everything once, on the caller's thread.</summary>
    /// <exception cref="OperationCanceledException">The log is being closed.</exception>
    public void Pass()
    {
        lock (_passing)
        {
            Segment[] all = [.. _segments.All];
            int first = _first;
            _first = 0;
            _seen.Clear(); // a pass may have been given up
            for (int i = 0; i < all.Length; i++)
            {
                int at = (int)(((uint)first + (uint)i) % (uint)all.Length);
                Scrub(all[at]);
            }

            // What is no longer there was repaired or removed; if it comes back, it is told again.
            (_known, _seen) = (_seen, _known);
            _seen.Clear();
            Volatile.Write(ref _problems, _known.Count);
            Volatile.Write(ref _passes, _passes + 1);
            long micros = (_clock.GetUtcNow().UtcTicks - DateTime.UnixEpoch.Ticks) / TimeSpan.TicksPerMicrosecond;
            Volatile.Write(ref _passEndMicros, micros);
        }
    }

    /// <summary>Ends the thread; a pass under way is given up.</summary>
    public void Dispose()
    {
        _stop.Cancel();
        if (_thread.IsAlive)
        {
            _thread.Join();
        }

        _stop.Dispose();
    }

    private void Run()
    {
        TimeSpan rest = _options.ScrubInterval < FirstPass ? _options.ScrubInterval : FirstPass;
        while (!_stop.Token.WaitHandle.WaitOne(rest))
        {
            long began = TimeProvider.System.GetTimestamp();
            try
            {
                Pass();
            }
            catch (OperationCanceledException)
            {
                return;
            }

            rest = _options.ScrubInterval - TimeProvider.System.GetElapsedTime(began);
            rest = rest < TimeSpan.Zero ? TimeSpan.Zero : rest;
        }
    }

    private void Scrub(Segment segment)
    {
        if (!segment.TryRetain())
        {
            return; // dropped meanwhile
        }

        using (segment) // the file of one that nobody holds may be used again
        {
            ScrubRetained(segment);
        }
    }

    private void ScrubRetained(Segment segment)
    {
        // Complete first: a segment gets its SEAL before its successor comes into the list.
        bool isComplete = segment.IsCold || segment != _segments.Hot[^1];
        long end = isComplete ? segment.Header.SegmentBytes : segment.ReadableEnd;
        int errno = OpenFile(segment.Path, out IDiskFile? file, out long length);
        if (errno != 0)
        {
            if (IsPresent(segment))
            {
                Tell(new LogProblem(
                    segment.Path, 0, segment.BaseLsn, LogProblemKind.MissingSegment, segment.Length,
                    $"the file cannot be opened: {Errno.Text(errno)}"));
            }

            return;
        }

        List<LogProblem> problems = [];
        if (length < end)
        {
            problems.Add(new LogProblem(
                segment.Path, length, segment.BaseLsn + (ulong)length, LogProblemKind.SegmentLength, end - length,
                $"the file has {length} bytes; it was made with {segment.Header.SegmentBytes}"));
        }

        SegmentScrub scrub = new(segment, isComplete && length >= end, Math.Min(end, length), _window);
        using (file)
        {
            _window.Open(file!, length, _stop.Token);
            scrub.Run();
        }

        problems.AddRange(scrub.Problems);
        _snapshots.Clear(); // younger than the reads, so that what was removed meanwhile is not missed
        foreach (WrongBody body in scrub.Bodies)
        {
            bool isNeeded = IsNeeded(body.Message);
            if (isNeeded || !body.IsHole)
            {
                problems.Add(new LogProblem(
                    segment.Path, body.Message.Offset, body.Message.Lsn, LogProblemKind.Body, body.Message.Bytes,
                    isNeeded ? body.Text : $"{body.Text}; {Unlisted}"));
            }
        }

        foreach (LogRecord message in scrub.External)
        {
            if (CheckBody(message) is { } problem)
            {
                problems.Add(problem);
            }
        }

        if (IsPresent(segment)) // else it was dropped meanwhile, and nobody misses it
        {
            problems.ForEach(Tell);
        }
    }

    private LogProblem? CheckBody(LogRecord message)
    {
        if (message.Body is not { } body || !IsNamed(message))
        {
            return null;
        }

        string path = _bodies.PathOf(body.Id);
        int errno = OpenFile(path, out IDiskFile? file, out long length);
        string? fault = errno != 0 ? $"cannot be opened: {Errno.Text(errno)}" : null;
        using (file)
        {
            if (fault is null && length != body.Bytes)
            {
                fault = $"has {length} bytes; {body.Bytes} were written";
            }
            else if (fault is null)
            {
                _window.Open(file!, length, _stop.Token);
                bool isRead = SegmentScrub.TryExtend(_window, 0, length, out uint crc);
                fault = !isRead ? $"cannot be read: {Errno.Text(_window.Error)}"
                    : crc != message.Header.BodyCrc ? "fails its checksum"
                    : null;
            }
        }

        return fault is not null && IsNamed(message) // else it went with the last who had it
            ? new LogProblem(
                path, 0, message.Lsn, LogProblemKind.Body, body.Bytes, $"the body file of message {message.Seq} {fault}")
            : null;
    }

    private int OpenFile(string path, out IDiskFile? file, out long length)
    {
        length = 0;
        int errno = _disk.Open(path, FileUse.ExistingUncached, out file);
        errno = errno != 0 ? errno : file!.Length(out length);
        if (errno != 0)
        {
            file?.Dispose();
            file = null;
        }

        return errno;
    }

    private bool IsPresent(Segment segment)
    {
        return _segments.All.Contains(segment);
    }

    private bool IsNamed(LogRecord message)
    {
        lock (_maildrops.Gate)
        {
            return _maildrops.Bodies.Contains(message.Lsn);
        }
    }

    /// <summary>Some maildrop lists this very record, or a relay recipient waits for it.</summary>
    private bool IsNeeded(LogRecord message)
    {
        List<LogRecipient> recipients = message.ReadRecipients();
        if (recipients.Count == 0)
        {
            return true; // its envelope could not be read again
        }

        foreach (LogRecipient recipient in recipients)
        {
            bool isNeeded = recipient is { MailboxId: { } mailboxId, Uid: { } uid }
                ? Lists(mailboxId, uid, message.Lsn)
                : IsQueued(message);
            if (isNeeded)
            {
                return true;
            }
        }

        return false;
    }

    private bool IsQueued(LogRecord message)
    {
        lock (_maildrops.Gate)
        {
            return _maildrops.Queue.Holds(message.Seq, message.Lsn);
        }
    }

    private bool Lists(ulong mailboxId, ulong uid, ulong lsn)
    {
        MaildropSnapshot? snapshot;
        try
        {
            if (!_snapshots.TryGetValue(mailboxId, out snapshot))
            {
                snapshot = _maildrops.Snapshot(mailboxId);
                _snapshots.Clear(); // one serves a run of holes in a large maildrop
                _snapshots.Add(mailboxId, snapshot);
            }
        }
        catch (IOException e)
        {
            _notice($"{e.Message}; a restart reads it from an older checkpoint or from the log");
            return true;
        }

        int low = 0;
        int high = snapshot.Count - 1;
        while (low <= high)
        {
            int middle = (low + high) >>> 1;
            ref readonly MaildropEntry entry = ref snapshot[middle];
            if (entry.Uid == uid)
            {
                return entry.Lsn == lsn;
            }

            (low, high) = entry.Uid < uid ? (middle + 1, high) : (low, middle - 1);
        }

        return false;
    }

    private void Tell(LogProblem problem)
    {
        (ulong, LogProblemKind) key = (problem.Lsn, problem.Kind);
        if (_seen.Count == MostProblems || !_seen.Add(key) || !_known.Add(key))
        {
            return;
        }

        Volatile.Write(ref _problems, _known.Count);
        _notice($"damage found by scrubbing: {Path.GetFileName(problem.Path)} offset {problem.Offset}, position "
            + $"0x{problem.Lsn:x}: {problem.Text}"
            + (_seen.Count == MostProblems ? "; more is not told any more, see fastmail log verify" : ""));
    }
}

/// <summary>What the scrubber has done since the log was opened. A value.</summary>
[StructLayout(LayoutKind.Auto)]
public readonly record struct ScrubStatistics
{
    /// <summary>Times that everything was looked at.</summary>
    public long Passes { get; init; }

    /// <summary>Octets read.</summary>
    public long Bytes { get; init; }

    /// <summary>Different damages that are there, as far as is known.</summary>
    public long Problems { get; init; }

    /// <summary>When the last pass ended, microseconds since 1970 UTC; 0 when none has.</summary>
    public long PassEndMicros { get; init; }
}
