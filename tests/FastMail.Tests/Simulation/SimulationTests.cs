using System.Collections.Concurrent;
using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace FastMail.Tests.Simulation;

/// <summary>
/// <c>FASTMAIL_SIM_SEEDS</c> says how many seeds are run (1,000 unless told otherwise), <c>FASTMAIL_SIM_SEED</c> which
/// is the first; that one alone when only it is given.
/// </summary>
[Collection(SimulationGroup.Name)]
public sealed class SimulationTests(SimulatedAccounts accounts, ITestOutputHelper output)
{
    private const int DefaultSeeds = 1000;

    [Fact]
    public void What_was_acknowledged_survives_every_crash_exactly_once_and_nothing_else_does()
    {
        int? first = Setting("FASTMAIL_SIM_SEED");
        int seeds = Setting("FASTMAIL_SIM_SEEDS") ?? (first is null ? DefaultSeeds : 1);
        ConcurrentQueue<string> broken = [];
        int kept = 0;
        int reused = 0;
        Parallel.For(
            first ?? 0,
            (first ?? 0) + seeds,
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
            seed =>
            {
                try
                {
                    (int ofSeed, bool metReused) = SimulationRun.Go(seed, accounts);
                    _ = Interlocked.Add(ref kept, ofSeed);
                    _ = Interlocked.Add(ref reused, metReused ? 1 : 0);
                }
                catch (BrokenPromiseException e)
                {
                    broken.Enqueue(e.Message);
                }
            });
        output.WriteLine($"{seeds} seeds, {kept} messages kept; {reused} met segments that are used again");
        Assert.True(broken.IsEmpty, $"{broken.Count} seeds failed:\n{string.Join("\n\n", broken.Take(3))}");
        Assert.True(kept > seeds, "the simulation hardly delivers anything");
        Assert.True(reused > 0 || seeds < 100, "no segment is ever used again");
    }

    [Fact]
    public void A_disk_whose_flush_does_nothing_is_found_out_within_20_seeds()
    {
        for (int seed = 0; seed < 20; seed++)
        {
            try
            {
                _ = SimulationRun.Go(seed, accounts, isFlushALie: true);
            }
            catch (BrokenPromiseException e)
            {
                output.WriteLine(e.Message);
                return;
            }
        }

        Assert.Fail("20 seeds with a disk that flushes nothing went well: the simulation proves nothing");
    }

    private static int? Setting(string name)
    {
        return Environment.GetEnvironmentVariable(name) is { Length: > 0 } text
            ? int.Parse(text, CultureInfo.InvariantCulture)
            : null;
    }
}
