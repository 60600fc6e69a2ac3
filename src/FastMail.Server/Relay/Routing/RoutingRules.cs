using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace FastMail.Server.Relay.Routing;

/// <summary>What the operator has said about where mail goes. Immutable; any thread.</summary>
internal sealed record RoutingRules
{
    public RouteTable Table { get; init; } = new([]);

    /// <summary>Takes what no line of the table sends elsewhere; null to go by MX.</summary>
    public RouteTarget? Smarthost { get; init; }

    /// <summary>For next hops whose line does not say.</summary>
    public TlsLevel Tls { get; init; } = TlsLevel.May;

    /// <summary>Mail exchangers with TLSA records get mail only with the certificate these name (RFC 7672).</summary>
    public bool UsesDane { get; init; } = true;

    /// <summary>Domains with a policy get mail only as it says (RFC 8461).</summary>
    public bool UsesSts { get; init; } = true;

    /// <summary>Where the hosts of those policies listen.</summary>
    public int StsPort { get; init; } = 443;

    /// <summary>Addresses of ours to connect from, at most one of a family.</summary>
    public IReadOnlyList<IPAddress> Sources { get; init; } = [];

    /// <summary>Families that are connected to.</summary>
    public IReadOnlyList<AddressFamily> Families { get; init; } =
        [AddressFamily.InterNetworkV6, AddressFamily.InterNetwork];

    /// <summary>Authorities whose certificates are believed; null for those of this machine.</summary>
    public X509Certificate2Collection? TrustAnchors { get; init; }

    /// <summary>Shown to next hops that ask who we are; null for nobody.</summary>
    public SslStreamCertificateContext? ClientCertificate { get; init; }

    /// <summary>The password that a file holds.</summary>
    public Func<string, string> ReadPassword { get; init; } = file => File.ReadLines(file).First();
}
