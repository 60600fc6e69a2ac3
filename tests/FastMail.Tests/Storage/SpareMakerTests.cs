using FastMail.Storage;
using FastMail.Tests.Simulation;
using Xunit;

namespace FastMail.Tests.Storage;

/// <summary>What the maker of spares and the reclaimer do at the same moment.</summary>
public sealed class SpareMakerTests
{
    private const string Directory = LyingDisk.Root + "/log";
    private const long Segment = MailLogOptions.MinSegmentBytes;

    [Fact]
    public void A_spare_that_is_brought_while_there_is_no_room_to_make_one_ends_the_want_of_space()
    {
        DiskPort port = new LyingDisk(512, Segment / 2).Boot(new FaultPlan(0));
        Assert.Equal(0, port.CreateDirectory(Directory));
        using LogScene scene = new(port, LogScene.Tiny, Directory);
        SegmentFiles files = new(port, Directory, Guid.NewGuid(), TimeProvider.System, new Random(1));
        Assert.Equal(0, port.Open(Directory + "/used", FileUse.CreateNew, out IDiskFile? used));
        using SpareMaker maker = new(files, scene.Options, scene);
        bool isBrought = false;

        // The maker has seen that there is no spare, and learns that there is no room for one.
        port.Called = call =>
        {
            if (call is { Lane: DiskLane.Spare, Verb: DiskVerb.Free } && !isBrought && maker.IsSpaceLow)
            {
                isBrought = true;
                Assert.True(maker.TryPromise(Segment, out string name));
                maker.Keep(new PreparedFile(used!, Segment, name));
            }
        };
        maker.Start(Segment);

        Assert.True(SpinWait.SpinUntil(() => isBrought && !maker.IsSpaceLow, TimeSpan.FromSeconds(20)), "still low");
        Assert.True(maker.HasSpare);
        Assert.True(maker.TryTake(1000, out _));
    }
}
