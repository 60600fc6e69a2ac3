using System.Net;

namespace FastMail.Server.Defence;

/// <summary>
/// The client networks that no per-client limit, delay or throttle touches (<c>limits.exempt</c>): internal relays,
/// monitors, load tests. Empty unless the operator says otherwise; loopback is nothing special. Immutable; any thread.
/// </summary>
internal sealed class Exemptions
{
    private readonly IPNetwork[] _networks;

    public Exemptions(IEnumerable<IPNetwork> networks) => _networks = [.. networks];

    public bool Contains(IPAddress client)
    {
        if (_networks.Length == 0)
        {
            return false;
        }

        IPAddress plain = client.IsIPv4MappedToIPv6 ? client.MapToIPv4() : client;
        foreach (IPNetwork network in _networks)
        {
            if (network.Contains(plain))
            {
                return true;
            }
        }

        return false;
    }
}
