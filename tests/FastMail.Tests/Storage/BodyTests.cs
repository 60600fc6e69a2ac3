using System.Text;
using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>Messages whose bodies are files of their own, and what may happen to the files.</summary>
public sealed class BodyTests
{
    private const int Long = 300_000; // more than half of a tiny segment

    private readonly string _text = new('x', Long);

    [Fact]
    public void The_file_goes_with_the_last_maildrop_that_lets_go_and_a_reader_keeps_what_it_opened()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MailLog log = scene.Open();
        ulong lsn = scene.Deliver(_text, 1, 2);
        Assert.Equal(ReadStatus.External, log.TryRead(lsn, out StoredMessage message));
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, 1));
        Await(() => log.HasIdleBodies);
        _ = Assert.Single(Files(scene));
        Assert.Equal([_text], scene.Bodies(2));

        Assert.Equal(ReadStatus.Ok, log.TryOpenBody(message, out StoredBody? open));
        using (open)
        {
            Assert.Equal(AppendOutcome.Durable, scene.Expunge(2, 1));
            Await(() => Files(scene).Length == 0);
            Assert.Equal(ReadStatus.Ok, open!.Verify());
            Assert.Equal(ReadStatus.NotFound, log.TryOpenBody(message, out _)); // gone, not damaged
        }

        scene.Reopen();
        Assert.Empty(scene.Bodies(1));
        Assert.DoesNotContain(scene.Notices, n => n.Contains("missing", StringComparison.Ordinal));
    }

    [Fact]
    public void A_log_closes_in_order_though_its_last_groups_let_go_of_body_files()
    {
        using LogScene scene = new(options: LogScene.Saving);
        scene.Open();
        scene.Deliver(_text, 1);
        scene.Log!.TakeCheckpoint();
        using LogScene image = new(options: LogScene.Saving);
        Assert.Equal(AppendOutcome.Durable, scene.Expunge(1, 1));
        foreach ((string name, byte[] content) in scene.Files())
        {
            string path = Path.Join(image.Directory, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(path, content);
        }

        // The removal is replayed, and the first group after it is that of the last checkpoint.
        image.Open();
        Assert.Empty(image.Bodies(1));
        image.Close();
        Assert.Empty(Files(image));

        // A removal that nobody waits for is under way while the log is closed.
        image.Open();
        image.Deliver(_text, 1);
        ulong uid = image.Uids(1)[0];
        image.OnGroup = static _ => { };
        image.Log!.Append(new PendingExpunge(1, [uid], ExpungeReason.Pop3Quit));
        image.Close();
        image.OnGroup = null;
        image.Open();
        Assert.Empty(image.Bodies(1));
        Assert.Empty(Files(image));
        Assert.Empty(image.Notices);
    }

    [Theory]
    [InlineData("flipped")]
    [InlineData("short")]
    [InlineData("longer")]
    [InlineData("missing")]
    public void A_file_that_is_not_what_was_written_damages_its_message_and_no_other(string how)
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        scene.Deliver("before", 1);
        scene.Deliver(_text, 1);
        scene.Deliver("after", 1);
        scene.Close();
        string file = Assert.Single(Files(scene));
        byte[] content = File.ReadAllBytes(file);
        switch (how)
        {
            case "flipped":
                content[Long / 2] ^= 1;
                File.WriteAllBytes(file, content);
                break;
            case "short":
                File.WriteAllBytes(file, content[..^1]);
                break;
            case "longer":
                File.WriteAllBytes(file, [.. content, 0]);
                break;
            default:
                File.Delete(file);
                break;
        }

        for (int start = 0; start < 2; start++)
        {
            scene.Reopen();
            Assert.Equal(["before", "!Damaged", "after"], scene.Bodies(1));
        }

        Assert.Equal(
            how == "missing", scene.Notices.Any(n => n.Contains("stays listed", StringComparison.Ordinal)));
    }

    [Fact]
    public void The_check_of_body_files_tells_its_steps_and_can_be_ended_in_the_middle_of_one()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        scene.Deliver(new string('x', 1_000_000), 1);
        scene.Close();
        using LogInspector log = LogInspector.Open(scene.Directory);
        long read = 0;
        Assert.Empty(log.Read(bodyProgress: bytes => read += bytes).OfType<LogProblem>());
        Assert.Equal(log.Bodies.Bytes, read);

        using CancellationTokenSource source = new();
        read = 0;
        Assert.Throws<OperationCanceledException>(() => log.Read(
            bodyProgress: bytes =>
            {
                read += bytes;
                source.Cancel();
            },
            cancellation: source.Token).Count());
        Assert.InRange(read, 1, log.Bodies.Bytes - 1);
    }

    [Fact]
    public void A_full_disk_in_the_middle_of_a_body_refuses_that_message_alone()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Tiny);
        MailLog log = scene.Open();
        disk.Script = (call, name) => call == "write" && IsBody(name) ? Errno.NoSpace : 0;
        PendingMessage message = scene.Build(_text, 1);
        Assert.Equal(AppendOutcome.NoSpace, scene.Append(message));
        log.Return(message);
        disk.Script = static (_, _) => 0;
        Await(() => log.HasIdleBodies);
        Assert.Empty(Files(scene));
        scene.Deliver("small", 1);
        scene.Deliver(_text, 1);
        Assert.Equal(["small", _text], scene.Bodies(1));
    }

    [Theory]
    [InlineData("open")]
    [InlineData("write")]
    [InlineData("flush")]
    [InlineData("truncate")]
    [InlineData("rename")]
    [InlineData("syncdir")]
    public void Whatever_call_fails_under_a_body_its_message_is_refused_and_the_log_goes_on(string failing)
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Tiny);
        MailLog log = scene.Open();
        disk.Script = (call, name) => call == failing && (IsBody(name) || name == "body") ? Errno.InputOutput : 0;
        PendingMessage message = scene.Build(_text, 1);
        Assert.Equal(AppendOutcome.BodyFailed, scene.Append(message));
        log.Return(message);
        disk.Script = static (_, _) => 0;
        Await(() => log.HasIdleBodies);
        Assert.Empty(Files(scene));
        Assert.False(log.HasFailed);
        scene.Deliver(_text, 1);
        Assert.Equal([_text], scene.Bodies(1));
        scene.Reopen();
        Assert.Equal([_text], scene.Bodies(1));
    }

    [Fact]
    public void A_message_that_is_returned_unfinished_leaves_no_file_and_one_too_many_is_refused()
    {
        using LogScene scene = new(options: LogScene.Tiny with { MaxBodiesInFlight = 1 });
        MailLog log = scene.Open();
        PendingMessage broken = Begin(log);
        Assert.True(broken.HasExternalBody);
        Assert.False(log.HasRoomForBody);
        PendingMessage second = scene.Build(_text, 1);
        Assert.Equal(AppendOutcome.NoSpace, scene.Append(second));
        log.Return(second);
        log.Return(broken);
        Await(() => log.HasRoomForBody && Files(scene).Length == 0);
        scene.Deliver(_text, 1);
        Assert.Equal([_text], scene.Bodies(1));
    }

    [Fact]
    public void A_body_that_is_given_up_when_it_has_its_name_stays_as_long_as_somebody_holds_the_files()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MailLog log = scene.Open();
        using SemaphoreSlim entered = new(0);
        using SemaphoreSlim go = new(0);
        using SemaphoreSlim done = new(0);
        scene.OnGroup = _ =>
        {
            entered.Release();
            go.Wait();
        };
        log.Append(scene.Build("holds up the appender", 4711));
        entered.Wait();
        PendingMessage message = scene.Build(_text, 1);
        log.Append(message);
        Await(() => Files(scene).Any(path => path.EndsWith(".body", StringComparison.Ordinal)));
        using (log.Hold())
        {
            Assert.True(SpinWait.SpinUntil(() => log.GiveUp(message), TimeSpan.FromSeconds(60)));
            scene.OnGroup = _ => done.Release();
            go.Release();
            done.Wait();
            log.Return(message);
            Await(() => log.HasIdleBodies);
            Assert.Single(Files(scene));
        }

        Await(() => Files(scene).Length == 0);
    }

    [Fact]
    public void A_disk_that_does_not_keep_up_stops_the_producer_and_says_when_to_go_on()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Tiny);
        MailLog log = scene.Open();
        using ManualResetEventSlim go = new();
        disk.Script = (call, name) =>
        {
            if (call == "write" && IsBody(name))
            {
                go.Wait();
            }

            return 0;
        };
        PendingMessage message = Begin(log);
        using SemaphoreSlim drained = new(0);
        byte[] part = Encoding.ASCII.GetBytes(new string('y', 64 * 1024));
        int taken = 0;
        while (!message.MustWait(() => drained.Release()))
        {
            message.AppendBody(part);
            Assert.True(++taken < 64, "memory grows with the message");
        }

        go.Set();
        Assert.True(drained.Wait(TimeSpan.FromSeconds(60)), "nobody said that it goes on");
        log.Return(message);
        Await(() => log.HasRoomForBody && log.HasIdleBodies);
    }

    [Fact]
    public void A_reading_gives_the_whole_message_in_windows_and_nothing_of_a_damaged_one()
    {
        using LogScene scene = new(options: LogScene.Tiny with { MaxBodyReadings = 1 });
        MailLog log = scene.Open();
        string text = string.Concat(Enumerable.Range(0, 90_000).Select(n => $"{n:d8}")) + new string('z', 123);
        ulong lsn = scene.Deliver(text, 1);
        Assert.Equal(ReadStatus.External, log.TryRead(lsn, out StoredMessage message));
        string whole = Encoding.Latin1.GetString(message.Wire.Span) + text + "\r\n.\r\n";
        Assert.Equal(message.WireBytes, whole.Length);

        using SemaphoreSlim read = new(0);
        BodyReading reading = log.TryBeginReading(message, BodyUse.Fetch, () => read.Release())!;
        Assert.Null(log.TryBeginReading(message, BodyUse.Fetch, () => { })); // one at a time here
        StringBuilder got = new();
        do
        {
            reading.ReadOn();
            Assert.True(read.Wait(TimeSpan.FromSeconds(60)));
            Assert.Equal(ReadStatus.Ok, reading.Status);
            _ = got.Append(Encoding.Latin1.GetString(reading.Window.Span));
            Assert.Equal(whole.Length - got.Length, reading.RestBytes);
        }
        while (reading.RestBytes > 0);
        Assert.Equal(whole, got.ToString());
        reading.Close();

        string file = Assert.Single(Files(scene));
        byte[] content = File.ReadAllBytes(file);
        content[^10] ^= 4;
        File.WriteAllBytes(file, content);
        reading = log.TryBeginReading(message, BodyUse.Fetch, () => read.Release())!;
        reading.ReadOn();
        Assert.True(read.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(ReadStatus.Damaged, reading.Status);
        Assert.True(reading.Window.IsEmpty);
        reading.Close();
    }

    [Fact]
    public void A_reading_that_is_closed_during_a_step_touches_nothing_that_a_later_one_gives_out()
    {
        ScriptedDisk disk = new();
        using LogScene scene = new(disk, LogScene.Tiny with { MaxBodyReadings = 1 });
        MailLog log = scene.Open();
        ulong first = scene.Deliver(new string('a', 800_000), 1);
        ulong second = scene.Deliver(new string('b', 800_000), 1);
        Assert.Equal(ReadStatus.External, log.TryRead(first, out StoredMessage message));
        string[] files = Files(scene);
        using SemaphoreSlim isReading = new(0);
        using SemaphoreSlim mayRead = new(0);
        string? held = null;
        disk.Script = (call, name) =>
        {
            if (call == "read" && name.EndsWith(".body", StringComparison.Ordinal) && (held ??= name) == name)
            {
                isReading.Release();
                Assert.True(mayRead.Wait(TimeSpan.FromSeconds(60)));
            }

            return 0;
        };
        int calls = 0;
        BodyReading closed = log.TryBeginReading(message, BodyUse.Fetch, () => Interlocked.Increment(ref calls))!;
        closed.ReadOn();
        Assert.True(isReading.Wait(TimeSpan.FromSeconds(60)));
        Assert.True(closed.IsUnderWay);
        Assert.Throws<InvalidOperationException>(closed.ReadOn);
        closed.Close();
        closed.Close();
        Assert.Equal(ReadStatus.External, log.TryRead(second, out message));
        Assert.Null(log.TryBeginReading(message, BodyUse.Fetch, () => { })); // its windows are being written

        mayRead.Release(1000);
        using SemaphoreSlim read = new(0);
        BodyReading? reading = null;
        Await(() => (reading = log.TryBeginReading(message, BodyUse.Fetch, () => read.Release())) is not null);
        reading!.ReadOn();
        Assert.True(read.Wait(TimeSpan.FromSeconds(60)));
        Assert.Equal(ReadStatus.Ok, reading.Status);
        Assert.DoesNotContain('a', Encoding.Latin1.GetString(reading.Window.Span[^200_000..]));
        reading.Close();
        Assert.Equal(0, calls);
        Assert.DoesNotContain(
            new DirectoryInfo("/proc/self/fd").EnumerateFileSystemInfos(), fd => files.Contains(fd.LinkTarget));
    }

    [Fact]
    public void Neither_those_who_fetch_nor_the_queue_can_take_all_readings()
    {
        using LogScene scene = new(options: LogScene.Tiny with { MaxBodyReadings = 8 });
        MailLog log = scene.Open();
        ulong lsn = scene.Deliver(new string('z', 800_000), 1);
        Assert.Equal(ReadStatus.External, log.TryRead(lsn, out StoredMessage message));
        List<BodyReading> fetched = [];
        while (log.TryBeginReading(message, BodyUse.Fetch, () => { }) is { } reading)
        {
            fetched.Add(reading);
        }

        Assert.Equal(6, fetched.Count);
        BodyReading[] sent = [.. Enumerable.Range(0, 2).Select(_ => log.TryBeginReading(message, BodyUse.Delivery, () => { })!)];
        Assert.All(sent, Assert.NotNull);
        Assert.Null(log.TryBeginReading(message, BodyUse.Delivery, () => { })); // all are taken
        fetched.Concat(sent).ToList().ForEach(reading => reading.Close());
    }

    [Fact]
    public void The_format_says_that_there_are_body_files_from_the_first_one_on()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        scene.Open();
        scene.Deliver("small", 1);
        Assert.False(StoreFormat.Read(LinuxDisk.Instance, scene.Directory)!.Value.HasExternalBodies);
        scene.Deliver(_text, 1);
        Assert.True(StoreFormat.Read(LinuxDisk.Instance, scene.Directory)!.Value.HasExternalBodies);
        scene.Reopen();
        Assert.Equal(["small", _text], scene.Bodies(1));
    }

    private static PendingMessage Begin(MailLog log)
    {
        PendingMessage message = log.RentMessage();
        message.SetReversePath(default);
        Assert.True(message.TryAddLocalRecipient(1, "u@example.net"u8));
        message.SetTrace("Received: by test\r\n"u8, 0);
        message.AppendBody(new byte[Long]);
        return message;
    }

    private static bool IsBody(string name)
    {
        return name.EndsWith(".body", StringComparison.Ordinal) || name.EndsWith(".body.tmp", StringComparison.Ordinal);
    }

    private static string[] Files(LogScene scene)
    {
        return Directory.GetFiles(Path.Join(scene.Directory, "body"));
    }

    private static void Await(Func<bool> condition)
    {
        Assert.True(SpinWait.SpinUntil(condition, TimeSpan.FromSeconds(60)), "the log never came to rest");
    }
}
