using System.Buffers.Binary;
using FastMail.Storage;
using FastMail.Tests.Storage.Queue;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>Messages whose bodies are files of their own, and the space of their segments.</summary>
public sealed class ReclaimBodyTests
{
    private static MailLogOptions Options => LogScene.Saving with { ReclaimsByItself = false };

    [Fact]
    public async Task A_long_message_in_a_file_of_its_own_keeps_no_dead_segment()
    {
        using LogScene scene = new(options: Options);
        MailLog log = scene.Open();
        scene.Deliver(new string('j', 900_000), 1);
        ReclaimStory.Fill(scene, 3, segments: 2);
        scene.Expunge(3, scene.Uids(3));

        CompactProgress done = await log.CompactAsync(new CompactOptions());
        Assert.Equal(1, done.Messages);
        Assert.False(File.Exists(scene.FirstSegment));
        Assert.Equal([new string('j', 900_000)], scene.Bodies(1));
        scene.Reopen();
        Assert.Equal([new string('j', 900_000)], scene.Bodies(1));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_checkpoint_that_counts_body_files_is_counted_anew(bool isOlder)
    {
        using LogScene scene = new(options: Options);
        scene.Open();
        scene.Deliver(new string('j', 900_000), 1, 2);
        scene.Deliver("short", 1);
        ulong seq = scene.Relay(new string('q', 800_000), relayed: 1, mailboxes: []);
        ReclaimStory.Fill(scene, 3, segments: 1);
        long[] live = Live();
        Assert.True(live.All(octets => octets < MailLogOptions.MinSegmentBytes), string.Join(' ', live));
        scene.Close();
        if (isOlder)
        {
            MakeOlder(scene);
        }

        MailLog log = scene.Open();
        Assert.Empty(scene.Notices);
        Assert.Equal(live, Live());
        scene.Change(QueueLog.Of(seq, 0, QueueState.Delivered, 1));
        foreach (ulong mailbox in (ReadOnlySpan<ulong>)[1, 2, 3])
        {
            scene.Expunge(mailbox, scene.Uids(mailbox));
        }

        Assert.All(log.ReadSegmentStatistics(), s => Assert.Equal((0, 0), (s.LiveMessages, s.LiveBytes)));
        Assert.True((await log.CompactAsync(new CompactOptions())).Segments > 0);

        long[] Live()
        {
            return [.. scene.Log!.ReadSegmentStatistics().Select(s => s.LiveBytes)];
        }
    }

    /// <summary>The newest checkpoint as a program made it that counted body files.</summary>
    private static void MakeOlder(LogScene scene)
    {
        const int Head = 24;
        const int OctetsAt = 16;
        const int SegmentBytes = 32;
        string path = Directory.EnumerateFiles(scene.Directory, Manifest.FileName, SearchOption.AllDirectories)
            .Max(StringComparer.Ordinal)!;
        Manifest manifest = Manifest.Read(LinuxDisk.Instance, path, out _)!;
        byte[] extra = manifest.Extra.ToArray()[..^sizeof(ulong)];
        int segments = BinaryPrimitives.ReadInt32LittleEndian(extra.AsSpan(16));
        for (int i = 0; i < segments; i++)
        {
            Span<byte> octets = extra.AsSpan(Head + (i * SegmentBytes) + OctetsAt);
            BinaryPrimitives.WriteInt64LittleEndian(octets, BinaryPrimitives.ReadInt64LittleEndian(octets) + 900_000);
        }

        File.WriteAllBytes(path, (manifest with { Extra = extra }).ToBytes());
    }
}
