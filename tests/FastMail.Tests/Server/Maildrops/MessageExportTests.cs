using System.IO.Pipelines;
using FastMail.Server.Maildrops;
using FastMail.Storage;
using FastMail.Tests.Storage;
using Xunit;

namespace FastMail.Tests.Server.Maildrops;

/// <summary>One message on its way out of the store.</summary>
public sealed class MessageExportTests
{
    [Fact]
    public async Task Who_goes_away_while_a_large_body_is_checked_leaves_no_file_open()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        MailLog log = scene.Open();
        scene.Deliver(new string('x', 300_000), 1); // more than half of a tiny segment: a file of its own
        string body = Path.GetFileName(Assert.Single(
            Directory.GetFiles(scene.Directory, "*", SearchOption.AllDirectories), f => f.Contains("/body/", StringComparison.Ordinal)));
        using OpenMaildrop maildrop = log.OpenMaildrop(1);
        using CancellationTokenSource gone = new();
        await gone.CancelAsync();
        Pipe pipe = new();
        _ = await Assert.ThrowsAsync<OperationCanceledException>(
            () => MessageExport.WriteAsync(log, maildrop, 0, pipe.Writer, gone.Token));
        Assert.DoesNotContain(
            Directory.EnumerateFiles("/proc/self/fd").Select(fd => new FileInfo(fd).LinkTarget),
            target => target is not null && target.Contains(scene.Directory, StringComparison.Ordinal)
                && target.Contains(body, StringComparison.Ordinal));
    }
}
