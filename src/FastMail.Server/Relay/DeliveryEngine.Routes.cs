using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;
using FastMail.Server.Relay.Routing;
using FastMail.Server.Relay.Scheduling;
using FastMail.Storage;

namespace FastMail.Server.Relay;

/// <content>Which way recipients go: which of them lead to one destination, and what is told of it in words.</content>
internal sealed partial class DeliveryEngine
{
    private const int MostLooks = 256; // at what has not been routed since the start

    private static readonly TimeSpan RoutePatience = TimeSpan.FromSeconds(5); // people wait for it

    private readonly byte[] _routeText = new byte[QueueChange.MaxWayBytes];
    private readonly Dictionary<long, Destination> _renewing = []; // by question

    /// <summary>
    /// The router goes by passwords and certificates that were read once more: so does the next connection to a destination
    /// that mail waits for.
    /// </summary>
    public void RenewRoutes()
    {
        foreach (Destination destination in _schedule.Destinations)
        {
            if (destination is not { Route: { Plan: not null } route, IsUnused: false })
            {
                continue; // its next mail brings a new decision
            }

            if (_parts.Router.FindAgain(route, this, ++_lastQuestion) is { } renewed)
            {
                TakeRoute(destination, renewed);
            }
            else
            {
                _renewing.Add(_lastQuestion, destination);
            }
        }
    }

    /// <summary>Unless that leads elsewhere by now, or nowhere: then its mail is told so when it is due.</summary>
    private static void TakeRoute(Destination destination, Route route)
    {
        if (route.Kind == RouteKind.Remote && route.Destination == destination.Key)
        {
            destination.Route = route;
        }
    }

    /// <summary>What waits for a destination is tried now; returns how much that is.</summary>
    public int RetryDestination(string key)
    {
        _parts.Router.Forget(key); // a failure of DNS is remembered for a while too
        int looks = 0;
        int count = _schedule.TryNow(key, consignment => looks++ < MostLooks && LeadsTo(key, consignment));
        Pump();
        return count;
    }

    /// <summary>All of its recipients go to that destination, as far as can be said without a look at DNS.</summary>
    private bool LeadsTo(string key, Consignment consignment)
    {
        if (consignment.IsStale || !Log.TryReadQueuedMeta(consignment.Seq, ref _meta, out int length))
        {
            return false;
        }

        int left = consignment.Count;
        MetaReader reader = new(_meta.AsSpan(0, length));
        while (left > 0 && reader.Read())
        {
            if (reader.Type == MetaType.RelayRecipient
                && consignment.Contains(BinaryPrimitives.ReadUInt32LittleEndian(reader.Value)))
            {
                left--;
                if (!_parts.Router.LeadsTo(key, reader.Value[sizeof(uint)..]))
                {
                    return false;
                }
            }
        }

        return left == 0;
    }

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
        (delivery[recipient].Route ?? delivery.Route) is { } route ? RouteOf(route, delivery[recipient].Path.Span) : default;

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
