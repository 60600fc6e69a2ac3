using System.Globalization;
using System.Text;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>
/// A mail log in a directory of its own, with an observer that keeps what it was told. Owned by one test; its members
/// may be called from any thread.
/// </summary>
internal sealed class LogScene : IMailLogObserver, IDisposable
{
    private readonly Lock _gate = new();
    private readonly List<string> _notices = [];
    private readonly List<bool> _spaceChanges = [];

    private readonly bool _isOnDisk;

    /// <param name="disk">The real one when it is not said.</param>
    /// <param name="options"><see cref="Small"/> when it is not said.</param>
    /// <param name="directory">On a disk that is not real; else a temporary one is made.</param>
    public LogScene(IDisk? disk = null, MailLogOptions? options = null, string? directory = null)
    {
        Disk = disk ?? LinuxDisk.Instance;
        Options = options ?? Small;
        _isOnDisk = directory is null;
        Directory = directory ?? System.IO.Directory.CreateTempSubdirectory("fastmail-storage-").FullName;
    }

    /// <summary>The smallest segments, for tests that open a log a thousand times.</summary>
    public static MailLogOptions Tiny { get; } = new()
    {
        SegmentBytes = MailLogOptions.MinSegmentBytes,
        FirstSegmentBytes = MailLogOptions.MinSegmentBytes,
        ReserveBytes = MailLogOptions.MinSegmentBytes,
        PooledContentBytes = 0,
        PooledMessages = 16,
        TakesCheckpoints = false,
    };

    /// <summary>The smallest segments, with checkpoints when the test or the end of the log says so.</summary>
    public static MailLogOptions Saving { get; } = Tiny with
    {
        TakesCheckpoints = true,
        CheckpointBytes = 1L << 40,
        CheckpointInterval = Timeout.InfiniteTimeSpan,
    };

    /// <summary>One segment holds all of a longer test.</summary>
    public static MailLogOptions Roomy { get; } = new()
    {
        SegmentBytes = 64 << 20,
        FirstSegmentBytes = 64 << 20,
        ReserveBytes = MailLogOptions.MinSegmentBytes,
        TakesCheckpoints = false,
    };

    public static MailLogOptions Small { get; } = new()
    {
        SegmentBytes = 1024 * 1024,
        FirstSegmentBytes = 1024 * 1024,
        ReserveBytes = MailLogOptions.MinSegmentBytes,
        TakesCheckpoints = false,
    };

    public string Directory { get; }

    public IDisk Disk { get; }

    public MailLogOptions Options { get; }

    public SteppedClock Clock { get; } = new();

    public MailLog? Log { get; private set; }

    public int FailedErrno { get; private set; }

    public SemaphoreSlim SpaceChangedSignal { get; } = new(0);

    /// <summary>Replaces the wake-up of the waiter, for tests on groups.</summary>
    public Action<PendingAppend>? OnGroup { get; set; }

    public IReadOnlyList<string> Notices
    {
        get
        {
            lock (_gate)
            {
                return [.. _notices];
            }
        }
    }

    public string LogDirectory => Path.Join(Directory, "log");

    public string FirstSegment => Path.Join(LogDirectory, "0-0000000000000000.seg");

    public MailLog Open()
    {
        Log = MailLog.Open(Directory, Options, Disk, Clock, new FixedRandom(), this);
        return Log;
    }

    public MailLog Reopen()
    {
        Close();
        return Open();
    }

    public void Close()
    {
        Log?.Dispose();
        Log = null;
    }

    public void Dispose()
    {
        Close();
        if (_isOnDisk)
        {
            System.IO.Directory.Delete(Directory, recursive: true);
        }

        SpaceChangedSignal.Dispose();
    }

    /// <summary>A sealed message to these mailboxes.</summary>
    public PendingMessage Build(string body, params ulong[] mailboxes)
    {
        return Build(Encoding.Latin1.GetBytes(body + "\r\n.\r\n"), mailboxes);
    }

