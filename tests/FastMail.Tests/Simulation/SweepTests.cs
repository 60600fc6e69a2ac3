using System.Collections.Concurrent;
using FastMail.Storage;
using FastMail.Tests.Storage;
using Xunit;
using Xunit.Abstractions;

namespace FastMail.Tests.Simulation;

/// <summary>
/// One fixed scenario (four segments, a message with a body file, removals), and for every disk call of it: what if that
/// one fails, once or for ever, or is the last the process makes? Whatever can become of the machine then is tried.
/// </summary>
[Collection(SimulationGroup.Name)]
public sealed class SweepTests(SimulatedAccounts accounts, ITestOutputHelper output)
{
    private const int Scenario = 4743;
    private const int Work = 6; // of the relay
    private const int Turns = 7;

    // What happens after the process in which the fault was.
    private enum Aftermath
    {
        PowerLoss, // with even calls all is lost that may be, with odd ones a part
        Restart, // of the program alone: the cache stays as it is
        RestartEvicted, // the cache forgets what it calls clean
    }

    [Theory]
    [InlineData(Errno.InputOutput, false)]
    [InlineData(Errno.InputOutput, true)]
    [InlineData(Errno.NoSpace, false)]
    [InlineData(Errno.NoSpace, true)]
    public void Whichever_disk_call_fails_nothing_acknowledged_is_lost(int errno, bool isForEver)
    {
        SweepAll((plan, lane, call) => plan.FailAfter(lane, call, errno, isForEver));
    }

    [Theory]
    [InlineData(Errno.InputOutput, false)]
    [InlineData(Errno.InputOutput, true)]
    [InlineData(Errno.NoSpace, false)]
    [InlineData(Errno.NoSpace, true)]
    public void Whichever_disk_call_fails_in_opening_from_a_checkpoint_nothing_is_lost(int errno, bool isForEver)
    {
        SweepAll((plan, lane, call) => plan.FailAfter(lane, call, errno, isForEver), isSecondLife: true);
    }

    [Fact]
    public void In_whichever_disk_call_of_opening_from_a_checkpoint_the_process_ends_nothing_is_lost()
    {
        SweepAll((plan, lane, call) => plan.EndProcessAfter(lane, call), isSecondLife: true);
    }

    [Fact]
    public void In_whichever_disk_call_the_process_ends_nothing_acknowledged_is_lost()
    {
        SweepAll((plan, lane, call) => plan.EndProcessAfter(lane, call));
    }

    [Fact]
    public void The_scenario_has_what_a_sweep_is_worth_its_time_for()
    {
        LyingDisk disk = new(512);
        Ledger ledger = new();
        Clerk clerk = new(new Random(Work));
        FaultPlan plan = new(0);
        Live(disk.Boot(plan), ledger, clerk, new Random(Scenario), Turns);

        long[] segments = [.. disk.Names.Where(n => n.Key.EndsWith(".seg", StringComparison.Ordinal))
            .Select(n => n.Value.Length)];
        Assert.True(segments.Length >= 3, $"{segments.Length} segments");
        Assert.Contains(
            disk.Names, n => n.Key.EndsWith(".seg", StringComparison.Ordinal) && ReusedLog.IsReused(n.Value.Cache));
        Assert.True(plan.CallsIn(DiskLane.Bodies) > 5, "no message has a body file");
        Assert.True(ledger.Removed > 0, "nothing was removed");
        Assert.True(clerk.Waiting > 1 && clerk.Kept > clerk.Waiting, $"{clerk.Waiting} of {clerk.Kept} wait");
        Assert.Contains(disk.Names, n => Path.GetFileName(n.Key).StartsWith("1-", StringComparison.Ordinal));
        Assert.DoesNotContain(disk.Names, n => n.Key.EndsWith("/0-0000000000000000.seg", StringComparison.Ordinal));
    }

    /// <param name="arm">Says what goes wrong.</param>
    /// <param name="isSecondLife">
    /// It goes wrong only when a log with a checkpoint and some records behind it is opened.
    /// </param>
    private void SweepAll(Action<FaultPlan, DiskLane, int> arm, bool isSecondLife = false)
    {
        (LyingDisk disk, Ledger ledger, Clerk clerk) = isSecondLife
            ? LiveBefore()
            : (new LyingDisk(512), new Ledger(), new Clerk(new Random(Work)));
        DiskLane[] lanes = isSecondLife
            ? [DiskLane.Opener]
            : [.. Enum.GetValues<DiskLane>().Where(lane => lane != DiskLane.BodyReader)]; // nobody reads in the first life
        int[] calls = new int[Enum.GetValues<DiskLane>().Length];
        bool[] isOver = new bool[calls.Length];
        Findings findings = new();

        // More at once than there are processors: a life is mostly threads that wait for one another.
        Parallel.ForEach(
            Partitioner.Create(Calls(), EnumerablePartitionerOptions.NoBuffering),
            new ParallelOptions { MaxDegreeOfParallelism = 2 * Environment.ProcessorCount },
            next =>
            {
                Sweep sweep = new(next.Lane, next.Call, disk.Copy(), ledger.Clone(), clerk.Clone(new Random(Work)));
                if (!TrySweep(sweep, arm, findings))
                {
                    Volatile.Write(ref isOver[(int)next.Lane], true);
                }
            });
        output.WriteLine($"{calls.Sum()} calls, {findings.Lives} lives");
        Assert.All(lanes, lane => Assert.True(calls[(int)lane] > 3, $"the scenario makes no calls in lane {lane}"));
        Assert.True(
            findings.Broken.IsEmpty,
            $"{findings.Broken.Count} of {findings.Lives} lives:\n{string.Join("\n\n", findings.Broken.Take(8))}");

        // Asked for one at a time. A lane is over with the first call that the scenario does not make.
        IEnumerable<(DiskLane Lane, int Call)> Calls()
        {
            foreach (DiskLane lane in lanes)
            {
                while (!Volatile.Read(ref isOver[(int)lane]))
                {
                    yield return (lane, calls[(int)lane]++);
                }
            }
        }
    }

