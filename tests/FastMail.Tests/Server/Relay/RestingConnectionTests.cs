using Xunit;

namespace FastMail.Tests.Server.Relay;

/// <summary>Connections that have nothing to do, and what is left when they have ended.</summary>
public sealed class RestingConnectionTests
{
    private const string Trusted = "relay.from=127.0.0.0/8";

    [Fact]
    public async Task Of_a_connection_that_has_rested_nothing_is_kept()
    {
        using var first = new ScriptedHost();
        using var second = new ScriptedHost();
        await using ServerFixture fixture = await RelayTests.StartAsync(
            first, Trusted, "relay.idle_time=1s", $"route.table=first.test=127.0.0.1:{first.Port},second.test=127.0.0.1:{second.Port}");
        RelayTests.Send(fixture, "mx", "a@elsewhere.test", ["b@first.test", "b@second.test"]);
        await RelayTests.Until(() => HasLeft(first) && HasLeft(second));
        await RelayTests.Until(() => fixture.Server.Engine.RestingDestinations == 0);
    }

    private static bool HasLeft(ScriptedHost host) => host.Commands.Contains("QUIT", StringComparer.Ordinal);
}
