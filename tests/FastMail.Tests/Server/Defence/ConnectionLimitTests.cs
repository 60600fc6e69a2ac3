using System.Net.Sockets;
using Xunit;

namespace FastMail.Tests.Server.Defence;

/// <summary>The connection limits of the whole server, over real sockets.</summary>
public sealed class ConnectionLimitTests
{
    [Theory]
    [InlineData("mx", "421 4.7.0 Too many connections from your address, try again later\r\n")]
    [InlineData("pop3", "-ERR [SYS/TEMP] too many connections from your address, try again later\r\n")]
    public async Task A_client_over_its_limit_is_told_and_closed_and_let_in_again_later(string role, string refusal)
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "limits.exempt=", "limits.connections_per_address=2");
        using Socket first = fixture.Connect(role);
        Talk.ReadLine(first);
        Socket second = fixture.Connect(role);
        Talk.ReadLine(second);
        using (Socket third = fixture.Connect(role))
        {
            Assert.Equal(refusal, Talk.ReadToEnd(third));
        }

        second.Dispose();
        await Talk.UntilAsync(() => fixture.Server.Loop.ConnectionCount == 1);
        using Socket fourth = fixture.Connect(role);
        Assert.DoesNotContain("too many", Talk.ReadLine(fourth), StringComparison.OrdinalIgnoreCase);
    }

    [Fact]
    public async Task Loopback_is_no_exception_unless_it_is_named()
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync(
            "limits.exempt=", "limits.new_connections=1", "limits.new_connections_burst=1");
        using Socket first = fixture.Connect("mx");
        Assert.StartsWith("220", Talk.ReadLine(first), StringComparison.Ordinal);
        using Socket second = fixture.Connect("mx");
        Assert.StartsWith("421 4.7.0", Talk.ReadToEnd(second), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("mx", "421 4.3.2 Too many connections, try again later\r\n")]
    [InlineData("pop3", "-ERR [SYS/TEMP] too many connections, try again later\r\n")]
    public async Task The_total_holds_for_exempt_clients_too(string role, string refusal)
    {
        await using ServerFixture fixture = await ServerFixture.StartAsync("limits.connections=1");
        using Socket first = fixture.Connect("mx");
        Talk.ReadLine(first);
        using Socket second = fixture.Connect(role);
        Assert.Equal(refusal, Talk.ReadToEnd(second));
    }
}
