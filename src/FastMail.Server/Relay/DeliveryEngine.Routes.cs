using System.Text;
using System.Text.Unicode;
using FastMail.Server.Relay.Routing;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <content>Which way a recipient goes, in words: for the log with each outcome, and for who asks.</content>
internal sealed partial class DeliveryEngine
{
    private static readonly TimeSpan RoutePatience = TimeSpan.FromSeconds(5); // people wait for it

    private readonly byte[] _routeText = new byte[QueueChange.MaxWayBytes];

    public async Task<string?> FindRouteAsync(string forwardPath, CancellationToken token)
    {
        try
        {
            Route route = await RouteQuestion.FindAsync(_parts.Router, forwardPath).WaitAsync(RoutePatience, token);
            return await OnLoopAsync(
                () => Encoding.UTF8.GetString(RouteOf(route, Encoding.UTF8.GetBytes(forwardPath)).Span)).WaitAsync(token);
        }
        catch (TimeoutException)
        {
            return null; // its name servers are silent
        }
    }

    /// <summary>In memory that the next call writes over; empty when there is no decision.</summary>
    private ReadOnlyMemory<byte> RouteOf(Delivery delivery, int recipient) =>
        delivery.Route is { } route ? RouteOf(route, delivery[recipient].Path.Span) : default;

    private ReadOnlyMemory<byte> RouteOf(Route route, ReadOnlySpan<byte> path)
    {
        int length = 0;
        foreach (ReadOnlySpan<char> part in (ReadOnlySpan<string>)[route.Outcome, ", decided by: ", _parts.Router.RuleFor(path, route)])
        {
            _ = Utf8.FromUtf16(part, _routeText.AsSpan(length), out _, out int written); // what is too long is cut
            length += written;
        }

        return _routeText.AsMemory(0, length);
    }
}
