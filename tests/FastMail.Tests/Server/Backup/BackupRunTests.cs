using System.IO.Pipes;
using FastMail.Server.Accounts;
using FastMail.Server.Backup;
using FastMail.Server.Control;
using FastMail.Server.Dkim;
using FastMail.Storage;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server.Backup;

/// <summary>A run that ends while it reveals what it brought leaves a backup that a server starts in.</summary>
public sealed class BackupRunTests : IDisposable
{
    private static readonly MailLogOptions Manual = LogScene.Saving with { ReclaimsByItself = false };

    private readonly string _target = Directory.CreateTempSubdirectory("fastmail-backup-").FullName;

    public void Dispose()
    {
        Directory.Delete(_target, recursive: true);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task An_addition_that_ends_before_either_kind_of_segment_leaves_what_was_there(bool endsBeforeCold)
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        (_, string[] bodies) = ReclaimStory.MostlyDead(scene);
        scene.Close();
        Back(scene);

        scene.Open();
        ReclaimStory.Fill(scene, 2, segments: 1); // so that the MOVE stands in a segment that the backup lacks
        string growing = Segments(scene)[^1];
        CompactProgress moved = await scene.Log!.CompactAsync(new CompactOptions());
        Assert.True(moved.Messages > 0, moved.ToString());
        scene.Close();
        string cold = Assert.Single(Directory.GetFiles(scene.LogDirectory, "1-*.seg"));

        // A directory of that name lets no file take it.
        string obstacle = Path.Join(_target, "log", Path.GetFileName(endsBeforeCold ? cold : growing));
        Directory.CreateDirectory(Path.Join(obstacle, "full"));
        Assert.Throws<IOException>(() => Back(scene));
        Directory.Delete(obstacle, recursive: true);
        Assert.Equal(endsBeforeCold, !File.Exists(Path.Join(_target, "log", Path.GetFileName(cold))));

        using LogScene restored = Restore();
        restored.Open();
        Assert.Equal(bodies, restored.Bodies(1));
        restored.Close();

        Back(scene);
        using LogScene whole = Restore();
        whole.Open();
        Assert.Equal(bodies, whole.Bodies(1));
        Assert.Contains(whole.Log!.Hold().Extent.Names, LogInspector.IsCold);
    }

