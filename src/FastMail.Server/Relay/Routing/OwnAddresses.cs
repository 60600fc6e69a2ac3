using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;

namespace FastMail.Server.Relay.Routing;

/// <summary>
/// Which names and addresses are this server itself: mail that went there would come back. Made at the start; loop
/// thread only.
/// </summary>
internal sealed class OwnAddresses
{
    private static readonly TimeSpan InterfacesAge = TimeSpan.FromMinutes(1); // addresses come and go

    private readonly string _hostname;
    private readonly Func<IEnumerable<IPEndPoint>> _listeners;
    private readonly Func<IEnumerable<IPAddress>> _interfaces;
    private readonly TimeProvider _clock;
    private HashSet<IPAddress> _known = [];
    private long? _readAt;

    /// <param name="hostname">This host's name.</param>
    /// <param name="listeners">Where mail is taken.</param>
    /// <param name="clock">Tells when to look at the interfaces again.</param>
    /// <param name="interfaces">The addresses of this machine; those that the system names when null.</param>
    public OwnAddresses(
        string hostname,
        Func<IEnumerable<IPEndPoint>> listeners,
        TimeProvider clock,
        Func<IEnumerable<IPAddress>>? interfaces = null)
    {
        _hostname = hostname.ToLowerInvariant();
        _listeners = listeners;
        _clock = clock;
        _interfaces = interfaces ?? ReadInterfaces;
    }

    /// <param name="host">Lower case, without a last dot.</param>
    public bool IsName(string host) => host == _hostname;

    /// <summary>A connection there would end at a listener of ours.</summary>
    public bool IsListener(IPAddress address, int port)
    {
        address = Plain(address);
        return _listeners().Any(listener => listener.Port == port
            && (Plain(listener.Address).Equals(address)
                || (IsAny(listener.Address) && (IPAddress.IsLoopback(address) || IsInterface(address)))));
    }

    /// <summary>An address of this machine's interfaces.</summary>
    public bool IsInterface(IPAddress address)
    {
        if (_readAt is null || _clock.GetElapsedTime(_readAt.Value) > InterfacesAge)
        {
            _readAt = _clock.GetTimestamp();
            _known = [.. _interfaces().Select(Plain)];
        }

        return _known.Contains(Plain(address));
    }

    private static bool IsAny(IPAddress address) => address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any);

    private static IPAddress Plain(IPAddress address) => address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;

    private static IEnumerable<IPAddress> ReadInterfaces()
    {
        try
        {
            return NetworkInterface.GetAllNetworkInterfaces()
                .SelectMany(i => i.GetIPProperties().UnicastAddresses)
                .Select(a => a.Address)
                .Where(a => a.AddressFamily is AddressFamily.InterNetwork or AddressFamily.InterNetworkV6)
                .Select(a => a.AddressFamily == AddressFamily.InterNetworkV6 ? new IPAddress(a.GetAddressBytes()) : a);
        }
        catch (NetworkInformationException)
        {
            return []; // a machine that does not tell: listeners and name are still known
        }
    }
}
