using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using FastMail.Net;

namespace FastMail.Server.Relay.Routing;

/// <summary>
/// One address to connect to. It has passed the rules about where mail may go, so it is connected to as it stands: a
/// name that were resolved again could lead elsewhere. Immutable, any thread, unless said otherwise.
/// </summary>
internal sealed class NextHop
{
    private readonly string _text;
    private OutgoingTls? _outgoing;

    public NextHop(EndPoint endPoint, string host, TlsDemand tls, bool isImplicitTls)
    {
        EndPoint = endPoint;
        Host = host;
        Tls = tls;
        IsImplicitTls = isImplicitTls;
        _text = endPoint is IPEndPoint ip
            ? $"{host}[{ip.Address}]:{ip.Port}"
            : Cli.Arguments.TextOf(endPoint);
    }

    /// <summary>An address with its port, or the path of a unix socket.</summary>
    public EndPoint EndPoint { get; }

    /// <summary>The name by which it was found, or its address.</summary>
    public string Host { get; }

    public TlsDemand Tls { get; }

    /// <summary>TLS from the first octet (smtps).</summary>
    public bool IsImplicitTls { get; }

    /// <summary>Shown to the host when it asks who we are; null for nobody.</summary>
    public SslStreamCertificateContext? ClientCertificate { get; init; }

    /// <summary>
    /// For connections to this host; null where they never have TLS. What the host then shows of itself is for
    /// <see cref="TlsDemand.Judge"/>. Loop thread only: one object serves all, so that TLS sessions are resumed.
    /// </summary>
    public OutgoingTls? TlsOf(TlsClient client) => Tls.Level == TlsLevel.None
        ? null
        : _outgoing ??= new OutgoingTls(client, Tls.ServerName, IsImplicitTls)
        {
            ClientCertificate = ClientCertificate,
            TrustAnchors = Tls.TrustAnchors,
            Vouch = Tls.Vouch,
        };

    /// <summary><c>mx1.example.org[192.0.2.1]:25</c>, as replies and logs name it.</summary>
    public override string ToString() => _text;
}

/// <summary>A host that takes the mail, with its addresses. Immutable; any thread.</summary>
internal sealed class RouteHost
{
    private readonly NextHop[] _six;
    private readonly NextHop[] _other; // IPv4, or the one unix socket

    /// <param name="name">As <see cref="NextHop.Host"/>.</param>
    /// <param name="preference">Of the MX record; 0 where there is none.</param>
    /// <param name="hops">One at least.</param>
    public RouteHost(string name, int preference, IReadOnlyCollection<NextHop> hops)
    {
        Name = name;
        Preference = preference;
        _six = [.. hops.Where(IsSix)];
        _other = [.. hops.Where(hop => !IsSix(hop))];
    }

    public string Name { get; }

    public int Preference { get; }

    public IEnumerable<NextHop> Hops => _six.Concat(_other);

    /// <summary>IPv6 first, then in turn, each family beginning anywhere.</summary>
    public void AddHops(Random random, int most, List<NextHop> hops)
    {
        int six = random.Next(Math.Max(1, _six.Length));
        int other = random.Next(Math.Max(1, _other.Length));
        for (int i = 0; most > 0 && i < Math.Max(_six.Length, _other.Length); i++)
        {
            if (i < _six.Length)
            {
                hops.Add(_six[(six + i) % _six.Length]);
                most--;
            }

            if (most > 0 && i < _other.Length)
            {
                hops.Add(_other[(other + i) % _other.Length]);
                most--;
            }
        }
    }

    private static bool IsSix(NextHop hop) => hop.EndPoint.AddressFamily == AddressFamily.InterNetworkV6;
}
