using FastMail.Server.Relay.Routing;
using Xunit;

namespace FastMail.Tests.Server.Relay.Routing;

/// <summary>A route that is known costs look-ups and no memory: the relay asks for every recipient.</summary>
[Collection(nameof(Allocations))]
public sealed class RouterAllocationTests
{
    [ReleaseFact]
    public void Finding_and_ordering_a_known_route_allocates_nothing()
    {
        using var scene = new RoutingScene(
            ["a.test MX 1 m1.test", "a.test MX 1 m2.test", "m1.test A 192.0.2.1", "m2.test A 192.0.2.5"],
            "route.table=b.test=192.0.2.3, .c.test=192.0.2.4, ann@d.test=192.0.2.3");
        byte[][] addresses = ["x@a.test"u8.ToArray(), "X@B.test"u8.ToArray(), "x@y.z.c.test"u8.ToArray(), "u@local.test"u8.ToArray()];
        Array.ForEach(addresses, address => scene.Find(System.Text.Encoding.ASCII.GetString(address)));
        Random random = new(1);
        List<NextHop> hops = new(Route.MostAddresses);
        long least = scene.OnLoop(() => Allocations.Least(5, GC.GetAllocatedBytesForCurrentThread, () =>
        {
            for (int i = 0; i < 4000; i++)
            {
                scene.Router.Find(addresses[i % 4], null!, 0)!.OrderHops(random, hops);
            }
        }));
        Assert.Equal(0, least);
    }
}
