using FastMail.Storage;
using Xunit;
using static FastMail.Tests.Storage.Queue.QueueLog;

namespace FastMail.Tests.Storage.Queue;

/// <summary>
/// Every single damage of a small log with a queue: what was not hit is as it was. A message that was hit is not relayed,
/// and of a change that was hit the one before counts; nothing else happens.
/// </summary>
public sealed class QueueDamageTests
{
    private ulong _open;
    private ulong _ended;
    private ulong _told;

    [Fact]
    public void A_flip_of_any_bit_costs_at_most_the_record_it_hits()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        Make(scene);
        using MemoryDisk disk = RecoveredLog.Load(scene);
        List<KnownRecord> records = KnownRecord.ReadAll(disk);
        string path = Assert.Single(disk.Paths, SegmentHeader.IsSegmentName);
        byte[] whole = disk[path].ToArray();
        for (long bit = SegmentHeader.Bytes * 8; bit < records[^1].End * 8; bit++)
        {
            disk[path][(int)(bit / 8)] ^= (byte)(1 << (int)(bit % 8));
            Check(disk, $"bit {bit}", records, record => record.Contains(path, bit / 8));
            whole.CopyTo(disk[path]);
        }
    }

    [Fact]
    public void Zeros_from_any_octet_on_keep_every_record_before_it()
    {
        using LogScene scene = new(options: LogScene.Tiny);
        Make(scene);
        using MemoryDisk disk = RecoveredLog.Load(scene);
        List<KnownRecord> records = KnownRecord.ReadAll(disk);
        string path = Assert.Single(disk.Paths, SegmentHeader.IsSegmentName);
        byte[] whole = disk[path].ToArray();
        for (long cut = SegmentHeader.Bytes; cut <= records[^1].End; cut++)
        {
            disk[path][(int)cut..].Clear();
            Check(disk, $"zeros from {cut}", records, record => record.End > cut);
            whole.CopyTo(disk[path]);
        }
    }

    /// <summary>
    /// Two messages; of one nobody is left, of the other one recipient waits, and its other end is told by a third.
    /// </summary>
    private void Make(LogScene scene)
    {
        scene.Open();
        _open = scene.Relay("open", relayed: 2);
        _ended = scene.Relay("ended");
        scene.Change(Of(_open, 0, QueueState.Deferred, 1, "later"));
        scene.Reopen();
        scene.Change(Of(_ended, 0, QueueState.Delivered, 1, "taken"));
        PendingMessage bounce = scene.BuildRelayed("told", 1, [], Of(_open, 1, QueueState.Failed, 1));
        Assert.Equal(AppendOutcome.Durable, scene.Append(bounce));
        _told = bounce.Seq;
        scene.Log!.Return(bounce);
        scene.Close();
    }

    private void Check(MemoryDisk disk, string what, List<KnownRecord> records, Func<KnownRecord, bool> isHit)
    {
        KnownRecord[] messages = [.. records.Where(r => r.Header.Type == RecordType.Message)];
        KnownRecord[] changes = [.. records.Where(r => r.Header.Type == RecordType.QueueState)];
        using RecoveredLog log = new(disk);
        bool isTold = log.StatesOf(_told) is not null;
        Assert.True(isTold || isHit(messages[2]), $"{what}: the notification is lost");
        QueueState[]? open = log.StatesOf(_open);
        Assert.True(open is not null || isHit(messages[0]), $"{what}: the open message is lost");
        if (open is not null)
        {
            QueueState first = isHit(changes[0]) && open[0] == QueueState.Ready ? QueueState.Ready : QueueState.Deferred;
            Assert.Equal([first, isTold ? QueueState.Failed : QueueState.Ready], open);
        }

        QueueState[]? ended = log.StatesOf(_ended);
        Assert.True(ended is null || isHit(changes[1]), $"{what}: what was delivered is found again");
        Assert.True(ended is null or [QueueState.Ready], $"{what}: a state that never was");
    }
}
