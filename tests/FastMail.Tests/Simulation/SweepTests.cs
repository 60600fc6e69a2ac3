using System.Collections.Concurrent;
using FastMail.Storage;
using Xunit;
using Xunit.Abstractions;

namespace FastMail.Tests.Simulation;

/// <summary>
/// One fixed scenario (four segments, a message with a body file, removals), and for every disk call of it: what if that
/// one fails, once or for ever, or is the last the process makes. FASTMAIL_SWEEP=whole tries every aftermath of every call.
/// </summary>
[Collection(SimulationGroup.Name)]
public sealed class SweepTests(SimulatedAccounts accounts, ITestOutputHelper output)
{
    private const int Scenario = 4737;
    private const int Turns = 7;
    private const int AllAftermaths = 3;

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
        // Every call fails with an error of the disk; every third, unless the sweep is whole, with a full one.
        SweepAll((plan, lane, call) => plan.FailAfter(lane, call, errno, isForEver), errno == Errno.NoSpace ? 3 : 1);
    }

    [Theory]
    [InlineData(Errno.InputOutput, false)]
    [InlineData(Errno.InputOutput, true)]
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
        FaultPlan plan = new(0);
        Live(disk.Boot(plan), ledger, new Random(Scenario), Turns);

        long[] segments = [.. disk.Names.Where(n => n.Key.EndsWith(".seg", StringComparison.Ordinal))
            .Select(n => n.Value.Length)];
        Assert.True(segments.Length >= 3, $"{segments.Length} segments");
        Assert.True(plan.CallsIn(DiskLane.Bodies) > 5, "no message has a body file");
        Assert.True(ledger.Removed > 0, "nothing was removed");
        Assert.Contains(disk.Names, n => Path.GetFileName(n.Key).StartsWith("1-", StringComparison.Ordinal));
        Assert.DoesNotContain(disk.Names, n => n.Key.EndsWith("/0-0000000000000000.seg", StringComparison.Ordinal));
    }

    /// <param name="arm">Says what goes wrong.</param>
    /// <param name="step">Of the calls in a short sweep.</param>
    /// <param name="isSecondLife">
    /// It goes wrong only when a log with a checkpoint and some records behind it is opened.
    /// </param>
    private void SweepAll(Action<FaultPlan, DiskLane, int> arm, int step = 1, bool isSecondLife = false)
    {
        int calls = 0;
        ConcurrentQueue<string> broken = [];
        bool isWhole = Environment.GetEnvironmentVariable("FASTMAIL_SWEEP") == "whole";
        var sweeps =
            from lane in isSecondLife ? [DiskLane.Opener] : Enum.GetValues<DiskLane>()
            where lane != DiskLane.BodyReader // nobody reads in the first life
            from first in Enum.GetValues<Aftermath>().Take(isWhole ? AllAftermaths : 1)
            select (lane, first);
        Parallel.ForEach(
            sweeps,
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
            sweep =>
            {
                int call = 0;
                while (TrySweep(sweep.lane, call, After(sweep.first, call / (isWhole ? 1 : step)), arm, broken, isSecondLife))
                {
                    call += isWhole ? 1 : step;
                }

                Assert.True(call > 3, $"the scenario makes no calls in lane {sweep.lane}");
                _ = Interlocked.Add(ref calls, call);
            });
        output.WriteLine($"{calls} runs");
        Assert.True(broken.IsEmpty, $"{broken.Count} of {calls} runs:\n{string.Join("\n\n", broken.Take(8))}");
    }

    /// <summary>Each call in turn has another aftermath, so that a short sweep has all of them too.</summary>
    private static Aftermath After(Aftermath first, int call) => (Aftermath)(((int)first + call) % AllAftermaths);

    /// <summary>False when the scenario has no such call any more.</summary>
    private bool TrySweep(
        DiskLane lane, int call, Aftermath aftermath, Action<FaultPlan, DiskLane, int> arm,
        ConcurrentQueue<string> broken, bool isSecondLife)
    {
        LyingDisk disk = new(512);
        Ledger ledger = new();
        FaultPlan plan = new(call);
        if (isSecondLife)
        {
            Live(disk.Boot(new FaultPlan(call)), ledger, new Random(Scenario), 3, isKilled: true);
            disk.EndProcess(evicts: false);
        }

        arm(plan, lane, call);
        DiskPort port = disk.Boot(plan);
        DiskPort? last = null;
        try
        {
            Live(port, ledger, new Random(Scenario), Turns);
            last = port;
            End(disk, aftermath, call);
            for (int life = 0; life < 2; life++)
            {
                // More mail behind what was recovered, then a power loss that keeps nothing it need not keep, then any.
                last = disk.Boot(new FaultPlan(call));
                Live(last, ledger, new Random(Scenario + life), 2);
                End(disk, Aftermath.PowerLoss, life);
            }
        }
        catch (Exception e) when (e is BrokenPromiseException or IOException)
        {
            broken.Enqueue($"{lane} {call}, then {aftermath}: {e.Message}\nfirst life:\n{port.Trace}");
        }

        return plan.HasFired;
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

    private void Live(DiskPort port, Ledger ledger, Random random, int turns, bool isKilled = false)
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
            if (!new Postman(server, ledger, random).TryInspect())
            {
                return;
            }

            for (int turn = 0; turn < turns && !port.IsDown; turn++)
            {
                Postman postman = new(server, ledger, random);
                int longest = turn == 2 ? 220_000 : 90_000; // a body file is among them
                server.Turn(() => postman.Send(server.IsHeld ? 3 : 1, longest, server.IsHeld));
                _ = postman.Collect();
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
}