    [Fact]
    public void A_run_that_is_interrupted_at_its_first_file_goes_on_too()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        scene.Deliver("kept", 1);
        scene.Close();
        Assert.Throws<OperationCanceledException>(() => Back(scene, token: new CancellationToken(canceled: true)));
        Assert.NotEmpty(Directory.EnumerateFileSystemEntries(_target));
        Back(scene);
        using LogScene restored = Restore();
        restored.Open();
        Assert.Equal(["kept"], restored.Bodies(1));
    }

    [Fact]
    public void An_addition_from_a_store_that_was_put_back_and_went_on_is_refused()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ReclaimStory.Fill(scene, 1, segments: 1);
        using LogScene putBack = scene.Crash();
        ReclaimStory.Fill(scene, 1, segments: 2);
        string[] bodies = scene.Bodies(1);
        scene.Close();
        Back(scene);

        putBack.Clock.Now = scene.Clock.Now.AddDays(1);
        putBack.Open();
        ReclaimStory.Fill(putBack, 1, segments: 3);
        putBack.Close();
        Assert.Contains("another segment by the name", RefusalOf(putBack, _target), StringComparison.Ordinal);

        using LogScene restored = Restore();
        restored.Open();
        Assert.Equal(bodies, restored.Bodies(1));
    }

    [Fact]
    public void An_addition_from_a_store_that_ends_before_the_backup_is_refused()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        scene.Deliver("in both", 1);
        using LogScene putBack = scene.Crash();
        scene.Deliver("in the backup", 1);
        using (LogHold hold = scene.Log!.Hold())
        {
            Back(scene, extent: hold.Extent);
        }

        Assert.Null(RefusalOf(scene, _target, scene.Log.Hold().Extent));
        Assert.Contains("the log ends at", RefusalOf(putBack, _target), StringComparison.Ordinal);
    }

    [Fact]
    public void A_run_whose_source_was_let_go_leaves_the_backup_before_it()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        scene.Deliver("before", 1);
        scene.Close();
        Back(scene);
        string manifest = File.ReadAllText(Path.Join(_target, BackupManifest.FileName));
        scene.Open();
        scene.Deliver("behind", 1);
        scene.Close();
        Assert.Throws<ControlException>(() => Back(scene, checkSource: static () => throw new ControlException("gone")));

        Assert.Equal(manifest, File.ReadAllText(Path.Join(_target, BackupManifest.FileName)));
        using LogScene restored = Restore();
        restored.Open();
        Assert.Equal(["before"], restored.Bodies(1));
    }

    [Fact]
    public void A_hold_is_lost_when_the_server_closes_the_connection()
    {
        using var pipe = new AnonymousPipeServerStream(PipeDirection.Out);
        using var reader = new StreamReader(new AnonymousPipeClientStream(PipeDirection.In, pipe.GetClientHandleAsString()));
        pipe.Write("first line\n"u8);
        Assert.Equal("first line", reader.ReadLine());
        using var hold = new RemoteHold(new HttpResponseMessage(), reader, new LogExtent(0, []));
        Assert.False(hold.IsLost);
        pipe.Dispose();
        Assert.True(SpinWait.SpinUntil(() => hold.IsLost, TimeSpan.FromSeconds(30)));
    }

    [Fact]
    public void The_keys_that_sign_come_along_each_time_for_their_owner_alone()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        scene.Close();
        DkimFiles keys = new(scene.Directory);
        keys.Make("example.net", "one", bits: 1024);
        keys.Make("example.net", "two", bits: 1024);
        File.WriteAllText(Path.Join(scene.Directory, AdminDoor.FileName), "token");
        Back(scene);
        DkimFiles copies = new(_target);
        Assert.Equal("one", copies.ActiveOf("example.net"));
        Assert.Equal("one two", string.Join(' ', copies.Selectors("example.net")));
        _ = copies.Load("example.net", "two"); // which looks at the mode
        Assert.Equal("token", File.ReadAllText(Path.Join(_target, AdminDoor.FileName)));

        keys.Activate("example.net", "two");
        keys.Remove("example.net", "one");
        Back(scene);
        Assert.Equal("two", copies.ActiveOf("example.net"));
        Assert.Equal("two", Assert.Single(copies.Selectors("example.net")));
    }

    [Fact]
    public void What_was_not_read_back_to_the_end_is_remembered()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        ReclaimStory.Fill(scene, 1, segments: 1);
        scene.Close();
        BackupManifest first = Back(scene);
        Assert.Equal(0UL, first.UnverifiedFrom);

        scene.Open();
        ReclaimStory.Fill(scene, 1, segments: 1);
        scene.Close();
        Assert.Equal(0UL, Back(scene).UnverifiedFrom); // though the first segment was kept
        (first with { UnverifiedFrom = null }).Write(_target);
        Assert.True(Back(scene).UnverifiedFrom > 0);
    }

    [Fact]
    public void Checkpoints_are_brought_before_the_server_replaces_them()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        scene.Deliver("mail", 1);
        scene.Close();
        Back(scene, progress: () =>
        {
            string log = Path.Join(_target, "log");
            if (Directory.Exists(log) && Directory.EnumerateFiles(log).Any())
            {
                Directory.Delete(Path.Join(scene.Directory, "ckpt"), recursive: true);
                Directory.CreateDirectory(Path.Join(scene.Directory, "ckpt"));
            }
        });

        Assert.Single(Directory.GetFiles(Path.Join(_target, "ckpt"), "MANIFEST", SearchOption.AllDirectories));
        using LogScene restored = Restore();
        restored.Open();
        Assert.Equal(["mail"], restored.Bodies(1));
    }

    [Fact]
    public void A_checkpoint_that_goes_while_it_is_brought_takes_nothing_of_the_next_along()
    {
        using LogScene scene = new(options: Manual);
        scene.Open();
        scene.Deliver("one", 1);
        scene.Deliver("other", 2);
        scene.Reopen();
        scene.Deliver("two", 1);
        scene.Close();
        string[] checkpoints = [.. Directory.GetDirectories(Path.Join(scene.Directory, "ckpt")).Order(StringComparer.Ordinal)];
        Assert.Equal(2, checkpoints.Length);
        Back(scene, progress: () =>
        {
            if (Directory.Exists(Path.Join(_target, "ckpt")))
            {
                File.Delete(Path.Join(checkpoints[0], "MANIFEST"));
            }
        });

        using LogScene restored = Restore();
        Assert.Single(Directory.GetFiles(Path.Join(restored.Directory, "ckpt"), "MANIFEST", SearchOption.AllDirectories));
        restored.Open();
        Assert.Equal(["one", "two"], restored.Bodies(1));
        Assert.Equal(["other"], restored.Bodies(2));
        Assert.DoesNotContain(restored.Notices, n => n.Contains("checkpoint", StringComparison.Ordinal));
    }

    private static string? RefusalOf(LogScene scene, string target, LogExtent? extent = null)
    {
        using LogInspector log = Inspect(scene, extent);
        BackupFiles files = new(mayLink: false, static _ => { }, CancellationToken.None);
        return new BackupRun(scene.Directory, target, log, files, static () => { }, DateTimeOffset.UnixEpoch).Refusal(isIncremental: true);
    }

    private static LogInspector Inspect(LogScene scene, LogExtent? extent) =>
        extent is null ? LogInspector.Open(scene.Directory) : LogInspector.Open(scene.Directory, extent);

    private BackupManifest Back(
        LogScene scene, LogExtent? extent = null, Action? checkSource = null, Action? progress = null,
        CancellationToken token = default)
    {
        using (AccountStore.Open(scene.Directory))
        {
            // There are accounts, though none of them matters here.
        }

        using LogInspector log = Inspect(scene, extent);
        BackupFiles files = new(mayLink: false, _ => progress?.Invoke(), token);
        BackupRun run = new(scene.Directory, _target, log, files, checkSource ?? (static () => { }), DateTimeOffset.UnixEpoch);
        Assert.Null(run.Refusal(isIncremental: true));
        return run.Run();
    }

    private LogScene Restore()
    {
        LogScene restored = new(options: Manual);
        foreach (string path in Directory.EnumerateFiles(_target, "*", SearchOption.AllDirectories))
        {
            if (!path.EndsWith(".part", StringComparison.Ordinal))
            {
                string copy = Path.Join(restored.Directory, Path.GetRelativePath(_target, path));
                Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
                File.Copy(path, copy);
            }
        }

        return restored;
    }

    private static string[] Segments(LogScene scene)
    {
        return [.. Directory.GetFiles(scene.LogDirectory, "0-*.seg").Order(StringComparer.Ordinal)];
    }
}
