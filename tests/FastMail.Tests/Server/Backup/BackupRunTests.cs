using FastMail.Server.Accounts;
using FastMail.Server.Backup;
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
        Assert.Throws<OperationCanceledException>(() => Back(scene, new CancellationToken(canceled: true)));
        Assert.NotEmpty(Directory.EnumerateFileSystemEntries(_target));
        Back(scene);
        using LogScene restored = Restore();
        restored.Open();
        Assert.Equal(["kept"], restored.Bodies(1));
    }

    private void Back(LogScene scene, CancellationToken token = default)
    {
        using (AccountStore.Open(scene.Directory))
        {
            // There are accounts, though none of them matters here.
        }

        using LogInspector log = LogInspector.Open(scene.Directory);
        BackupFiles files = new(mayLink: false, static _ => { }, token);
        BackupRun run = new(scene.Directory, _target, log, files, DateTimeOffset.UnixEpoch);
        Assert.Null(run.Refusal(isIncremental: true));
        _ = run.Run();
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
