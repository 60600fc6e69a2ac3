using FastMail.Storage;
using Xunit;

namespace FastMail.Tests.Simulation;

/// <summary>
/// Found by the simulation: names that the cache shows and the disk does not have. The process ends or fails at one
/// place, the machine stays up, the next process goes on; then the power goes.
/// </summary>
[Collection(SimulationGroup.Name)]
public sealed class NameTests(SimulatedAccounts accounts)
{
    [Theory]
    [InlineData(DiskLane.Appender, SimulatedServer.Directory + "/log")] // the name of the second segment
    [InlineData(DiskLane.Opener, SimulatedServer.Directory + "/log")] // of the first
    [InlineData(DiskLane.Opener, SimulatedServer.Directory)] // FORMAT and log
    [InlineData(DiskLane.Opener, LyingDisk.Root)] // the store itself
    internal void A_name_that_was_given_before_a_kill_is_durable_before_mail_is_acknowledged(
        DiskLane lane, string directory)
    {
        LyingDisk disk = new(4096);
        Ledger ledger = new();
        FaultPlan plan = new(1);
        plan.EndProcessAfter(lane, 0, call => call.Verb == DiskVerb.SyncDirectory && call.Path == directory);
        Live(disk, ledger, plan);
        Assert.True(plan.HasFired);
        disk.EndProcess(evicts: false);
        Live(disk, ledger, new FaultPlan(2));
        Assert.True(ledger.Kept > 0);

        disk.LosePower(new Random(3), keepsNothing: true);

        Live(disk, ledger, new FaultPlan(4));
    }

    [Fact]
    public void A_store_does_not_start_when_its_own_name_cannot_be_made_durable()
    {
        FaultPlan plan = FailRootSync(Errno.InputOutput);
        Assert.Throws<IOException>(() => Start(new LyingDisk(4096), plan).Dispose());
        Assert.True(plan.HasFired);
    }

    [Fact]
    public void A_parent_directory_that_is_not_ours_to_flush_is_no_obstacle()
    {
        FaultPlan plan = FailRootSync(Errno.AccessDenied);
        Start(new LyingDisk(4096), plan).Dispose();
        Assert.True(plan.HasFired);
    }

    private static FaultPlan FailRootSync(int errno)
    {
        FaultPlan plan = new(1);
        plan.FailAfter(
            DiskLane.Opener,
            0,
            errno,
            isForEver: false,
            call => call is { Verb: DiskVerb.SyncDirectory, Path: LyingDisk.Root });
        return plan;
    }

    /// <summary>A process that is judged, receives until it has two segments, and ends in order.</summary>
    private void Live(LyingDisk disk, Ledger ledger, FaultPlan plan)
    {
        SimulatedServer server;
        try
        {
            server = Start(disk, plan);
        }
        catch (IOException e) when (e is not DamagedLogException && plan.HasFired)
        {
            return;
        }

        using (server)
        {
            Random random = new(5);
            Assert.True(new Postman(server, ledger, random).TryInspect());
            int segments = server.Log.Statistics.Segments;
            do
            {
                Postman postman = new(server, ledger, random);
                server.Turn(() => postman.Send(1, 60_000, mayEmpty: false));
                _ = postman.Collect();
            }
            while (server.Log.Statistics.Segments < Math.Max(2, segments) && !server.Port.IsDown);
        }
    }

    private SimulatedServer Start(LyingDisk disk, FaultPlan plan)
    {
        return SimulatedServer.Start(disk.Boot(plan), accounts, new SimulatedClock(), new Random(6));
    }
}