    public PendingMessage Build(byte[] wire, params ulong[] mailboxes)
    {
        PendingMessage message = Log!.RentMessage();
        message.SetReversePath("sender@example.org"u8);
        foreach (ulong mailbox in mailboxes)
        {
            string address = string.Create(CultureInfo.InvariantCulture, $"user{mailbox}@example.net");
            Assert.True(message.TryAddLocalRecipient(mailbox, Encoding.ASCII.GetBytes(address)));
        }

        message.AddMeta(MetaType.TransactionId, "T1"u8);
        message.SetTrace("Return-Path: <sender@example.org>\r\nReceived: by test\r\n"u8, 35);
        message.AppendBody(wire);
        message.Seal(new BodyFacts { Octets = wire.Length - 3, HeaderWireBytes = 2, Flags = MessageFlags.Has8Bit });
        return message;
    }

    /// <summary>Appends and waits for the outcome; the record stays with the caller.</summary>
    public AppendOutcome Append(PendingAppend append)
    {
        using SemaphoreSlim done = new(0);
        append.Owner = done;
        Log!.Append(append);
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)), "the append was never completed");
        return append.Outcome;
    }

    /// <summary>Builds, appends and returns a message; answers its address.</summary>
    public ulong Deliver(string body, params ulong[] mailboxes)
    {
        PendingMessage message = Build(body, mailboxes);
        Assert.Equal(AppendOutcome.Durable, Append(message));
        ulong lsn = message.Lsn;
        Log!.Return(message);
        return lsn;
    }

    public AppendOutcome Expunge(ulong mailbox, params ulong[] uids)
    {
        return Append(new PendingExpunge(mailbox, uids, ExpungeReason.Pop3Quit));
    }

    /// <summary>The bodies of a maildrop without trace and terminator; damaged ones as "!".</summary>
    public string[] Bodies(ulong mailbox)
    {
        using OpenMaildrop maildrop = Log!.OpenMaildrop(mailbox);
        string[] bodies = new string[maildrop.Snapshot.Count];
        for (int i = 0; i < bodies.Length; i++)
        {
            ReadStatus status = maildrop.TryRead(i, out StoredMessage message);
            bodies[i] = status switch
            {
                ReadStatus.Ok => Encoding.Latin1.GetString(message.Wire.Span[message.TraceBytes..^5]),
                ReadStatus.External => ExternalBody(message),
                _ => "!" + status,
            };
        }

        return bodies;
    }

    /// <summary>The same for a message whose body is a file of its own.</summary>
    private string ExternalBody(in StoredMessage message)
    {
        ReadStatus status = Log!.TryOpenBody(message, out StoredBody? body);
        using (body)
        {
            status = status == ReadStatus.Ok ? body!.Verify() : status;
            byte[] wire = new byte[body?.Bytes ?? 0];
            status = status == ReadStatus.Ok ? body!.Read(wire, 0) : status;
            return status == ReadStatus.Ok ? Encoding.Latin1.GetString(wire.AsSpan()[..^5]) : "!" + status;
        }
    }

    public ulong[] Uids(ulong mailbox)
    {
        MaildropSnapshot snapshot = Log!.Snapshot(mailbox);
        ulong[] uids = new ulong[snapshot.Count];
        for (int i = 0; i < uids.Length; i++)
        {
            uids[i] = snapshot[i].Uid;
        }

        return uids;
    }

    /// <summary>Every file but the lock, with its content.</summary>
    public SortedDictionary<string, byte[]> Files()
    {
        SortedDictionary<string, byte[]> files = new(StringComparer.Ordinal);
        foreach (string path in System.IO.Directory.EnumerateFiles(Directory, "*", SearchOption.AllDirectories))
        {
            if (Path.GetFileName(path) != "LOCK")
            {
                try
                {
                    files.Add(Path.GetRelativePath(Directory, path), File.ReadAllBytes(path));
                }
                catch (FileNotFoundException) when (path.EndsWith(".tmp", StringComparison.Ordinal))
                {
                    // The log, still open, has finished it meanwhile and given it its name.
                }
            }
        }

        return files;
    }

    /// <summary>The file of this scene that has the name of another scene's.</summary>
    public string PathOf(string segment)
    {
        return Path.Join(LogDirectory, Path.GetFileName(segment));
    }

    /// <summary>Behind the last octet of a file that is not 0, rounded up to where a record may begin.</summary>
    public long ContentEnd(string path)
    {
        int last = File.ReadAllBytes(path).AsSpan().LastIndexOfAnyExcept((byte)0);
        return (last + RecordHeader.Alignment) & -RecordHeader.Alignment;
    }

    /// <summary>What a power loss right now would leave: a closed scene with a copy of every file.</summary>
    public LogScene Crash()
    {
        LogScene image = new(LinuxDisk.Instance, Options);
        System.IO.Directory.CreateDirectory(image.LogDirectory);
        foreach ((string name, byte[] content) in Files())
        {
            if (name.EndsWith(".seg", StringComparison.Ordinal) || name == "FORMAT")
            {
                File.WriteAllBytes(Path.Join(image.Directory, name), content);
            }
        }

        return image;
    }

    /// <summary>
    /// Appends these records so that they become one group, and crashes when it has been flushed, before its proof.
    /// </summary>
    public LogScene CrashAfterGroup(params PendingAppend[] group)
    {
        using SemaphoreSlim entered = new(0);
        using SemaphoreSlim go = new(0);
        using SemaphoreSlim done = new(0);
        LogScene? image = null;
        int groups = 0;
        OnGroup = _ =>
        {
            if (groups++ == 0)
            {
                entered.Release();
                go.Wait();
            }
            else
            {
                image = Crash();
                done.Release();
            }
        };
        Log!.Append(Build("holds up the appender", 4711));
        entered.Wait();
        foreach (PendingAppend append in group)
        {
            Log.Append(append);
        }

        go.Release();
        Assert.True(done.Wait(TimeSpan.FromSeconds(60)));
        OnGroup = null;
        return image!;
    }

    public void GroupCompleted(PendingAppend first)
    {
        if (OnGroup is { } handler)
        {
            handler(first);
            return;
        }

        for (PendingAppend? append = first; append is not null;)
        {
            PendingAppend? next = append.Next;
            (append.Owner as SemaphoreSlim)?.Release();
            append = next;
        }
    }

    public void Failed(int errno, string what)
    {
        FailedErrno = errno;
    }

    public void SpaceChanged(bool isLow)
    {
        lock (_gate)
        {
            _spaceChanges.Add(isLow);
        }

        SpaceChangedSignal.Release();
    }

    public void Noticed(string what)
    {
        lock (_gate)
        {
            _notices.Add(what);
        }
    }
}

/// <summary>A clock that stands still until it is set.</summary>
internal sealed class SteppedClock : TimeProvider
{
    public DateTimeOffset Now { get; set; } = new(2024, 1, 2, 3, 4, 5, TimeSpan.Zero);

    /// <summary>Monotonic time; stands still too.</summary>
    public TimeSpan Elapsed { get; set; } = TimeSpan.FromDays(1);

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp()
    {
        return Elapsed.Ticks;
    }

    public override DateTimeOffset GetUtcNow()
    {
        return Now;
    }
}

/// <summary>The same identity and salts in every run.</summary>
internal sealed class FixedRandom : Random
{
    public override void NextBytes(Span<byte> buffer)
    {
        for (int i = 0; i < buffer.Length; i++)
        {
            buffer[i] = (byte)(i + 1);
        }
    }

    public override long NextInt64(long maxValue)
    {
        return 0x5EED5A17;
    }
}
