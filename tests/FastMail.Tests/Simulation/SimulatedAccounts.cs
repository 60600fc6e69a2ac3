using FastMail.Server.Accounts;
using Microsoft.Extensions.Logging.Abstractions;
using Xunit;

namespace FastMail.Tests.Simulation;

/// <summary>
/// The mailboxes of every simulation, in a real account store outside the simulated disk: accounts are not what is
/// tested here. Shared by all runs; any thread.
/// </summary>
public sealed class SimulatedAccounts : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("fastmail-simulation-").FullName;

    public SimulatedAccounts()
    {
        AccountStore store = AccountStore.Open(_directory);
        PasswordHash password = PasswordHash.Create("secret"u8, iterations: 1);
        foreach (string address in Addresses)
        {
            _ = store.TryAdd(address, password, DateTimeOffset.UnixEpoch);
        }

        Live = new LiveAccounts(store, NullLogger.Instance);
    }

    public static IReadOnlyList<string> Addresses { get; } =
        ["ada@sim.test", "bob@sim.test", "eve@sim.test", "kim@sim.test"];

    internal LiveAccounts Live { get; }

    public void Dispose()
    {
        Live.Dispose();
        Directory.Delete(_directory, recursive: true);
    }
}

/// <summary>
/// The simulations run alone: they use all processors, and their garbage would disturb those who count allocations.
/// </summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class SimulationGroup : ICollectionFixture<SimulatedAccounts>
{
    public const string Name = "simulation";
}