    private (LyingDisk Disk, Ledger Ledger, Clerk Clerk) LiveBefore()
    {
        LyingDisk disk = new(512);
        Ledger ledger = new();
        Clerk clerk = new(new Random(Work));
        Live(disk.Boot(new FaultPlan(0)), ledger, clerk, new Random(Scenario), 3, isKilled: true);
        disk.EndProcess(evicts: false);
        return (disk, ledger, clerk);
    }

    /// <summary>
    /// Lives up to the fault once, and on from there after each aftermath that leaves another disk than those before.
    /// False when the scenario has no such call.
    /// </summary>
    private bool TrySweep(Sweep sweep, Action<FaultPlan, DiskLane, int> arm, Findings findings)
    {
        FaultPlan plan = new(sweep.Call);
        arm(plan, sweep.Lane, sweep.Call);
        DiskPort port = sweep.Disk.Boot(plan);
        List<LyingDisk> tried = [];
        try
        {
            Live(port, sweep.Ledger, sweep.Clerk, new Random(Scenario), Turns);
            // A full disk refuses the next call that takes space: several numbers mean the same one.
            bool isNew = plan.HasFired && findings.Fired.TryAdd((sweep.Lane, plan.FiredAt), sweep.Call);
            foreach (Aftermath aftermath in isNew ? Enum.GetValues<Aftermath>() : [])
            {
                LyingDisk disk = sweep.Disk.Copy();
                End(disk, aftermath, sweep.Call);
                if (!tried.Exists(disk.IsSettledLike))
                {
                    tried.Add(disk.Copy());
                    findings.CountLife();
                    LiveOn(disk, sweep, aftermath, findings);
                }
            }
        }
        catch (Exception e) when (e is BrokenPromiseException or IOException)
        {
            findings.Broken.Enqueue($"{sweep.Lane} {sweep.Call}: {e.Message}\n{port.Trace}");
        }

        return plan.HasFired;
    }

    /// <summary>More mail behind what was recovered, then a power loss that keeps nothing it need not keep; then look.</summary>
    private void LiveOn(LyingDisk disk, Sweep sweep, Aftermath aftermath, Findings findings)
    {
        Ledger ledger = sweep.Ledger.Clone();
        Clerk clerk = sweep.Clerk.Clone(new Random(Work));
        DiskPort? port = null;
        try
        {
            for (int life = 0; life < 2; life++)
            {
                port = disk.Boot(new FaultPlan(sweep.Call));
                Live(port, ledger, clerk, new Random(Scenario + life), 2);
                End(disk, Aftermath.PowerLoss, life);
            }
        }
        catch (Exception e) when (e is BrokenPromiseException or IOException)
        {
            findings.Broken.Enqueue($"{sweep.Lane} {sweep.Call}, then {aftermath}: {e.Message}\n{port?.Trace}");
        }
    }

    private static void End(LyingDisk disk, Aftermath aftermath, int seed)
    {
        if (aftermath == Aftermath.PowerLoss)
        {
            disk.LosePower(new Random(seed), keepsNothing: seed % 2 == 0);
        }
        else
        {
            disk.EndProcess(aftermath == Aftermath.RestartEvicted);
        }
    }

    private void Live(DiskPort port, Ledger ledger, Clerk clerk, Random random, int turns, bool isKilled = false)
    {
        SimulatedServer? server = null;
        try
        {
            server = SimulatedServer.Start(port, accounts, new SimulatedClock(), random);
        }
        catch (IOException e) when (e is not DamagedLogException && port.Plan.HasFired)
        {
            // It did not start, which is an honest answer to a disk that fails.
            port.End();
            return;
        }

        using (server)
        {
            if (!new Postman(server, ledger, random).TryInspect() || !clerk.TryInspect(server))
            {
                return;
            }

            for (int turn = 0; turn < turns && !port.IsDown; turn++)
            {
                Postman postman = new(server, ledger, random);
                int longest = turn == 2 ? 220_000 : 90_000; // a body file is among them
                server.Turn(() => postman.Send(server.IsHeld ? 3 : 1, longest, server.IsHeld));
                _ = postman.Collect();
                server.Turn(() => server.IsHeld ? clerk.Send(server) : 0);
                _ = clerk.Collect();
                if (turn is 0 or 1)
                {
                    server.Log.TakeCheckpoint();
                }

                if (turn >= 2 && !port.IsDown)
                {
                    // All that is full is copied, whatever the load of the machine; the second time something is cold.
                    _ = server.Reclaim(deadRatio: 0, includesCurrent: turn >= 3);
                }
            }

            if (isKilled)
            {
                port.End();
            }
        }
    }

    /// <summary>One call and the world in which it goes wrong. Owned by the thread that tries it.</summary>
    private sealed record Sweep(DiskLane Lane, int Call, LyingDisk Disk, Ledger Ledger, Clerk Clerk);

    /// <summary>What all that is tried has shown. Any thread.</summary>
    private sealed class Findings
    {
        private int _lives;

        public ConcurrentDictionary<(DiskLane Lane, int Call), int> Fired { get; } = [];

        public ConcurrentQueue<string> Broken { get; } = [];

        public int Lives => Volatile.Read(ref _lives);

        public void CountLife() => Interlocked.Increment(ref _lives);
    }
}
