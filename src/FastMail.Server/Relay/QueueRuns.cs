using FastMail.Protocol.Smtp;
using FastMail.Server.Relay.Routing;

namespace FastMail.Server.Relay;

/// <summary>
/// Answers ETRN (RFC 1985): a host that is back asks for its mail. Only for domains with a line of their own in the route
/// table, and not again within seconds: anybody may ask. Shared by all receivers; loop thread only.
/// </summary>
internal sealed class QueueRuns
{
    private const int MostRemembered = 10_000;

    private static readonly TimeSpan LeastInterval = TimeSpan.FromSeconds(10);

    private readonly Router _router;
    private readonly DeliveryEngine _engine;
    private readonly TimeProvider _clock;
    private readonly Dictionary<string, long> _last = new(StringComparer.Ordinal);

    public QueueRuns(Router router, DeliveryEngine engine, TimeProvider clock)
    {
        _router = router;
        _engine = engine;
        _clock = clock;
    }

    /// <param name="domain">ASCII, as it was given.</param>
    /// <param name="isWithSubdomains">And those below it.</param>
    public SmtpReply Start(ReadOnlySpan<byte> domain, bool isWithSubdomains)
    {
        List<string> destinations = [];
        if (!_router.TryFindRouted(domain, isWithSubdomains, destinations))
        {
            return SmtpReply.QueueRunRefused;
        }

        int count = 0;
        bool isTooSoon = false;
        foreach (string destination in destinations)
        {
            if (_last.TryGetValue(destination, out long last) && _clock.GetElapsedTime(last) < LeastInterval)
            {
                isTooSoon = true;
                continue;
            }

            if (_last.Count >= MostRemembered)
            {
                _last.Clear();
            }

            _last[destination] = _clock.GetTimestamp();
            count += _engine.RetryDestination(destination);
        }

        return count > 0 ? SmtpReply.QueueRunStarted : isTooSoon ? SmtpReply.QueueRunTooSoon : SmtpReply.NothingQueued;
    }
}
