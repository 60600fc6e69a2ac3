using System.Text;
using FastMail.Tests.Server.Defence;
using Xunit;
using static FastMail.Tests.Server.Relay.ClockedRelay;

namespace FastMail.Tests.Server.Relay;

/// <summary>Passwords for next hops that are read once more while mail waits for these.</summary>
public sealed class RouteRenewalTests
{
    [Fact]
    public async Task The_next_probe_of_a_host_goes_by_the_password_that_was_read_once_more()
    {
        var clock = new HandClock();
        string right = "AUTH PLAIN " + Convert.ToBase64String(Encoding.ASCII.GetBytes("\0me\0right"));
        using var host = new ScriptedHost(
            line => !line.StartsWith("AUTH", StringComparison.Ordinal) ? null : line == right ? "235 2.7.0 ok" : "535 5.7.8 no",
            "AUTH PLAIN");
        string file = Path.GetTempFileName();
        await File.WriteAllTextAsync(file, "wrong\n");
        await using ServerFixture fixture = await StartAsync(
            clock, host, "relay.retry_min=1h", $"route.table=relay.test=127.0.0.1:{host.Port} user=me password_file={file}");
        Submit(fixture, "BODY=7BIT", ["b@relay.test"]);
        await SettleAsync(fixture, clock);
        await File.WriteAllTextAsync(file, "right\n");
        fixture.Server.Reload();
        File.Delete(file);
        clock.Advance(TimeSpan.FromSeconds(11)); // when a host that does not answer is tried again
        host.Next();
    }
}
